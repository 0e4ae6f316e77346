package drain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/lab"
)

// Many is what it costs to follow a switch beside very many sockets.
type Many struct {
	Sockets int `json:"sockets"` // in all
	OnOld   int `json:"on_old"`  // connections to the old address: both ends are inside
	// Before is the agent's share of a core without a switch, With while it follows
	// one, each over Span.
	Span         time.Duration `json:"span_ns"`
	Before, With float64
	// Shown is when it first showed the connections, after it was told; Asked and
	// Served are what it counts of the old address at the end.
	Shown  time.Duration `json:"shown_ns"`
	Asked  drain.Count   `json:"asked"`
	Served drain.Count   `json:"served"`
}

// String is the result for a person.
func (m Many) String() string {
	return fmt.Sprintf("%d sockets, %d connections of them on the old address: %.2f %% of a core before the switch, %.2f %% with it, over %s each; shown after %.1f s; %d asked and %d served at the end\n",
		m.Sockets, m.OnOld, 100*m.Before, 100*m.With, m.Span, m.Shown.Seconds(), m.Asked.Established, m.Served.Established)
}

// listeners is how many addresses a large population is spread over: each has one
// percent.
const listeners = 100

// RunMany makes a population of so many sockets, of which one percent is on the old
// address, and lets the agent follow a switch from it.
func RunMany(ctx context.Context, binary string, sockets int, span time.Duration, progress func(string)) (m Many, err error) {
	m = Many{Sockets: sockets, Span: span}
	world, err := lab.New(ctx, lab.Config{Hosts: []lab.HostConfig{{Name: "bench"}}, Buckets: -1})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	host := world.Host("bench")
	crowd, err := host.Populate(ctx, lab.Population{Sockets: sockets, Listeners: listeners})
	if err != nil {
		return m, err
	}
	m.OnOld = crowd.Standing().Established / 2 / listeners
	progress(fmt.Sprintf("%d sockets stand; the agent for %s without a switch", sockets, span))
	a, err := host.StartAgent(ctx, lab.AgentConfig{Binary: binary, Dir: world.Dir(), Config: "name: bench\nobserve: {namespaces: host}\n"})
	if err != nil {
		return m, err
	}
	defer a.Close()
	// What it does at its start is not what it does.
	if err := wait(ctx, 10*time.Second); err != nil {
		return m, err
	}
	if m.Before, err = shareOf(ctx, a, span); err != nil {
		return m, err
	}
	request := api.DrainRequest{Name: Site, Resolvers: []string{"127.0.0.1"}, By: "lab", TTLSeconds: new(10.0),
		Old: []netip.Addr{lab.PopulationListener(1).Addr()}, New: []netip.Addr{lab.PopulationListener(2).Addr()}}
	told := time.Now()
	if err := a.Post(ctx, "/api/v1/drains", request, nil); err != nil {
		return m, err
	}
	progress(fmt.Sprintf("and for %s with one", span))
	var said answer
	for said.Report.Now.Asked.Old.Established+said.Report.Now.Served.Old.Established == 0 {
		if time.Since(told) > time.Minute {
			return m, fmt.Errorf("no connection on the old address is shown after a minute: %+v", said.Report)
		}
		if err := errors.Join(wait(ctx, 100*time.Millisecond), a.Get(ctx, "/api/v1/drains/"+Site, &said)); err != nil {
			return m, err
		}
	}
	m.Shown = time.Since(told)
	if m.With, err = shareOf(ctx, a, span); err != nil {
		return m, err
	}
	err = a.Get(ctx, "/api/v1/drains/"+Site, &said)
	m.Asked, m.Served = said.Report.Now.Asked.Old, said.Report.Now.Served.Old
	return m, err
}

// shareOf is the agent's share of a core over a time.
func shareOf(ctx context.Context, a *lab.Agent, span time.Duration) (float64, error) {
	before, err := a.CPUTime()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := wait(ctx, span); err != nil {
		return 0, err
	}
	after, err := a.CPUTime()
	return float64(after-before) / float64(time.Since(began)), err
}
