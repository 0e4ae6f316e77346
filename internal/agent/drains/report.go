package drains

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/reply"
)

// mostLaggards is how many a report names, mostPIDs of how many processes each.
const (
	mostLaggards = 100
	mostPIDs     = 5
)

// Row is one connection to an old address, and whose it is.
type Row struct {
	Namespace string
	// Asked: this host began it; else it came to an address of this host.
	Asked       bool
	Old         netip.Addr
	Client      netip.Addr // of one that is served
	Failing     bool       // it is in SYN_SENT, or sends something again
	Moving      bool       // bytes moved within a minute
	NewAfterTTL bool
	FirstSeen   time.Time // zero where that is not known
	// Who asked, or whose client it is and what serves it; empty where that is
	// not known.
	Process, Unit, Container string
	PID                      int
	ASN                      uint32
	Network, Service         string
}

// Seen is what else is known of a switch for its report.
type Seen struct {
	Agent string
	// Rows are the connections to the old addresses; Over counts further ones.
	Rows []Row
	Over int
	// Held are those addresses of the switch that are this host's own.
	Held   []netip.Addr
	Limits []string
}

// Report is what this agent knows of a switch. curve: with how it went.
func (e *Entry) Report(now time.Time, offset time.Duration, seen Seen, curve bool) drain.Report {
	r := drain.Report{
		Agent: seen.Agent, Name: e.Name, Source: e.Source, Old: some(e.Switch.Old), New: some(e.Switch.New), Kept: some(e.Switch.Kept), Ports: some(e.Ports),
		DeadlineSeconds: e.Deadline().Seconds(), Stopped: e.State() == Stopped, Now: e.now,
		Arrivals: e.arrivals, LaggardsOver: seen.Over, Resolvers: some(e.says.zoo.Resolvers(now)), Probes: []drain.Probe{}, Curve: []drain.Point{}, Limits: some(seen.Limits), Held: seen.Held,
	}
	if e.TTLSeconds > 0 {
		r.TTLSeconds = &e.TTLSeconds
	}
	until := now
	if r.Stopped {
		until = e.StoppedAt.Add(-offset)
	}
	if !e.Switch.Since.IsZero() {
		r.SinceSeconds = max(0, until.Sub(e.Switch.Since).Seconds())
		r.SwitchedAt = e.Switch.Since.Add(offset).UTC()
		r.Now.SinceSeconds = max(0, e.lookedAt.Sub(e.Switch.Since).Seconds())
	}
	if curve {
		r.Curve = e.curve.since(now, e.Switch.Since)
	}
	ended := ""
	if r.Stopped && e.StoppedBy == ByItself {
		ended = "the agent ended it by itself, as nothing was known to be in its way for a week"
	}
	for _, limit := range []string{e.Note, e.Restored, ended} {
		if limit != "" {
			r.Limits = append(r.Limits, limit)
		}
	}
	if slices.ContainsFunc(seen.Rows, func(x Row) bool { return x.Asked && x.Namespace != "" }) {
		r.Limits = append(r.Limits, "processes in other network namespaces have resolvers of their own, which are not asked: whether those still give the old addresses is not known")
	}
	var left int
	r.Laggards, left = laggards(now, seen.Rows)
	r.LaggardsOver += left
	for _, p := range e.says.probes {
		r.Probes = append(r.Probes, e.probe(now, p))
	}
	slices.SortFunc(r.Probes, func(a, b drain.Probe) int {
		return cmp.Or(strings.Compare(a.Side, b.Side), a.Address.Compare(b.Address))
	})
	drain.Blame(&r)
	return r
}

// some is the list, and never null in JSON.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// probe is what came of connecting to one address, beside the switch.
func (e *Entry) probe(now time.Time, p reply.Probe) drain.Probe {
	out := drain.Probe{Address: p.Address, Side: "other", Wrong: p.Wrong, Words: p.Words, Status: p.Status, AgoSeconds: max(0, now.Sub(p.At).Seconds())}
	switch a := p.Address.Addr(); {
	case slices.Contains(e.Switch.Old, a):
		out.Side = "old"
	case slices.Contains(e.Switch.New, a), slices.Contains(e.Switch.Kept, a):
		out.Side = "new"
	}
	if p.Failed != reply.Done {
		out.Failed = p.Failed.String()
	}
	return out
}

// who is what the connections of one laggard have in common.
type who struct {
	asked                                       bool
	old                                         netip.Addr
	namespace, process, unit, container, prefix string
	asn                                         uint32
	service                                     string
}

// laggards gathers connections by whose they are, and counts those of further
// ones.
func laggards(now time.Time, rows []Row) (out []drain.Laggard, over int) {
	at := map[who]int{}
	for _, r := range rows {
		w := who{asked: r.Asked, old: r.Old, namespace: r.Namespace, process: r.Process, unit: r.Unit, container: r.Container}
		if !r.Asked {
			w = who{old: r.Old, namespace: r.Namespace, prefix: network(r.Client).String(), asn: r.ASN, service: r.Service}
		}
		i, known := at[w]
		if !known {
			i = len(out)
			at[w] = i
			l := drain.Laggard{Vantage: "served", Old: r.Old, Process: w.process, PIDs: []int{}, Unit: w.unit, Container: w.container, Namespace: w.namespace, Prefix: w.prefix, ASN: w.asn, Network: r.Network, Service: w.service}
			if r.Asked {
				l.Vantage = "asked"
			}
			out = append(out, l)
		}
		l := &out[i]
		l.Connections++
		if r.Failing {
			l.Failing++
		}
		if r.Moving {
			l.Moving++
		}
		if r.NewAfterTTL {
			l.NewAfterTTL++
		}
		if !r.FirstSeen.IsZero() {
			l.OldestSeconds = max(l.OldestSeconds, now.Sub(r.FirstSeen).Seconds())
		}
		if r.PID != 0 && len(l.PIDs) < mostPIDs && !slices.Contains(l.PIDs, r.PID) {
			l.PIDs = append(l.PIDs, r.PID)
		}
	}
	for i := range out {
		slices.Sort(out[i].PIDs)
	}
	slices.SortStableFunc(out, func(a, b drain.Laggard) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), strings.Compare(a.Process, b.Process), strings.Compare(a.Prefix, b.Prefix), a.Old.Compare(b.Old))
	})
	for i := mostLaggards; i < len(out); i++ {
		over += out[i].Connections
	}
	return some(out[:min(len(out), mostLaggards)]), over
}

// network is the client's: a /24, or a /48 of IPv6, as sites are given.
func network(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // the zero prefix of no address
	return p
}
