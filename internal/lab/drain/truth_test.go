package drain

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/lab"
)

// began is when made runs begin; flips are 100 s later.
var began = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return began.Add(time.Duration(seconds * float64(time.Second)))
}

// visit is a made one: zero for what did not happen.
func visit(client int, remote netip.Addr, dialed, opened, closed float64, failed string) lab.Visit {
	v := lab.Visit{Client: client, Began: at(dialed), Dialed: at(dialed), Remote: netip.AddrPortFrom(remote, port), Error: failed}
	if opened > 0 {
		v.Opened, v.Requests = at(opened), 1
		v.Local = netip.AddrPortFrom(netip.MustParseAddr("10.77.7.1"), uint16(40000+100*client+int(opened)%100))
	}
	if closed > 0 {
		v.Closed = at(closed)
	}
	return v
}

func TestTruth(t *testing.T) {
	visits := []lab.Visit{
		visit(0, oldAddr, 1, 2, 10, ""),
		visit(1, oldAddr, 1, 2, 0, ""),
		visit(2, newAddr, 8, 9, 0, ""),
		visit(3, wrongAddr, 1, 2, 0, ""),
		visit(4, oldAddr, 5, 0, 10, "connect: timed out"),
		visit(5, oldAddr, 11, 0, 0, ""),
		{Client: 6, Began: at(1), Closed: at(6), Error: "resolve: no answer"},
	}
	crowds := []Crowd{{Population{Host: "web"}, visits[:4]}, {Population{Host: "isp"}, visits[4:]}}
	for _, test := range []struct {
		name string
		at   float64
		keep func(Population) bool
		want Truth
	}{
		{"nothing yet", 0.5, everybody, Truth{}},
		{"being dialed", 1.5, everybody, Truth{ConnectingOld: 2}},
		{"standing", 9.5, everybody, Truth{Old: 2, New: 1, Other: 1, ConnectingOld: 1}},
		{"of one host", 9.5, on("web"), Truth{Old: 2, New: 1, Other: 1}},
		{"a connection ends as it is closed", 10, everybody, Truth{Old: 1, New: 1, Other: 1}},
		{"held to the end", 60, everybody, Truth{Old: 1, New: 1, Other: 1, ConnectingOld: 1}},
	} {
		if diff := cmp.Diff(test.want, truthAt(crowds, at(test.at), test.keep)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if got := arrivals(crowds, at(2), at(9)); got != 2 {
		t.Errorf("%d arrivals from 2 s to 9 s, want those of clients 0 and 1 and none at the wrong address", got)
	}
	if got := failures(visits, at(0), at(60)); got != 2 {
		t.Errorf("%d failures, want 2", got)
	}
}

// made is a run of two pooled clients on old and eight honest ones that went over,
// as an agent that is right would see it.
func made() seen {
	cell := Cell{Name: "made", TTL: 10 * time.Second, Agents: []string{"web"}, Resolvers: []string{"unbound", "unbound-min-900"},
		Wants: []Want{{"old_connection", true, 15 * time.Second}}, CloseStale: 50 * time.Second,
		Populations: []Population{{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound"}, {Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound"}}}
	s := seen{cell: &cell, flipped: at(100), ended: at(160)}
	pooled, honest := Crowd{Population: cell.Populations[0]}, Crowd{Population: cell.Populations[1]}
	for i := range 2 {
		pooled.Visits = append(pooled.Visits, visit(i, oldAddr, 1, 2, 150.1, "ask: read: software caused connection abort"), visit(i, newAddr, 151, 151.1, 0, ""))
	}
	for i := range 8 {
		honest.Visits = append(honest.Visits, visit(10+i, oldAddr, 1, 2, 105, ""), visit(10+i, newAddr, 105, 105.01, 0, ""))
	}
	s.crowds = []Crowd{pooled, honest}
	w := &watched{host: "web", incidents: []incident{
		{"old_connection", "address/" + Site + "/old", "warning", at(115)},
		{"workers_full", "service/apache2:80", "warning", at(120)}, // of something else
	}}
	for second := 90; second < 160; second++ {
		p := poll{At: at(float64(second) + 0.1)}
		if second < 100 {
			p.Err = errors.New("404: no switch of that name is followed")
		} else {
			truth := truthAt(s.crowds, at(float64(second)), everybody)
			p.Report = drain.Report{SwitchedAt: at(100), Resolvers: []drain.Resolver{{Server: "10.77.2.1:53", Class: drain.ClassNew}, {Server: "10.77.2.3:53", Class: drain.ClassOldBeyond}, {Server: "10.77.1.1:53", Class: drain.ClassNew}, {Server: "10.77.1.2:53", Class: drain.ClassNew}}}
			p.Report.Now = drain.Point{SinceSeconds: float64(second - 100), Asked: drain.Sides{Old: drain.Count{Connections: truth.Old, Established: truth.Old}, New: drain.Count{Connections: truth.New, Established: truth.New}}}
			if second < 150 {
				p.Report.Laggards = []drain.Laggard{{Process: "lab-pooled", Connections: 2, Cause: "old_connection"}}
			}
			p.Status.Verdict = drain.Draining
		}
		w.polls = append(w.polls, p)
		s.checks = append(s.checks, checks{At: at(float64(second)), Probes: map[string]bool{probeSite: second < 100 || second >= 111}})
	}
	s.agents = []*watched{w}
	s.closed.At = at(150)
	for _, v := range []lab.Visit{pooled.Visits[0], pooled.Visits[2]} {
		s.closed.DryRun.Sockets = append(s.closed.DryRun.Sockets, api.StaleSocket{Local: v.Local, Outcome: "would_close"})
		s.closed.Did.Sockets = append(s.closed.Did.Sockets, api.StaleSocket{Local: v.Local, Outcome: "closed"})
		s.closed.Did.Closed++
	}
	return s
}

// TestJudge: an agent that is right misses nothing, and each thing that one may do
// wrong is found.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*seen)
		want   string // the start of what is missed; empty: nothing
	}{
		{"right", func(*seen) {}, ""},
		{"wrong share", func(s *seen) { s.agents[0].polls[20].Report.Now.Asked.Old.Established++ }, "share on old off by"},
		{"found late", func(s *seen) { s.agents[0].incidents[0].OpenedAt = at(126) }, "old_connection after 16.0 s"},
		{"found before the switch", func(s *seen) { s.agents[0].incidents[0].OpenedAt = at(99) }, "old_connection after never"},
		{"something else found", func(s *seen) {
			s.agents[0].incidents = append(s.agents[0].incidents, incident{"stale_dns", "address/" + Site + "/old", "warning", at(120)})
		}, "found too: web: stale_dns"},
		{"wrong culprit", func(s *seen) {
			for i := range s.agents[0].polls {
				for j := range s.agents[0].polls[i].Report.Laggards {
					s.agents[0].polls[i].Report.Laggards[j].Cause = "stale_dns"
				}
			}
		}, "0 of 50 connections blamed rightly"},
		{"honest resolver accused", func(s *seen) { s.agents[0].polls[30].Report.Resolvers[0].Class = drain.ClassOldBeyond }, "unbound was accused"},
		{"extender missed", func(s *seen) { s.agents[0].polls[69].Report.Resolvers[1].Class = drain.ClassNew }, "unbound-min-900 is old_beyond"},
		{"settled early", func(s *seen) { s.agents[0].polls[30].Status.Verdict = drain.Settled }, "settled 1 times"},
		{"silent", func(s *seen) { s.agents[0].polls[40].Err = errors.New("no answer") }, "an agent did not answer"},
		{"closed another", func(s *seen) {
			s.closed.DryRun.Sockets = s.closed.DryRun.Sockets[:1]
		}, "closing:"},
	} {
		s := made()
		test.change(&s)
		missed := judge(s).Missed(*s.cell)
		switch {
		case test.want == "" && len(missed) > 0:
			t.Errorf("%s: missed %q", test.name, missed)
		case test.want != "" && (len(missed) != 1 || len(missed[0]) < len(test.want) || missed[0][:len(test.want)] != test.want):
			t.Errorf("%s: missed %q, want %q alone", test.name, missed, test.want)
		}
	}
	out := judge(made())
	if out.Green.From == nil || *out.Green.From != 11 || out.Green.OldShare != 0.2 || out.Green.Failures != 2 {
		t.Errorf("green: %+v", out.Green)
	}
	if want := (Closed{DryRun: 2, Closed: 2, Same: true, Aborted: 2, Back: 2}); *out.Closed != want {
		t.Errorf("closed: %+v", *out.Closed)
	}
}

// TestCells: what a cell names is there.
func TestCells(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Cells() {
		if names[c.Name] {
			t.Errorf("two cells are called %s", c.Name)
		}
		names[c.Name] = true
		hosts := slices.Concat(clientHosts, []string{"old", "new"})
		if c.Edge {
			hosts = slices.Concat(clientHosts, []string{"edge"})
		}
		for _, host := range c.Agents {
			if !slices.Contains(hosts, host) {
				t.Errorf("%s: an agent on %q, which has neither clients nor the site", c.Name, host)
			}
			if system, _ := resolver(systemOf(host)); !slices.Contains(c.Resolvers, system.Name) {
				t.Errorf("%s: the system's resolver of %s does not run", c.Name, host)
			}
		}
		people := map[string]bool{}
		for _, p := range c.Populations {
			if people[p.Name] || p.Habit != lab.Fixed && !slices.Contains(c.Resolvers, p.Via) || !slices.Contains(clientHosts, p.Host) {
				t.Errorf("%s: population %+v: its name is taken, or its resolver or host is not there", c.Name, p)
			}
			people[p.Name] = true
		}
		for _, name := range c.Silent {
			if !slices.Contains(c.Resolvers, name) {
				t.Errorf("%s: %s cannot end, it does not run", c.Name, name)
			}
		}
	}
}
