package detect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// The faults. Those that take a time happen that long after the fault began.

func killed() BackendEvent {
	return BackendEvent{0, "a backend is killed", func(_ context.Context, p *pool) error { return p.failing().run.Kill() }}
}

// restarted starts the failing backend again.
func restarted(at time.Duration) BackendEvent {
	return BackendEvent{at, "the backend is started again", func(ctx context.Context, p *pool) error {
		return p.restartMember(ctx, p.failing())
	}}
}

func blackholed() BackendEvent { return lossy("the path to a backend goes dead", 100) }

func lossy(what string, percent float64) BackendEvent {
	return BackendEvent{0, what, func(ctx context.Context, p *pool) error {
		return p.host.Loss(ctx, p.failing().host, percent)
	}}
}

func frozen() BackendEvent {
	return BackendEvent{0, "a backend is stopped by SIGSTOP", func(_ context.Context, p *pool) error {
		return p.failing().run.Signal(syscall.SIGSTOP)
	}}
}

// behaves makes the failing backend treat its requests so; its health stays
// green.
func behaves(at time.Duration, what string, b lab.Behaviour) BackendEvent {
	return BackendEvent{at, what, func(ctx context.Context, p *pool) error { return p.failing().run.Behave(ctx, b) }}
}

// smallWindow keeps the receive buffers of the failing backend at their first
// size from the beginning of the load: the kernel lets those of a connection
// that is read fast grow to 6 MB, which would take in a whole request.
// Kernel: Documentation/networking/ip-sysctl.rst, tcp_rmem.
func smallWindow() BackendEvent {
	return BackendEvent{-learnFor, "a backend's receive buffers are small", func(_ context.Context, p *pool) error {
		return p.failing().host.SetSysctl("net.ipv4.tcp_rmem", "4096 131072 131072")
	}}
}

func stoppedOrderly() BackendEvent {
	return BackendEvent{0, "a backend stops in good order", func(_ context.Context, p *pool) error { return p.failing().run.Stop() }}
}

// deafToFIN makes the failing backend's host lose every FIN of the balancer's.
func deafToFIN() BackendEvent {
	return BackendEvent{0, "FINs to a backend are lost", func(ctx context.Context, p *pool) error {
		return p.host.LoseFIN(ctx, p.failing().host)
	}}
}

// fewPorts leaves the balancer's host so many ephemeral ports toward each
// destination, and no reuse of those in TIME_WAIT.
func fewPorts(n int) BackendEvent {
	return BackendEvent{0, fmt.Sprintf("%d ephemeral ports are left", n), func(_ context.Context, p *pool) error {
		return errors.Join(
			p.host.SetSysctl("net.ipv4.tcp_tw_reuse", "0"),
			p.host.SetSysctl("net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", 40_000, 40_000+n-1)),
		)
	}}
}

// uplinkLost cuts the balancer's host off from everything but its clients.
func uplinkLost() BackendEvent {
	return BackendEvent{0, "the balancer's own uplink is lost", func(ctx context.Context, p *pool) error {
		errs := []error{p.host.Blackhole(ctx, p.others)}
		for _, m := range p.members {
			errs = append(errs, p.host.Blackhole(ctx, m.host))
		}
		return errors.Join(errs...)
	}}
}

// leaks starts a program beside the balancer that never closes what the
// failing backend has closed.
func leaks() BackendEvent {
	return BackendEvent{0, "a pool begins to leak", func(ctx context.Context, p *pool) error {
		return p.startClients(ctx, PoolCell{Backends: true, Leak: true})
	}}
}

// What happens on healthy days.

// drainedRestarts restarts one backend after the other, each drained in
// HAProxy first, twelve seconds apart.
func drainedRestarts(members int) []BackendEvent {
	var events []BackendEvent
	for i := range members {
		begin := time.Duration(i) * 12 * time.Second
		set := func(state string) func(context.Context, *pool) error {
			return func(ctx context.Context, p *pool) error {
				_, err := p.balancer.Admin(ctx, fmt.Sprintf("set server app/s%d state %s", i+1, state))
				return err
			}
		}
		events = append(events,
			BackendEvent{begin, fmt.Sprintf("s%d drains", i+1), set("drain")},
			BackendEvent{begin + 3*time.Second, fmt.Sprintf("s%d stops", i+1), func(_ context.Context, p *pool) error { return p.members[i].run.Stop() }},
			BackendEvent{begin + 5*time.Second, fmt.Sprintf("s%d starts", i+1), func(ctx context.Context, p *pool) error { return p.restartMember(ctx, p.members[i]) }},
			BackendEvent{begin + 7*time.Second, fmt.Sprintf("s%d is ready", i+1), set("ready")},
		)
	}
	return events
}

// reloadedTo lets the balancer take up its configuration anew, with that many
// backends.
func reloadedTo(at time.Duration, members int) BackendEvent {
	return BackendEvent{at, fmt.Sprintf("the balancer reloads with %d backends", members), func(ctx context.Context, p *pool) error {
		var addrs []netip.AddrPort
		for _, m := range p.members[:members] {
			if m.run == nil {
				if err := m.start(ctx); err != nil {
					return err
				}
			}
			addrs = append(addrs, m.addr())
		}
		return p.balancer.Reload(ctx, p.cell.Balancer.Software(addrs))
	}}
}

// balancerRestarted stops the balancer and starts it again; on a contained host
// that is another container. How the agent follows is measured.
func balancerRestarted(at time.Duration) BackendEvent {
	const what = "the balancer is restarted"
	return BackendEvent{at, what, func(ctx context.Context, p *pool) error {
		follower := p.follow(ctx, what)
		if err := p.balancer.Stop(); err != nil {
			return err
		}
		follower.watch(ctx)
		balancer, err := p.host.Serve(ctx, p.cell.Balancer.Software(p.addrs()))
		if err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.balancer = balancer
		return nil
	}}
}

// scaledUp adds a fourth server to a running HAProxy by its runtime socket.
func scaledUp(at time.Duration) BackendEvent {
	return BackendEvent{at, "s4 is added", func(ctx context.Context, p *pool) error {
		m := p.members[3]
		if err := m.start(ctx); err != nil {
			return err
		}
		return p.orders(ctx, fmt.Sprintf("add server app/s4 %s check inter 2s", m.addr()), "enable server app/s4", "enable health app/s4")
	}}
}

// scaledDown drains the fourth server, takes it out by the runtime socket, and
// stops it.
func scaledDown(at time.Duration) []BackendEvent {
	return []BackendEvent{
		{at, "s4 drains", func(ctx context.Context, p *pool) error { return p.orders(ctx, "set server app/s4 state drain") }},
		{at + 3*time.Second, "s4 is deleted and stops", func(ctx context.Context, p *pool) error {
			if err := p.orders(ctx, "set server app/s4 state maint", "del server app/s4"); err != nil {
				return err
			}
			return p.members[3].run.Stop()
		}},
	}
}

// orders gives HAProxy commands that answer with nothing, or with what they did.
func (p *pool) orders(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		answer, err := p.running().Admin(ctx, command)
		if err != nil {
			return err
		}
		// HAProxy: doc/management.txt, "add server" and "del server".
		if did := answer == "" || strings.Contains(answer, "registered") || strings.Contains(answer, "deleted"); !did {
			return fmt.Errorf("command %q: %s", command, answer)
		}
	}
	return nil
}
