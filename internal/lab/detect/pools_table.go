package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// String says it for a person.
func (p Pools) String() string {
	const mebi = 1 << 20
	var b strings.Builder
	fmt.Fprintf(&b, "%d backends × %d connections by the %s; %d processes; %d sockets before, %d after; a table of %d buckets; %s each\n",
		p.Backends, p.Each, p.Through, p.Holders, p.Sockets[0], p.Sockets[1], p.Buckets, p.Span)
	quiet := 0.0
	for _, q := range p.Quiet {
		quiet += q / float64(len(p.Quiet))
	}
	if len(p.Quiet) > 0 {
		fmt.Fprintf(&b, "the balancer while nobody reads, CPU %%:")
		for _, q := range p.Quiet {
			fmt.Fprintf(&b, " %.2f", 100*q)
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "%-42s %7s %10s %9s %9s %11s %9s\n", "reader", "CPU %", "balancer +", "RSS MiB", "anon MiB", "netlink B/s", "read B/s")
	for _, r := range p.Readers {
		extra := "-"
		if len(p.Quiet) > 0 {
			extra = fmt.Sprintf("%+.2f", 100*(r.Balancer-quiet))
		}
		fmt.Fprintf(&b, "%-42s %7.2f %10s %9.1f %9.1f %11.0f %9.0f\n", r.Program, 100*r.CPU, extra,
			float64(r.RSS)/mebi, float64(r.RSSAnon)/mebi, r.Netlink, r.Read)
	}
	for _, r := range p.Readers {
		if s := r.Agent; s != nil {
			fmt.Fprintf(&b, "%s: %d of %d backends after %s; age at the most %.1f s of backends, %.1f s of all sockets; incidents: %s\n",
				r.Program, s.Found, p.Backends, s.FoundIn.Round(time.Second), s.FocusAge, s.FullAge, s.incidents())
		}
	}
	return b.String()
}

func (s *Sight) incidents() string {
	if len(s.Incidents) == 0 {
		return "none"
	}
	var out []string
	for _, what := range slices.Sorted(maps.Keys(s.Incidents)) {
		out = append(out, fmt.Sprintf("%d %s", s.Incidents[what], what))
	}
	return strings.Join(out, ", ")
}
