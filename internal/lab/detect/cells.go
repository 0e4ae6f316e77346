package detect

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// The workers article's server and load: 20 workers and requests of 1 s, so
// that its capacity is 20 a second.
const (
	articleWorkers = 20
	oneSecond      = "/sleep?ms=1000"
	quick          = "/sleep?ms=100"
)

// articlePreset switches the article's thresholds on, to see what they say.
const articlePreset = "presets: [workers-article]\n"

// minutesAhead is the goal of a gradual ramp whose limit is known; the others
// that have a number have it beside them.
const minutesAhead = 120 * time.Second

// chain is what exhaustion may show at warning or above.
func chain() []string { return []string{"workers_filling", "workers_full", "clients_gave_up"} }

func prefork(workers int, more func(*lab.ApachePrefork)) func(netip.AddrPort) lab.Software {
	return func(app netip.AddrPort) lab.Software {
		a := lab.ApachePrefork{Workers: workers, Upstream: app}
		if more != nil {
			more(&a)
		}
		return a
	}
}

func event(keepAlive bool) func(netip.AddrPort) lab.Software {
	return func(app netip.AddrPort) lab.Software {
		return lab.ApacheEvent{Workers: articleWorkers, Upstream: app, KeepAlive: keepAlive}
	}
}

func nginx(connections int, keepAlive bool) func(netip.AddrPort) lab.Software {
	return func(app netip.AddrPort) lab.Software {
		return lab.Nginx{Connections: connections, Upstreams: []netip.AddrPort{app}, KeepAlive: keepAlive}
	}
}

// rates reads pairs of seconds and requests a second.
func rates(pairs ...float64) []lab.RatePoint {
	var out []lab.RatePoint
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, lab.RatePoint{At: time.Duration(pairs[i] * float64(time.Second)), PerSecond: pairs[i+1]})
	}
	return out
}

// load is an open loop with a client's patience of 10 s.
func load(seconds int, random bool, seed uint64, pairs ...float64) lab.Load {
	return lab.Load{Rate: rates(pairs...), Duration: time.Duration(seconds) * time.Second, Poisson: random, Seed: seed, Timeout: patience}
}

// Prefork is the workers article's server: the rate rises in a straight line
// from a tenth to 1.3 times of its capacity over span, and stays.
func Prefork(workers int, span, duration time.Duration) Cell {
	n := float64(workers)
	return Cell{
		Name: "gradual", Slow: 2 * time.Second, Software: prefork(workers, nil), Path: oneSecond, Chain: chain(),
		Load: load(int(duration.Seconds()), false, 0, 0, 0.1*n, span.Seconds(), 1.3*n),
	}
}

// Healthy is the same server at a share of its capacity, with random arrivals.
func Healthy(workers int, share float64, duration time.Duration, seed uint64) Cell {
	return Cell{
		Name: fmt.Sprintf("healthy-poisson-%.0f", 100*share), Slow: 2 * time.Second, Healthy: true,
		Software: prefork(workers, nil), Path: oneSecond,
		Load: load(int(duration.Seconds()), true, seed, 0, float64(workers)*share), Goal: Goal{WatchesPerHour: 6},
	}
}

// Cells are all scenarios: those that fail first, then the healthy ones.
func Cells() []Cell { return append(failing(), healthy()...) }

func failing() []Cell {
	ramp := func(name string, c Cell) Cell {
		c.Name, c.Slow, c.Chain = name, 2*time.Second, chain()
		if c.Software == nil {
			c.Software = prefork(articleWorkers, nil)
		}
		if c.Path == "" {
			c.Path = oneSecond
		}
		if len(c.Load.Rate) == 0 {
			c.Load = load(240, false, 0, 0, 2, 240, 26)
			c.Goal.Lead = minutesAhead
		}
		if c.Goal.Found == nil {
			c.Goal.Found = []string{"workers_filling", "workers_full"}
		}
		return c
	}
	with := func(c Cell, more ...string) Cell {
		c.Chain = append(c.Chain, more...)
		return c
	}
	slowing := lab.App{Ramp: []lab.ServicePoint{{Service: 500 * time.Millisecond}, {At: 60 * time.Second, Service: 500 * time.Millisecond}, {At: 180 * time.Second, Service: 3 * time.Second}}}
	return []Cell{
		ramp("gradual", Cell{}),
		ramp("gradual-random", Cell{Load: load(240, true, 1, 0, 2, 240, 26), Goal: Goal{Lead: 100 * time.Second}}),
		ramp("fast", Cell{Load: load(60, false, 0, 0, 2, 20, 40), Goal: Goal{Lead: 15 * time.Second}}),
		ramp("burst", Cell{
			Load: load(90, false, 0, 0, 5, 30, 5, 30.01, 400, 31, 400, 31.01, 5),
			Goal: Goal{Found: []string{"workers_full"}, By: 34 * time.Second}, // 4 s after it
		}),
		ramp("application-slows", Cell{App: slowing, Path: "/", Load: load(240, false, 0, 0, 10), Goal: Goal{Lead: 50 * time.Second}}),
		ramp("keepalive-prefork", Cell{
			Software: prefork(articleWorkers, func(a *lab.ApachePrefork) { a.KeepAlive = true }), Path: quick,
			Load: load(240, false, 0, 0, 1), Users: Users{Count: 40, Every: 2 * time.Second, Over: 240 * time.Second},
		}),
		ramp("event-busy", Cell{Software: event(false)}),
		ramp("event-keepalive-busy", Cell{Software: event(true), Users: Users{Count: 16, Every: 3 * time.Second, Over: 48 * time.Second}}),
		ramp("small-backlog", Cell{Software: prefork(articleWorkers, func(a *lab.ApachePrefork) { a.Backlog = 10 })}),
		ramp("haproxy-in-front", Cell{Front: true}),
		ramp("learned-limit", Cell{
			Load:   load(640, false, 0, 0, 2, 240, 26, 241, 2, 400, 2, 640, 26),
			Config: "services:\n  - {name: web, listen: [\":80\"], workers_from: learn}\n", Twice: 380 * time.Second,
			Goal: Goal{Lead: minutesAhead},
		}),
		// Prefork starts one process a second for the first ten seconds after a
		// graceful restart (Apache: prefork.c, hold_off_on_exponential_spawning):
		// half of its workers are busy, and so it may run short: on a quiet host
		// it did not, on a busy one clients waited.
		ramp("graceful-reload-busy", Cell{
			Load: load(150, true, 7, 0, 10), Events: []Event[*stage]{reload(90*time.Second, apacheGraceful)}, Goal: Goal{Found: []string{}},
		}),
		with(ramp("article-preset", Cell{Load: load(420, false, 0, 0, 2, 240, 26, 300, 26, 301, 5), Config: articlePreset}), "user_rule"),
		with(ramp("article-preset-at-60", Cell{Load: load(900, true, 11, 0, 12), Config: articlePreset, Goal: Goal{Found: []string{}}}), "user_rule"),
		with(ramp("nginx-connections", Cell{Software: nginx(64, false), Load: load(180, false, 0, 0, 2, 120, 60), Goal: Goal{Found: []string{"workers_filling", "conn_limit"}}}), "conn_limit"),
		with(ramp("slowloris", Cell{
			Load: load(180, false, 0, 0, 4), Events: []Event[*stage]{slowloris(60*time.Second, 60, 2, 100*time.Second)},
			Goal: Goal{Found: []string{"slow_clients", "workers_full"}},
		}), "slow_clients"),
		{
			// Ten connections a second are never closed: the descriptors last
			// for 200 s, and then nobody is accepted.
			Name: "leak", Slow: 2 * time.Second, Chain: append(chain(), "leak"), Path: "/",
			Software: func(netip.AddrPort) lab.Software {
				return lab.App{Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), 80), Service: 20 * time.Millisecond, LeakEvery: 2, Descriptors: 2048}
			},
			Load: load(240, false, 0, 0, 20), Goal: Goal{Found: []string{"leak"}, Lead: time.Second},
		},
		{
			Name: "syn-flood", Slow: 2 * time.Second, Chain: []string{"syn_flood"}, Goal: Goal{Found: []string{"syn_flood"}}, Software: prefork(articleWorkers, nil), Path: quick,
			Load: load(90, false, 0, 0, 20), Events: []Event[*stage]{floodSYN(30*time.Second, 2000, 30*time.Second)},
		},
		{
			Name: "traffic-missing", Slow: 2 * time.Second, Chain: []string{"traffic_missing"}, Goal: Goal{Found: []string{"traffic_missing"}}, Software: prefork(articleWorkers, nil), Path: quick,
			Load: load(900, true, 4, 0, 20, 690, 20, 691, 1, 840, 1, 841, 20),
		},
		{
			// The server closes what is idle for five seconds, and nobody is
			// left to answer.
			Name: "stuck-closing", Slow: 2 * time.Second, Chain: []string{"stuck_closing"}, Goal: Goal{Found: []string{"stuck_closing"}}, Software: event(true), Path: quick,
			Load: load(120, false, 0, 0, 5), Users: Users{Count: 40, Every: 4 * time.Second},
			Events: []Event[*stage]{deafen(30 * time.Second), heal(80 * time.Second)},
		},
	}
}

func healthy() []Cell {
	calm := func(name string, c Cell) Cell {
		c.Name, c.Slow, c.Healthy = "healthy-"+name, 2*time.Second, true
		if c.Software == nil {
			c.Software = prefork(articleWorkers, nil)
		}
		if c.Path == "" {
			c.Path = oneSecond
		}
		return c
	}
	return []Cell{
		calm("event-keepalive", Cell{Software: event(true), Path: quick, Load: load(300, true, 5, 0, 10), Users: Users{Count: 40, Every: 4 * time.Second}}),
		calm("nginx-keepalive", Cell{Software: nginx(512, true), Path: quick, Load: load(300, true, 6, 0, 10), Users: Users{Count: 100, Every: 4 * time.Second}}),
		calm("graceful-reload", Cell{Path: quick, Load: load(180, true, 7, 0, 20), Events: []Event[*stage]{reload(60*time.Second, apacheGraceful), reload(120*time.Second, apacheGraceful)}}),
		calm("nginx-reload", Cell{
			Software: nginx(512, true), Path: quick, Load: load(180, true, 12, 0, 10), Users: Users{Count: 40, Every: 4 * time.Second},
			Events: []Event[*stage]{reload(60*time.Second, nginxReload), reload(120*time.Second, nginxReload)},
		}),
		calm("drained-deploy", Cell{Path: quick, Load: load(900, true, 8, 0, 20, 700, 20, 701, 0, 730, 0, 731, 20), Events: []Event[*stage]{restart(712 * time.Second)}}),
		calm("burst-within", Cell{Load: load(240, true, 9, 0, 4, 60, 4, 60.01, 14, 61, 14, 61.01, 4, 150, 4, 150.01, 14, 151, 14, 151.01, 4)}),
		// As when a balancer sends half of the traffic of another host over: a
		// step is no slope.
		calm("step-within", Cell{Load: load(300, true, 13, 0, 1, 90, 1, 90.01, 12)}),
		calm("nightly-batch", Cell{Load: load(1800, true, 10, 0, 5, 720, 5, 730, 13, 1320, 13, 1330, 5)}),
		Healthy(articleWorkers, 0.6, time.Hour, 1),
		Healthy(articleWorkers, 0.8, time.Hour, 2),
	}
}
