package detect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/lab"
)

// Namespaces is a run of the agent on a host of many namespaces, each with a
// service and connections that only stand there.
type Namespaces struct {
	Namespaces int  `json:"namespaces"`
	Each       int  `json:"sockets_each"`
	Shared     bool `json:"shared_table"` // all in the machine's one hash table
	Buckets    int  `json:"buckets"`
	// Read counts those the agent read in the end, of whatever the machine has.
	Read  int           `json:"read"`
	Span  time.Duration `json:"span_ns"`
	Agent Usage         `json:"agent"`
	// PulseAge and WholeAge are the greatest that the agent said in the span,
	// asked each second: of listeners and counters, and of all sockets.
	PulseAge float64 `json:"worst_pulse_age_seconds"`
	WholeAge float64 `json:"worst_whole_age_seconds"`
	// FoundAfter is how long it took until every namespace was read. Never is
	// true when some had not been seen whole at the end of the span.
	FoundAfter time.Duration `json:"found_after_ns"`
	Never      bool          `json:"some_never_whole"`
}

// String says it for a person.
func (n Namespaces) String() string {
	const mebi = 1 << 20
	var b strings.Builder
	table := "tables of their own"
	if n.Shared {
		table = "one table"
	}
	fmt.Fprintf(&b, "%d namespaces × %d sockets, %s of %d buckets; %d read\n", n.Namespaces, n.Each, table, n.Buckets, n.Read)
	fmt.Fprintf(&b, "CPU %.2f %%, RSS %.1f MiB (anonymous %.1f, peak %.1f) over %s\n",
		100*n.Agent.CPU, float64(n.Agent.RSS)/mebi, float64(n.Agent.RSSAnon)/mebi, float64(n.Agent.RSSPeak)/mebi, n.Span)
	never := ""
	if n.Never {
		never = ", and some never yet"
	}
	fmt.Fprintf(&b, "oldest pulse %.2f s; whole look %.1f s at the most%s; all read after %s\n",
		n.PulseAge, n.WholeAge, never, n.FoundAfter.Round(time.Second))
	return b.String()
}

// foundWithin is how long the agent may take to read all namespaces.
const foundWithin = 2 * time.Minute

// RunNamespaces makes so many namespaces with so many sockets each, and lets
// the agent read them all from one beside them.
func RunNamespaces(ctx context.Context, binary string, count, each int, shared bool, span time.Duration, progress func(string)) (Namespaces, error) {
	out := Namespaces{Namespaces: count, Each: each, Shared: shared, Span: span}
	hosts := []lab.HostConfig{{Name: "bench"}}
	for i := range count {
		hosts = append(hosts, lab.HostConfig{Name: fmt.Sprintf("n%03d", i)})
	}
	buckets := 0
	if shared {
		buckets = -1
	}
	world, err := lab.New(ctx, lab.Config{Hosts: hosts, Buckets: buckets})
	if err != nil {
		return out, err
	}
	defer world.Close()
	progress(fmt.Sprintf("%d namespaces stand", count))
	group, populating := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, h := range hosts[1:] {
		group.Go(func() error {
			_, err := world.Host(h.Name).Populate(populating, lab.Population{Sockets: each, Listeners: 1})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return out, err
	}
	bench := world.Host("bench")
	if out.Buckets, err = bench.Buckets(); err != nil {
		return out, err
	}
	out.Buckets = max(out.Buckets, -out.Buckets)
	progress(fmt.Sprintf("%d sockets stand in each; the agent", each))
	a, err := startAgent(ctx, bench, binary, world.Dir(), "")
	if err != nil {
		return out, err
	}
	defer a.stop()
	var last namespacesAnswer
	look := func() error {
		last = namespacesAnswer{}
		return a.Get(ctx, "/api/v1/looks", &last)
	}
	for last.Namespaces.Read < count {
		if _, err := use(ctx, "foreshock agent", a.PID(), time.Second, look); err != nil {
			return out, err
		}
		if out.FoundAfter = time.Since(a.Started); out.FoundAfter > foundWithin {
			return out, fmt.Errorf("after %s the agent reads %d of %d namespaces: %s", foundWithin, last.Namespaces.Read, count, a.Said())
		}
	}
	progress(fmt.Sprintf("all are read after %s; the next %s count", out.FoundAfter.Round(time.Second), span))
	out.Agent, err = use(ctx, "foreshock agent", a.PID(), span, func() error {
		err := look()
		out.PulseAge = max(out.PulseAge, last.Namespaces.PulseAge)
		return err
	})
	if err != nil {
		return out, err
	}
	out.Read, out.WholeAge = last.Namespaces.Read, last.Namespaces.WholeAge
	out.Never = len(last.Namespaces.Oldest) > 0 && last.Namespaces.Oldest[0].WholeAge == nil
	return out, nil
}

// namespacesAnswer is what is needed of /api/v1/looks.
type namespacesAnswer struct {
	Namespaces struct {
		Read     int     `json:"read"`
		PulseAge float64 `json:"pulse_age_seconds"`
		WholeAge float64 `json:"whole_age_seconds"`
		Oldest   []struct {
			WholeAge *float64 `json:"whole_age_seconds"` // nil: never seen whole
		} `json:"oldest"`
	} `json:"namespaces"`
}
