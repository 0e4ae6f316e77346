// Package detect makes a real server fail and writes down who said so first:
// the agent, its clients, or nobody.
//
// A [Cell] is one failure, or a healthy day, as data: a server, a load, what
// happens meanwhile; [Cells] are all of them.
// [Run] plays it in a world of its own with the agent as a user runs it, a
// program of its own that is asked over HTTP.
package detect

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Cell is one scenario on one server, as data.
type Cell struct {
	Name string
	// Software serves, with an application behind it at the address given.
	Software func(application netip.AddrPort) lab.Software
	// App is that application, on a host of its own, so that its connections
	// are not among the server's.
	App lab.App
	// Path is what the load asks for.
	Path string
	Load lab.Load
	// Users keep a connection each and ask now and then, beside the load.
	Users Users
	// Events happen at their times after the load begins.
	Events []Event[*stage]
	// Front puts HAProxy on a host of its own between the clients and the
	// server.
	Front bool
	// Config is the agent's configuration; empty for none.
	Config string
	// Slow is from which response time on a request counts as slow.
	Slow time.Duration
	// Healthy: nothing may be found at warning or above. Else Chain is what may
	// be.
	Healthy bool
	Chain   []string
	// Goal is what the cell must show beside that.
	Goal Goal
	// Twice is when, after the load began, a second saturation starts; what
	// happens before is not counted. Zero counts all.
	Twice time.Duration
}

// Event is something that happens to a stage S.
type Event[S any] struct {
	At   time.Duration // after the load began, or after the fault
	What string
	Do   func(context.Context, S) error
}

// stage is a world at work.
type stage struct {
	world                *lab.World
	server, client, apps *lab.Host
	software             *lab.Server
	target               netip.AddrPort // of the server itself
	url                  string         // that the clients ask
	cell                 *Cell
}

// Run plays a cell. After the load it waits, up to a minute, for open incidents
// to end.
func Run(ctx context.Context, with With, cell Cell) (Outcome, error) {
	out := Outcome{Cell: cell.Name, Healthy: cell.Healthy, Minutes: cell.Load.Duration.Minutes()}
	hosts := []lab.HostConfig{{Name: "server"}, {Name: "client"}, {Name: "apps"}, {Name: "front"}}
	world, err := lab.New(ctx, lab.Config{Hosts: hosts})
	if err != nil {
		return out, err
	}
	defer world.Close()
	st := &stage{world: world, server: world.Host("server"), client: world.Host("client"), apps: world.Host("apps"), cell: &cell}
	if err := st.serve(ctx); err != nil {
		return out, err
	}
	agent, err := with.startAgent(ctx, st.server, world.Dir(), ownNamespace+cell.Config)
	if err != nil {
		return out, err
	}
	defer agent.stop()
	scope, err := agent.serviceAt(ctx, st.target.Port())
	if err != nil {
		return out, err
	}
	var others *peers
	if with.Beside {
		if others, err = startPeers(ctx, st.server, st.client, world.Dir(), st.url, cell.Slow); err != nil {
			return out, err
		}
		defer others.stop()
	}
	with.Progress(fmt.Sprintf("%s: %s is %s; load for %s", cell.Name, st.target, scope, cell.Load.Duration))
	seen, err := st.play(ctx, with, agent, scope)
	if err != nil {
		return out, err
	}
	if seen.incidents, err = agent.settle(ctx, time.Minute); err != nil {
		return out, err
	}
	out.sum(cell, seen)
	if others != nil {
		fired, err := others.fired(ctx, seen.began.Add(cell.Twice), time.Now())
		if err != nil {
			return out, err
		}
		out.Peers = map[string]time.Duration{}
		for name, at := range fired {
			out.Peers[name] = at.Sub(seen.began)
		}
	}
	truths, known := cell.truths(scope, seen)
	switch {
	case known:
		var missed []string
		missed, err = with.keep(seen.heard, cell.Healthy, truths)
		out.Missed = append(out.Missed, missed...)
	case with.Episode != "":
		with.Progress(cell.Name + ": no episode: nobody knows what is to be found")
	}
	if err != nil {
		return out, err
	}
	out.CPU, err = agent.cpuShare()
	return out, err
}

// agent is a running agent.
type agent struct {
	*lab.Agent
	recorder *lab.Program // of every socket, beside it; nil for none
}

// ownNamespace keeps an agent to its own host, where others run beside it. It
// leads a configuration that says nothing else about observing.
const ownNamespace = "observe: {namespaces: host}\n"

// startAgent starts the program as a user would, with a configuration in dir. The
// host is called lab: recordings have its name.
func startAgent(ctx context.Context, host *lab.Host, binary, dir, config string) (*agent, error) {
	a, err := host.StartAgent(ctx, lab.AgentConfig{Binary: binary, Dir: dir, Config: "name: lab\n" + config})
	if err != nil {
		return nil, err
	}
	return &agent{Agent: a}, nil
}

func (a *agent) stop() {
	if a.recorder != nil {
		_ = a.recorder.End(os.Interrupt)
	}
	a.Close()
}
