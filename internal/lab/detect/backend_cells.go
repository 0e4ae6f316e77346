package detect

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Balancer is a balancer with its defaults.
type Balancer struct {
	Name     string
	Software func(backends []netip.AddrPort) lab.Software
	// Timer is the interval of its health checks; zero makes none.
	Timer time.Duration
	// opinion asks what it thinks of the backends.
	opinion opinion
}

// healthPath is what balancers that can ask for the backends' health ask for.
const healthPath = "/health"

func balancers() []Balancer {
	return []Balancer{
		haproxy("haproxy", lab.HAProxy{}),
		{Name: "nginx", opinion: nginxLog, Software: func(b []netip.AddrPort) lab.Software { return lab.Nginx{KeepAlive: true, Upstreams: b} }},
		{Name: "nginx-kept", opinion: nginxLog, Software: func(b []netip.AddrPort) lab.Software { return lab.Nginx{KeepAlive: true, Kept: 16, Upstreams: b} }},
		{Name: "apache", opinion: apacheLog, Software: func(b []netip.AddrPort) lab.Software { return lab.ApacheBalancer{Backends: b} }},
		{Name: "traefik", opinion: traefikAPI, Timer: 30 * time.Second, Software: func(b []netip.AddrPort) lab.Software {
			return lab.Traefik{Health: healthPath, Backends: b}
		}},
	}
}

func haproxy(name string, with lab.HAProxy) Balancer {
	with.Check, with.Health = 2*time.Second, healthPath
	return Balancer{Name: name, Timer: with.Check, opinion: haproxyStat, Software: func(b []netip.AddrPort) lab.Software {
		with := with
		with.Backends = b
		return with
	}}
}

// nginxOpenEach fills the balancer's host with TIME_WAIT.
func nginxOpenEach() Balancer {
	return Balancer{Name: "nginx-open-each", opinion: nginxLog, Software: func(b []netip.AddrPort) lab.Software {
		return lab.Nginx{KeepAlive: true, OpenEach: true, Upstreams: b}
	}}
}

// haproxyReloads is HAProxy with a master process.
func haproxyReloads() Balancer { return haproxy("haproxy-master", lab.HAProxy{Reloads: true}) }

// inside is the balancer in a container. HAProxy has a master there, as in its
// own image: without one nothing takes its SIGTERM, and the first process of a
// container has no default action.
func (b Balancer) inside() Balancer {
	name := b.Name + "-contained"
	if b.Name == "haproxy" {
		return haproxy(name, lab.HAProxy{Reloads: true})
	}
	b.Name = name
	return b
}

// The goals of the issue.
const (
	withinAtOnce = 2500 * time.Millisecond // lost, refusing, resetting
	withinSoon   = 3500 * time.Millisecond // frozen, half-broken, slow
	withinRest   = 15 * time.Second        // partial failures and all others
)

// The usual course of a cell, seconds: the agent learns what is normal, then
// the fault comes, and is watched.
const (
	learnFor = time.Minute
	// settleFor is the same for a day without a fault.
	settleFor = 30 * time.Second
	watchFor  = 30 * time.Second
	// perSecond is what the clients ask, a third of which each backend gets.
	perSecond = 30
	usually   = 20 * time.Millisecond // that a backend takes
)

// trio are three backends alike.
func trio() []lab.App {
	return slices.Repeat([]lab.App{{Service: usually}}, 3)
}

// clients is the load: random arrivals over connections that are kept.
func clients(duration time.Duration, pairs ...float64) lab.Load {
	l := load(int(duration.Seconds()), true, 1, pairs...)
	l.KeepAlive = true
	return l
}

// faultKind is one fault for every balancer, or for those in only.
type faultKind struct {
	name   string
	events []BackendEvent
	goal   FaultGoal
	only   []string
	over   time.Duration // how long it is watched; zero is watchFor
	change func(*BackendCell)
}

func want(within time.Duration, causes ...string) FaultGoal {
	return FaultGoal{Causes: causes, Least: "warning", Within: within}
}

// watches is a goal whose cause need not be graver than a watch.
func watches(causes ...string) FaultGoal {
	return FaultGoal{Causes: causes, Least: "watch", Within: withinRest}
}

// then lists causes that may follow.
func (g FaultGoal) then(chain ...string) FaultGoal {
	g.Chain = append(slices.Clone(g.Chain), chain...)
	return g
}

// kept are the balancers that keep connections to their backends by default.
var kept = []string{"haproxy", "nginx-kept", "apache", "traefik"}

func faultKinds() []faultKind {
	hang := lab.Behaviour{Manner: lab.HangRequests}
	some := func(b lab.Behaviour) lab.Behaviour { b.Share = 0.2; return b }
	reset := lab.Behaviour{Manner: lab.ResetRequests}
	slow := func(s float64) lab.Behaviour {
		return lab.Behaviour{Manner: lab.SlowRequests, Service: time.Duration(s * float64(time.Second))}
	}
	return []faultKind{
		{name: "killed", events: []BackendEvent{killed()}, goal: want(withinAtOnce, "peer_refusing").then("orderly_stop")},
		{name: "blackholed", events: []BackendEvent{blackholed()}, goal: want(withinAtOnce, "path_lost").then("stuck_closing", "heavy_loss")},
		{name: "frozen", events: []BackendEvent{frozen()}, goal: want(withinSoon, "peer_frozen").then("peer_slow", "peer_half_broken", "peer_not_reading")},
		{name: "hang", events: []BackendEvent{behaves(0, "a backend hangs, its health is green", hang)},
			goal: want(withinSoon, "peer_half_broken", "peer_frozen").then("peer_slow")},
		{name: "reset", events: []BackendEvent{behaves(0, "a backend resets, its health is green", reset)},
			goal: want(withinAtOnce, "peer_resetting").then("churn")},
		{name: "slow", events: []BackendEvent{behaves(0, "a backend takes 5 s, its health is green", slow(5))},
			goal: want(withinSoon, "peer_slow", "peer_half_broken", "peer_frozen")},
		{name: "slowing", events: []BackendEvent{
			behaves(0, "a backend takes 1 s, its health is green", slow(1)), behaves(5*time.Second, "it takes 2 s", slow(2)),
			behaves(10*time.Second, "it takes 3.5 s", slow(3.5)), behaves(15*time.Second, "it takes 5 s", slow(5)),
		}, over: 45 * time.Second, goal: want(withinRest, "peer_slow", "peer_half_broken", "peer_frozen")},
		{name: "hang-some", events: []BackendEvent{behaves(0, "a fifth of a backend's requests hang", some(hang))},
			over: 40 * time.Second, goal: want(withinRest, "peer_half_broken", "peer_slow").then("peer_frozen")},
		{name: "reset-some", events: []BackendEvent{behaves(0, "a fifth of a backend's requests are reset", some(reset))},
			over: 40 * time.Second, goal: want(withinRest, "peer_resetting").then("churn")},
		{name: "close-half", events: []BackendEvent{behaves(0, "a backend sends FIN instead of answers", lab.Behaviour{Manner: lab.CloseHalf})},
			goal: watches("orderly_stop", "lazy_pool", "churn", "peer_resetting").then("stuck_closing", "peer_refusing")},
		{name: "stopped", events: []BackendEvent{stoppedOrderly()}, goal: watches("orderly_stop", "peer_refusing").then("lazy_pool")},
		{name: "restarted", events: []BackendEvent{stoppedOrderly(), restarted(8 * time.Second)}, over: 90 * time.Second,
			goal: func() FaultGoal {
				g := want(withinAtOnce, "peer_refusing").then("orderly_stop", "lazy_pool")
				g.Resolved = 5 * time.Second
				return g
			}()},
		{name: "loss", events: []BackendEvent{lossy("a third of a backend's packets are lost", 30)}, over: 40 * time.Second,
			goal: want(withinRest, "heavy_loss").then("path_lost", "peer_slow", "churn", "peer_resetting", "stuck_closing")},
		{name: "not-reading", events: []BackendEvent{smallWindow(), behaves(0, "a backend stops reading what is sent, its health is green", lab.Behaviour{Manner: lab.StopReading})},
			over: 40 * time.Second, goal: want(withinRest, "peer_not_reading").then("peer_slow", "peer_half_broken", "peer_frozen"),
			change: func(c *BackendCell) { c.Load.Body = 256 << 10 }},
		{name: "keepalive-lost", events: []BackendEvent{behaves(0, "a backend closes each connection", lab.Behaviour{Manner: lab.CloseEach})},
			goal: watches("churn").then("orderly_stop"), only: kept},
		{name: "fin-unanswered", events: []BackendEvent{deafToFIN()}, over: 45 * time.Second,
			goal: watches("stuck_closing").then("path_lost"), only: []string{"nginx"}},
		{name: "pool-leaks", events: []BackendEvent{leaks()}, over: 60 * time.Second, only: []string{"haproxy", "nginx"},
			goal:   watches("leak", "lazy_pool").then("churn", "orderly_stop"),
			change: func(c *BackendCell) { c.Config = "backends:\n  - {name: pool, process: {name: lab-pool}}\n" }},
		{name: "uplink-lost", events: []BackendEvent{uplinkLost()}, only: []string{"haproxy", "nginx-kept", "traefik"},
			goal: func() FaultGoal {
				g := want(withinRest, "local_fault").then("path_lost", "heavy_loss", "stuck_closing", "conn_limit")
				g.All, g.Host = true, true
				return g
			}(),
			change: func(c *BackendCell) {
				c.Pools = []PoolCell{{}}
				c.Config = "backends:\n  - {name: pool, process: {name: lab-pool}}\n"
			}},
	}
}

// BackendCells are all of them: the faults behind each balancer, then the
// healthy days.
func BackendCells() []BackendCell {
	var cells []BackendCell
	for _, b := range balancers() {
		for _, k := range faultKinds() {
			if k.only == nil || slices.Contains(k.only, b.Name) {
				cells = append(cells, k.behind(b))
			}
		}
	}
	return slices.Concat(cells, []BackendCell{portsRunOut()}, contained(), healthyBackends())
}

// contained are faults behind balancers in containers, and restarts of the
// balancer: healthy, before the fault, and while a backend is dead.
func contained() []BackendCell {
	all := balancers()
	var cells []BackendCell
	for _, of := range []struct {
		balancer int
		faults   []string
	}{
		{0, []string{"killed", "blackholed", "frozen", "hang", "reset", "slow"}}, // HAProxy
		{4, []string{"killed", "blackholed", "frozen", "hang", "reset", "slow"}}, // Traefik
		{2, []string{"killed", "hang"}},                                          // nginx with keepalive
	} {
		outside := all[of.balancer]
		inside := outside.inside()
		for _, k := range faultKinds() {
			if !slices.Contains(of.faults, k.name) {
				continue
			}
			cells = append(cells, k.behind(inside).inContainer())
			if k.name == "killed" || k.name == "hang" {
				cells = append(cells, k.afterRestart(outside), k.afterRestart(inside).inContainer())
			}
			if k.name == "killed" && of.balancer == 0 {
				cells = append(cells, k.overRestart(outside), k.overRestart(inside).inContainer())
			}
		}
	}
	return cells
}

func (c BackendCell) inContainer() BackendCell {
	c.Contained = true
	return c
}

// afterRestart is the fault five seconds after the balancer's restart.
func (k faultKind) afterRestart(b Balancer) BackendCell {
	c := k.behind(b)
	c.Fault = "restarted-" + k.name
	c.Name = b.Name + "-" + c.Fault
	c.Events = slices.Concat([]BackendEvent{balancerRestarted(-5 * time.Second)}, c.Events)
	return c
}

// overRestart is the fault, and the balancer's restart while it lasts.
func (k faultKind) overRestart(b Balancer) BackendCell {
	const over = 45 * time.Second
	c := k.behind(b)
	c.Fault = k.name + "-over-restart"
	c.Name = b.Name + "-" + c.Fault
	c.Events = slices.Concat(c.Events, []BackendEvent{balancerRestarted(15 * time.Second)})
	c.Load, c.Goal.Lasts = clients(learnFor+over, 0, perSecond), true
	return c
}

func (k faultKind) behind(b Balancer) BackendCell {
	over := k.over
	if over == 0 {
		over = watchFor
	}
	c := BackendCell{
		Name: b.Name + "-" + k.name, Balancer: b, Fault: k.name, Apps: trio(), At: learnFor, Events: k.events, Goal: k.goal,
		Load: clients(learnFor+over, 0, perSecond),
	}
	c.Goal = c.Goal.then("green_but_failing")
	if b.Name == "apache" {
		// A worker waits for each answer, so a hung backend takes them all.
		c.Goal = c.Goal.then("workers_filling", "workers_full", "clients_gave_up")
	}
	if k.change != nil {
		k.change(&c)
	}
	return c
}

// portsRunOut is a fault of no backend: nginx leaves TIME_WAIT at ten a second
// toward each, and the ports of the host are few.
func portsRunOut() BackendCell {
	goal := want(withinRest, "port_exhaustion").then("local_fault", "churn", "green_but_failing")
	goal.All, goal.Within = true, 45*time.Second // they last for half a minute
	return BackendCell{
		Name: "nginx-open-each-ports-run-out", Balancer: nginxOpenEach(), Fault: "ports-run-out", Apps: trio(), At: learnFor,
		Events: []BackendEvent{fewPorts(300)}, Goal: goal, Load: clients(learnFor+60*time.Second, 0, perSecond),
	}
}

func healthyBackends() []BackendCell {
	var cells []BackendCell
	calm := func(b Balancer, what string, duration time.Duration, change func(*BackendCell)) {
		c := BackendCell{
			Name: "healthy-" + b.Name + "-" + what, Balancer: b, Fault: what, Healthy: true, Apps: trio(), At: settleFor,
			Load: clients(duration, 0, perSecond),
		}
		if change != nil {
			change(&c)
		}
		cells = append(cells, c)
	}
	for _, b := range balancers() {
		// An evening first: of ten connections in a hundred seconds, each closed at
		// once, the agent sees none, and an agent without a backend proves nothing.
		calm(b, "idle-night", 5*time.Minute, func(c *BackendCell) {
			c.Load = clients(5*time.Minute, 0, perSecond, 30, perSecond, 40, 0.1)
		})
		calm(b, "burst", 90*time.Second, func(c *BackendCell) {
			c.Load = clients(90*time.Second, 0, perSecond, 30, perSecond, 30.01, 5*perSecond, 50, 5*perSecond, 50.01, perSecond)
		})
		calm(b, "slow-backend", 2*time.Minute, func(c *BackendCell) {
			c.Apps = []lab.App{{Service: 50 * time.Millisecond}, {Service: 50 * time.Millisecond}, {Service: 2 * time.Second}}
			c.Load = clients(2*time.Minute, 0, 15)
		})
		calm(b, "restart", time.Minute, func(c *BackendCell) { c.Events = []BackendEvent{balancerRestarted(0)} })
	}
	for _, i := range []int{0, 2, 4} {
		inside := balancers()[i].inside()
		calm(inside, "restart", time.Minute, func(c *BackendCell) { c.Events, c.Contained = []BackendEvent{balancerRestarted(0)}, true })
	}
	reloading := slices.Concat([]Balancer{haproxyReloads()}, balancers()[1:])
	for _, b := range reloading {
		// Of workers there is healthy-nginx-reload.
		calm(b, "reload-backends", 90*time.Second, func(c *BackendCell) { c.Events = []BackendEvent{reloadedTo(0, 3), reloadedTo(25*time.Second, 3)} })
		calm(b, "scaled", 90*time.Second, func(c *BackendCell) { c.Events = []BackendEvent{reloadedTo(0, 4), reloadedTo(25*time.Second, 3)} })
	}
	calm(balancers()[0], "scaled", 90*time.Second, func(c *BackendCell) {
		c.Events = slices.Concat([]BackendEvent{scaledUp(0)}, scaledDown(25*time.Second))
	})
	calm(balancers()[0], "rolling-restart", 90*time.Second, func(c *BackendCell) { c.Events = drainedRestarts(3) })
	return cells
}
