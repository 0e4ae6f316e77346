package drain_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/drain"
)

var (
	oldAddress = netip.MustParseAddr("192.0.2.10")
	newAddress = netip.MustParseAddr("198.51.100.7")
)

// report is of an agent that has followed a switch for a quarter of an hour, one
// point each 10 s, with the counts that at gives at each time. All else is as a
// settled drain has it.
func report(agent string, since float64, at func(t float64) drain.Point) drain.Report {
	r := drain.Report{
		Agent: agent, Name: "shop.example", Source: "by hand", Old: []netip.Addr{oldAddress}, New: []netip.Addr{newAddress},
		TTLSeconds: new(60.0), SinceSeconds: since, SwitchedAt: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), DeadlineSeconds: 900,
		Resolvers: []drain.Resolver{resolver("ns", "192.0.2.53:53", "system", drain.ClassNew)},
		Probes:    []drain.Probe{{Address: netip.AddrPortFrom(newAddress, 443), Side: "new", Status: 200, AgoSeconds: 12}},
	}
	for t := -60.0; t < since; t += 10 {
		p := at(t)
		p.SinceSeconds = t
		r.Curve = append(r.Curve, p)
	}
	r.Now = at(since)
	r.Now.SinceSeconds = since
	return r
}

func resolver(label, server, role string, class drain.Class) drain.Resolver {
	return drain.Resolver{Label: label, Server: server, Role: role, Class: class, Addresses: []netip.Addr{newAddress}, AskedAgoSeconds: 10}
}

// count is so many connections, all of them working.
func count(n int) drain.Count {
	return drain.Count{Connections: n, Established: n, Moving: n, NewPerSecond: float64(n) / 10}
}

func asked(before, after int) drain.Point {
	return drain.Point{Asked: drain.Sides{Old: count(before), New: count(after)}}
}

func served(before, after int) drain.Point {
	return drain.Point{Served: drain.Sides{Old: count(before), New: count(after)}}
}

// steady is the same at all times after the switch; before it all is on old.
func steady(p drain.Point) func(float64) drain.Point {
	return func(t float64) drain.Point {
		if t > 0 {
			return p
		}
		return drain.Point{
			Asked:  drain.Sides{Old: count(p.Asked.Old.Established + p.Asked.New.Established)},
			Served: drain.Sides{Old: count(p.Served.Old.Established + p.Served.New.Established)},
		}
	}
}

// halving loses half of n connections each half seconds after the switch.
func halving(n int, half float64) func(float64) drain.Point {
	return func(t float64) drain.Point {
		left := int(math.Round(float64(n) * math.Exp2(-max(t, 0)/half)))
		return served(left, n-left)
	}
}

// with is a report, changed.
func with(r drain.Report, change func(*drain.Report)) drain.Report {
	change(&r)
	return r
}

func TestVerdict(t *testing.T) {
	const far = 600.0
	good := func() drain.Report { return report("edge", far, steady(served(2, 998))) }
	tests := []struct {
		name    string
		reports []drain.Report
		want    drain.Verdict
		because []string // a part of each reason
	}{
		{"settled", []drain.Report{good()}, drain.Settled, nil},
		{"settled, of our own connections alone", []drain.Report{report("edge", far, steady(asked(0, 10)))}, drain.Settled, nil},
		{"nobody reports", nil, drain.Unclear, []string{"no agent has reported"}},
		{"the article's scene", []drain.Report{report("edge", 300, steady(asked(400, 600)))}, drain.Draining, []string{"40 % of 1000 connections that the agents' hosts began are on the old address 192.0.2.10"}},
		{"1 % is not below it", []drain.Report{report("edge", far, steady(served(10, 990)))}, drain.Draining, []string{"1 % of 1000"}},
		{"and after the deadline", []drain.Report{report("edge", 901, steady(served(10, 990)))}, drain.Stuck, []string{"1 % of 1000"}},
		{"a deadline by the TTL", []drain.Report{with(report("edge", 1000, steady(served(10, 990))), func(r *drain.Report) { r.DeadlineSeconds, r.TTLSeconds = 0, new(300.0) })}, drain.Draining, []string{"1 % of 1000"}},
		{"for one window only", []drain.Report{report("edge", far, func(t float64) drain.Point {
			if t < far-35 {
				return served(100, 900)
			}
			return served(0, 1000)
		})}, drain.Draining, []string{"10 % of the connections that came to the agents' hosts were on the old address 192.0.2.10 within the last minute"}},
		{"the TTL is not over", []drain.Report{with(good(), func(r *drain.Report) { r.TTLSeconds = new(900.0) })}, drain.Draining, []string{"good for another 5 min"}},
		{"just switched", []drain.Report{with(report("edge", 40, steady(served(0, 1000))), func(r *drain.Report) { r.TTLSeconds = nil })}, drain.Draining, []string{"100 % of the", "the switch was 40 s ago"}},
		{"one fails", []drain.Report{report("edge", far, steady(drain.Point{Asked: drain.Sides{Old: drain.Count{Connections: 1, Connecting: 1}, New: count(1000)}}))}, drain.Draining, []string{"1 connection to the old address 192.0.2.10 fails"}},
		{"arrivals are missing", []drain.Report{with(good(), func(r *drain.Report) {
			r.Arrivals = &drain.Arrivals{PerSecond: 172, ExpectedPerSecond: 410, ErrorPerSecond: 40, From: "before the switch", At: "served"}
		})}, drain.Draining, []string{"since the switch 58 % of the usual new connections have not arrived (expected 410/s ± 40, seen 172/s)"}},
		{"a resolver beyond the TTL", []drain.Report{with(good(), func(r *drain.Report) {
			r.Resolvers = append(r.Resolvers, with9(resolver("unbound-9", "192.0.2.59:53", "configured", drain.ClassOldBeyond)))
		})}, drain.Draining, []string{"resolver unbound-9 (192.0.2.59:53) answers with an old address beyond the TTL, with 14 min left"}},
		{"one with both", []drain.Report{with(good(), func(r *drain.Report) {
			r.Resolvers = []drain.Resolver{{Label: "x", Server: "192.0.2.59:53", Role: "public", Class: drain.ClassMixed, Addresses: []netip.Addr{oldAddress, newAddress}}}
		})}, drain.Draining, []string{"resolver x (192.0.2.59:53) answers with 192.0.2.10 and 198.51.100.7"}},
		{"one that hangs is not a new one", []drain.Report{with(good(), func(r *drain.Report) {
			r.Resolvers = append(r.Resolvers, drain.Resolver{Server: "192.0.2.59:53", Role: "system", Class: drain.ClassError, Why: "nothing came within 2 s."})
		})}, drain.Unclear, []string{"resolver 192.0.2.59:53 gives no answer to go by: nothing came within 2 s"}},
		{"one not asked, one long ago", []drain.Report{with(good(), func(r *drain.Report) {
			r.Resolvers = []drain.Resolver{{Server: "192.0.2.59:53", Class: drain.ClassUnasked}, {Server: "192.0.2.60:53", Class: drain.ClassNew, AskedAgoSeconds: 3600}}
		})}, drain.Unclear, []string{"192.0.2.59:53 has not been asked yet", "192.0.2.60:53 was last asked 1 h ago"}},
		{"no resolver", []drain.Report{with(good(), func(r *drain.Report) { r.Resolvers = nil })}, drain.Unclear, []string{"no resolver was asked"}},
		{"a wrong application", []drain.Report{with(good(), func(r *drain.Report) {
			r.Probes[0].Wrong, r.Probes[0].Failed, r.Probes[0].Words = true, "identity", "status 404."
		})}, drain.Draining, []string{"the new address 198.51.100.7:443 is another application's: status 404"}},
		{"refused at new", []drain.Report{with(good(), func(r *drain.Report) { r.Probes[0].Failed = "connect" })}, drain.Draining, []string{"the new address 198.51.100.7:443 takes no connection"}},
		{"probed long ago", []drain.Report{with(good(), func(r *drain.Report) { r.Probes[0].AgoSeconds = 3600 })}, drain.Unclear, []string{"nothing has connected to the new address 198.51.100.7"}},
		{"a look that is late", []drain.Report{with(good(), func(r *drain.Report) { r.SinceSeconds += 31 })}, drain.Unclear, []string{"the last look of edge is 31 s old"}},
		{"a look that is late, of one of two", []drain.Report{with(report("client", far, steady(asked(0, 9))), func(r *drain.Report) { r.SinceSeconds += 90 }), good()}, drain.Unclear, []string{"the last look of client is 1 min 30 s old"}},
		{"stopped: as of then", []drain.Report{with(good(), func(r *drain.Report) {
			r.Stopped, r.SinceSeconds, r.Resolvers[0].AskedAgoSeconds, r.Probes[0].AgoSeconds = true, 9000, 8410, 8412
		})}, drain.Settled, nil},
		{"one of two stopped", []drain.Report{good(), with(report("other", 100, steady(served(0, 0))), func(r *drain.Report) { r.Stopped = true })}, drain.Unclear, []string{"other has stopped following it, 1 min 40 s after the switch"}},
		{"armed", []drain.Report{with(good(), func(r *drain.Report) { r.SwitchedAt = time.Time{} })}, drain.Unclear, []string{"the switch of shop.example has not been seen yet"}},
		{"one of two armed", []drain.Report{good(), with(report("other", far, steady(asked(0, 9))), func(r *drain.Report) { r.SwitchedAt = time.Time{} })}, drain.Unclear, []string{"other has not noticed the switch yet"}},
		{"nothing is seen", []drain.Report{report("edge", far, steady(drain.Point{}))}, drain.Unclear, []string{"no connection to any of the addresses was seen within the last minute", "who is on the old address 192.0.2.10 is not seen"}},
		{"only the new side is seen", []drain.Report{report("dublin", far, func(float64) drain.Point { return served(0, 500) })}, drain.Unclear, []string{"who is on the old address 192.0.2.10 is not seen"}},
		{"only the old side is seen", []drain.Report{report("cork", far, func(float64) drain.Point { return served(5, 0) })}, drain.Draining, []string{"5 connections are left on the old address 192.0.2.10, and no agent on a host that holds the new address 198.51.100.7 says of how many"}},
		{"both sides, by two", []drain.Report{report("cork", far, func(float64) drain.Point { return served(5, 0) }), report("dublin", far, func(float64) drain.Point { return served(0, 995) })}, drain.Settled, nil},
		{"our own are gone, others' are not", []drain.Report{report("edge", far, steady(asked(0, 500))), report("cork", far, func(float64) drain.Point { return served(500, 0) })}, drain.Draining, []string{"500 connections are left on the old address"}},
		{"others' are gone, our own are not", []drain.Report{report("edge", far, steady(asked(50, 0))), report("lb", far, steady(served(0, 9000)))}, drain.Draining, []string{"100 % of 50 connections that the agents' hosts began"}},
		{"old is dead and nobody is missing", []drain.Report{with(report("dublin", far, func(float64) drain.Point { return served(0, 500) }), func(r *drain.Report) {
			r.Probes = append(r.Probes, drain.Probe{Address: netip.AddrPortFrom(oldAddress, 443), Side: "old", Failed: "connect"})
			r.Arrivals = &drain.Arrivals{PerSecond: 50, ExpectedPerSecond: 50, ErrorPerSecond: 5, At: "served"}
		})}, drain.Settled, nil},
		{"one followed too briefly", []drain.Report{good(), with(report("new", far, steady(asked(0, 9))), func(r *drain.Report) { r.Curve = r.Curve[len(r.Curve)-3:] })}, drain.Unclear, []string{"new did not look during all of the last two windows"}},
		{"another switch of that name", []drain.Report{good(), with(good(), func(r *drain.Report) { r.Agent, r.Old = "other", []netip.Addr{newAddress} })}, drain.Unclear, []string{"other looks to another switch"}},
		{"two hosts of one name", []drain.Report{good(), report("edge", far+1, steady(served(0, 500)))}, drain.Unclear, []string{"two different reports of an agent named edge"}},
		{"one agent twice", []drain.Report{good(), good()}, drain.Settled, nil},
		{"one agent twice, a little later", []drain.Report{with(good(), func(r *drain.Report) {
			r.Curve = r.Curve[:len(r.Curve)-1]
			r.Now.SinceSeconds -= 3
			r.SinceSeconds -= 3
		}), good()}, drain.Settled, nil},
		{"an address went and none came", []drain.Report{with(report("edge", far, func(t float64) drain.Point { return asked(int(max(0, 100-t)), 0) }), func(r *drain.Report) { r.New = nil })}, drain.Settled, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := drain.Merge(tt.reports)
			if s.Verdict != tt.want || len(s.Why) < len(tt.because) || (len(s.Why) > 0) != (len(tt.because) > 0) {
				t.Fatalf("%s: %s\nwhy %q\nlimits %q\nwant %s because %q", s.Verdict, s.Sentence, s.Why, s.Limits, tt.want, tt.because)
			}
			for _, b := range tt.because {
				if !slices.ContainsFunc(s.Why, func(w string) bool { return strings.Contains(w, b) }) {
					t.Errorf("why %q, and not %q", s.Why, b)
				}
			}
			if s.SafeToPowerOff && s.Verdict != drain.Settled {
				t.Errorf("safe to power off while %s", s.Verdict)
			}
			backwards := slices.Clone(tt.reports)
			slices.Reverse(backwards)
			if other := drain.Merge(backwards); other.Verdict != s.Verdict {
				t.Errorf("in another order it is %s", other.Verdict)
			}
		})
	}
}

func with9(r drain.Resolver) drain.Resolver {
	r.TTLSeconds, r.Addresses = 840, []netip.Addr{oldAddress}
	return r
}

// TestMergeAddsUp: served with served and asked with asked, at common times, and
// never both.
func TestMergeAddsUp(t *testing.T) {
	edge := report("edge", 305, steady(asked(40, 60)))
	edge.Laggards = []drain.Laggard{{Vantage: "asked", Process: "shop", Connections: 40}}
	edge.LaggardsOver = 2
	cork := report("cork", 298, func(t float64) drain.Point { return served(int(1000-2*max(t, 0)), 0) })
	for i := range cork.Curve { // its looks are at other times
		cork.Curve[i].SinceSeconds += 4
		cork.Curve[i].Served.Old.Established -= 8
	}
	cork.Laggards = []drain.Laggard{{Vantage: "served", Prefix: "203.0.113.0/24", Connections: 400}}
	dublin := report("dublin", 300, func(t float64) drain.Point { return served(0, int(2*max(t, 0))) })
	s := drain.Merge([]drain.Report{edge, dublin, cork})

	got := struct {
		Agents      []string
		Basis       string
		Since       float64
		Old, New    int
		Share       float64
		Over        int
		By          []string
		Agreement   float64
		From, To    float64
		Established [2]int // at 100 s
	}{Agents: s.Agents, Basis: s.Basis, Since: s.SinceSeconds, Old: s.Now.Served.Old.Established, New: s.Now.Served.New.Established, Share: *s.OldShare, Over: s.LaggardsOver, Agreement: *s.Agreement, From: s.Curve[0].SinceSeconds, To: s.Curve[len(s.Curve)-1].SinceSeconds}
	for _, l := range s.Laggards {
		got.By = append(got.By, l.Agent)
	}
	for _, p := range s.Curve {
		if p.SinceSeconds == 100 {
			got.Established = [2]int{p.Served.Old.Established, p.Asked.Old.Established}
		}
	}
	want := got
	want.Agents, want.Basis, want.Since, want.Old, want.New, want.Share = []string{"cork", "dublin", "edge"}, "served", 305, 404, 600, 404.0/1004
	want.Over, want.By, want.Agreement, want.From, want.To, want.Established = 2, []string{"cork", "edge"}, 1, -50, 290, [2]int{800, 40}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// TestBasis: at which end the shares are.
func TestBasis(t *testing.T) {
	deadOld := func(r *drain.Report) {
		r.Probes = append(r.Probes, drain.Probe{Address: netip.AddrPortFrom(oldAddress, 443), Side: "old", Failed: "connect"})
	}
	idle := func(p drain.Point) drain.Point {
		p.Served.Old.Moving = 0
		p.Asked.Old.Moving = 0
		return p
	}
	both := idle(drain.Point{Asked: drain.Sides{Old: count(1), New: count(9)}, Served: drain.Sides{Old: count(50), New: count(50)}})
	tests := []struct {
		name    string
		reports []drain.Report
		basis   string
		share   *float64
	}{
		{"clients alone", []drain.Report{report("a", 300, steady(asked(1, 3)))}, "asked", new(0.25)},
		{"an edge that serves both", []drain.Report{report("a", 300, steady(served(1, 3)))}, "served", new(0.25)},
		{"both ends on one host", []drain.Report{report("a", 300, steady(both))}, "served", new(0.5)},
		{"both ends, and old is dead", []drain.Report{with(report("a", 300, steady(both)), deadOld)}, "asked", new(0.1)},
		{"the old side alone says nothing of shares", []drain.Report{report("a", 300, func(float64) drain.Point { return served(7, 0) })}, "served", nil},
		{"nor does the new one", []drain.Report{report("a", 300, func(float64) drain.Point { return served(0, 7) })}, "served", nil},
		{"but where old is dead", []drain.Report{with(report("a", 300, func(float64) drain.Point { return served(0, 7) }), deadOld)}, "served", new(0.0)},
		{"one side and clients", []drain.Report{report("a", 300, func(float64) drain.Point { return served(7, 0) }), report("b", 300, steady(asked(1, 1)))}, "asked", new(0.5)},
		{"held, though nobody has come", []drain.Report{with(report("a", 300, func(float64) drain.Point { return served(0, 7) }), func(r *drain.Report) { r.Held = []netip.Addr{oldAddress, newAddress} })}, "served", new(0.0)},
		{"served, though the addresses are not its own", []drain.Report{with(report("a", 300, steady(served(1, 3))), func(r *drain.Report) { r.Held = []netip.Addr{} })}, "served", new(0.25)},
		{"one of two old addresses is held", []drain.Report{with(report("a", 300, steady(served(1, 3))), func(r *drain.Report) {
			r.Held = []netip.Addr{oldAddress, newAddress}
			r.Old = append(r.Old, netip.MustParseAddr("192.0.2.11"))
		})}, "served", nil},
		{"nothing at all", []drain.Report{report("a", 300, steady(drain.Point{}))}, "asked", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := drain.Merge(tt.reports)
			if diff := cmp.Diff(tt.share, s.OldShare); s.Basis != tt.basis || diff != "" {
				t.Errorf("basis %s, want %s; share (-want +got):\n%s", s.Basis, tt.basis, diff)
			}
		})
	}
}

func TestPowerOff(t *testing.T) {
	few := func(n, moving int) drain.Point {
		c := count(n)
		c.Moving = moving
		return drain.Point{Asked: drain.Sides{Old: c, New: count(100 * n)}}
	}
	laggards := []drain.Laggard{
		{Vantage: "asked", Process: "shop-api", Unit: "shop.service", Connections: 29, Moving: 12},
		{Vantage: "asked", Process: "cron", Connections: 8},
		{Vantage: "asked", Process: "java", Container: "cart", Connections: 4},
	}
	dead := func(r *drain.Report) {
		r.Probes = append(r.Probes, drain.Probe{Address: netip.AddrPortFrom(oldAddress, 443), Side: "old", Failed: "connect"})
	}
	tests := []struct {
		name    string
		reports []drain.Report
		safe    bool
		want    string
	}{
		{"the issue's sentence", []drain.Report{with(report("edge", 600, steady(few(41, 12))), func(r *drain.Report) { r.Laggards = laggards })}, false,
			"no, 41 connections of 3 processes, of which 12 moved bytes in the last minute; idle: cron and java (container cart)"},
		{"settled, and idle ones are left", []drain.Report{with(report("lb", 600, func(t float64) drain.Point {
			p := steady(served(3, 997))(t)
			p.Served.Old.Moving = 0
			return p
		}), func(r *drain.Report) {
			r.Laggards = []drain.Laggard{{Vantage: "served", Prefix: "203.0.113.0/24", ASN: 64500, Network: "Example Net", Connections: 3}}
		})}, false, "no, 3 connections of 1 client network, none of which moved bytes in the last minute; idle: 203.0.113.0/24 (AS64500 Example Net)"},
		{"who fails is there", []drain.Report{report("edge", 600, steady(drain.Point{Asked: drain.Sides{Old: drain.Count{Connections: 2, Connecting: 2}, New: count(5)}}))}, false,
			"no, 2 connections, none of which moved bytes in the last minute and 2 fail"},
		{"only clients see it", []drain.Report{report("edge", 600, steady(asked(0, 10)))}, false, "not known: no agent on the host that holds it reports, and others' connections are seen only there"},
		{"a resolver still answers old", []drain.Report{with(report("lb", 600, steady(served(0, 10))), func(r *drain.Report) { r.Resolvers[0].Class = drain.ClassServStale })}, false,
			"no, resolver ns (192.0.2.53:53) still answers with an old address"},
		{"yes", []drain.Report{report("lb", 600, steady(served(0, 10)))}, true, "yes, nobody is connected to it, and the one resolver that was asked answers with the new addresses"},
		{"nothing has ever come there: it may be translated", []drain.Report{with(report("lb", 600, func(float64) drain.Point { return served(0, 10) }), func(r *drain.Report) { r.Held = []netip.Addr{oldAddress, newAddress} })}, false,
			"not known: lb never saw a connection come to it, and a translation of addresses or a balancer before it would hide them"},
		{"one of two old hosts has never seen any", []drain.Report{
			with(report("cork", 600, steady(served(0, 10))), func(r *drain.Report) { r.Held = []netip.Addr{oldAddress, newAddress} }),
			with(report("kerry", 600, func(float64) drain.Point { return asked(0, 1) }), func(r *drain.Report) { r.Held = []netip.Addr{oldAddress} }),
		}, false, "not known: kerry never saw a connection come to it, and a translation of addresses or a balancer before it would hide them"},
		{"dead, from where there may be no way", []drain.Report{with(report("edge", 600, func(float64) drain.Point { return asked(0, 10) }), dead)}, false,
			"not known: it takes no connection from here, which may be the way from here, and no agent on the host that holds it reports"},
		{"dead, from where there was one", []drain.Report{with(report("edge", 600, steady(asked(0, 10))), dead)}, true, "yes, nobody is connected to it, and the one resolver that was asked answers with the new addresses"},
		{"yes, of one port", []drain.Report{with(report("lb", 600, steady(served(0, 10))), func(r *drain.Report) { r.Ports = []uint16{443} })}, true,
			"yes, nobody is connected to it at port 443, and the one resolver that was asked answers with the new addresses; what else it serves is not known, as no other port counts"},
		{"a look is late", []drain.Report{with(report("lb", 600, steady(served(0, 10))), func(r *drain.Report) { r.SinceSeconds = 700 })}, false, "not known: the last look of lb is 1 min 40 s old"},
		{"new is wrong", []drain.Report{with(report("lb", 600, steady(served(0, 10))), func(r *drain.Report) { r.Probes[0].Failed = "tls" })}, false, "no: the new address 198.51.100.7:443 does not answer as it should (tls)"},
		{"armed", []drain.Report{with(report("lb", 600, steady(served(0, 10))), func(r *drain.Report) { r.SwitchedAt = time.Time{} })}, false, "not known: the switch of shop.example has not been seen yet: its names still answer as before it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := drain.Merge(tt.reports)
			if want := "safe to power off the old address 192.0.2.10: " + tt.want; s.PowerOff != want || s.SafeToPowerOff != tt.safe {
				t.Errorf("%t: %s\nwant %t: %s\nwhy %q", s.SafeToPowerOff, s.PowerOff, tt.safe, want, s.Why)
			}
		})
	}
}

func TestSentence(t *testing.T) {
	tests := []struct {
		report drain.Report
		want   string
	}{
		{report("edge", 300, steady(asked(400, 600))), "shop.example drains, 5 min after the switch: 40 % of 1000 connections and 40 % of the new ones are on the old address 192.0.2.10."},
		{report("edge", 960, steady(asked(400, 600))), "shop.example is stuck, 16 min after the switch, 1 min past the deadline: 40 % of 1000 connections and 40 % of the new ones are on the old address 192.0.2.10."},
		{report("edge", 600, steady(served(2, 998))), "shop.example has settled: 0.2 % of 1000 connections and 0.2 % of the new ones are on the old address 192.0.2.10, the one resolver that was asked answers with the new addresses, 10 min after the switch."},
		{report("edge", 600, steady(drain.Point{})), "Whether shop.example has drained is not known: no connection to any of the addresses was seen within the last minute."},
		{report("edge", 300, halving(1000, 100)), "shop.example drains, 5 min after the switch: 12 % of 1000 connections and 12 % of the new ones are on the old address 192.0.2.10; below 1 % in about 6 min"},
	}
	for _, tt := range tests {
		if got := drain.Merge([]drain.Report{tt.report}).Sentence; !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s\nwant %s", got, tt.want)
		}
	}
}

// TestArrivals: what arrives is added up at one end, and only where that says
// something.
func TestArrivals(t *testing.T) {
	was := func(at string, seen, expected, off float64) *drain.Arrivals {
		return &drain.Arrivals{PerSecond: seen, ExpectedPerSecond: expected, ErrorPerSecond: off, From: "before the switch", At: at}
	}
	host := func(name string, p drain.Point, a *drain.Arrivals) drain.Report {
		return with(report(name, 300, func(float64) drain.Point { return p }), func(r *drain.Report) { r.Arrivals = a })
	}
	tests := []struct {
		name    string
		reports []drain.Report
		want    *drain.Arrivals
		says    string
	}{
		{"one edge", []drain.Report{host("a", asked(4, 6), was("asked", 172, 410, 40))}, was("asked", 172, 410, 40), "since the switch 58 % of the usual new connections have not arrived (expected 410/s ± 40, seen 172/s)"},
		{"two", []drain.Report{host("a", asked(4, 6), was("asked", 100, 100, 30)), host("b", asked(4, 6), was("asked", 195, 200, 40))}, was("asked", 295, 300, 50), "the usual new connections arrive (expected 300/s ± 50, seen 295/s)"},
		{"within chance", []drain.Report{host("a", asked(4, 6), was("asked", 80, 100, 30))}, was("asked", 80, 100, 30), "as many new connections arrive as chance would have it (expected 100/s ± 30, seen 80/s)"},
		{"the old host alone: they may be elsewhere", []drain.Report{host("a", served(4, 0), was("served", 0, 410, 40))}, nil, ""},
		{"what left one host comes to the other", []drain.Report{host("a", served(4, 0), was("served", 10, 410, 40)), host("b", drain.Point{Served: drain.Sides{New: drain.Count{Established: 1, NewPerSecond: 390}}}, nil)}, was("served", 400, 410, 40), "the usual new connections arrive (expected 410/s ± 40, seen 400/s)"},
		{"few", []drain.Report{host("a", asked(4, 6), was("asked", 0.25, 2.5, 1))}, was("asked", 0.25, 2.5, 1), "since the switch 90 % of the usual new connections have not arrived (expected 2.5/s ± 1, seen 0.25/s)"},
		{"nothing is usual", []drain.Report{host("a", asked(4, 6), was("asked", 3, 0, 0))}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := drain.Merge(tt.reports)
			if diff := cmp.Diff(tt.want, s.Arrivals); diff != "" || s.MissingSentence != tt.says || (s.Missing == nil) != (tt.want == nil) {
				t.Errorf("%q, want %q; arrivals (-want +got):\n%s", s.MissingSentence, tt.says, diff)
			}
		})
	}
}

// TestLateSecondary: the TTL is that of the record, however long a server of the
// zone gave it out, and what goes back and forth is not said to answer as it does
// at this moment.
func TestLateSecondary(t *testing.T) {
	r := report("lb", 200, steady(served(5, 5)))
	r.TTLSeconds = new(170.0)
	r.Resolvers = []drain.Resolver{
		{Label: "ns2", Server: "192.0.2.2:53", Role: "authoritative", Class: drain.ClassOldInTTL, Addresses: r.Old, TTLSeconds: 100, MostTTLSeconds: 100},
		{Label: "system", Server: "192.0.2.53:53", Role: "system", Class: drain.ClassMixed, Addresses: r.New, MostTTLSeconds: 99},
	}
	s := drain.Merge([]drain.Report{r})
	if want := "at least 1 min 40 s ahead: it was 1 min 40 s"; !slices.ContainsFunc(s.Advice, func(a string) bool { return strings.HasSuffix(a, want) }) {
		t.Errorf("advice %q, want one that ends in %q", s.Advice, want)
	}
	if want := "resolver system (192.0.2.53:53) answers with old and new addresses by turns"; !slices.Contains(s.Why, want) {
		t.Errorf("why %q, want %q", s.Why, want)
	}
}
