package drains

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

var (
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alike = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), cmpopts.EquateEmpty()}
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// conf is a name of the configuration: "name", or "name old new".
func conf(t *testing.T, texts ...string) []config.Drain {
	t.Helper()
	var b strings.Builder
	b.WriteString("drain:\n")
	for _, text := range texts {
		f := strings.Fields(text)
		fmt.Fprintf(&b, "  - name: %s\n", f[0])
		if len(f) == 3 {
			fmt.Fprintf(&b, "    old: [%s]\n    new: [%s]\n", f[1], f[2])
		}
	}
	cfg, err := config.Parse("f", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Drain
}

func request(name, old, fresh string) api.DrainRequest {
	return api.DrainRequest{Name: name, Old: addrs(strings.Split(old, ",")...), New: addrs(strings.Split(fresh, ",")...), By: "anna"}
}

// told is a book in short: each entry's state, source and addresses.
func told(b *Book) []string {
	out := []string{}
	for _, e := range b.Entries() {
		out = append(out, fmt.Sprintf("%s %s %s %v>%v", e.Name, [...]string{"watched", "armed", "running", "stopped"}[e.State()], e.Source, e.Before, e.After))
	}
	return out
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLifecycle: what the configuration, people and resolvers say, in turn.
func TestLifecycle(t *testing.T) {
	type step func(t *testing.T, b *Book)
	configure := func(texts ...string) step {
		return func(t *testing.T, b *Book) { b.Configure(conf(t, texts...)) }
	}
	by := func(name, old, fresh string, want error) step {
		return func(t *testing.T, b *Book) {
			if _, err := b.Start(start, 0, request(name, old, fresh)); !errors.Is(err, want) {
				t.Fatalf("start: %v, want %v", err, want)
			}
		}
	}
	begins := func(name, old, fresh string) step {
		return func(t *testing.T, b *Book) {
			_, err := b.Begin(0, name, drain.Change{Before: addrs(old), After: addrs(fresh), TTL: time.Minute, At: start})
			need(t, err)
		}
	}
	stop := func(name string, want error) step {
		return func(t *testing.T, b *Book) {
			if err := b.Stop(start, 0, name, "anna"); !errors.Is(err, want) {
				t.Fatalf("stop: %v, want %v", err, want)
			}
		}
	}
	tests := []struct {
		name  string
		steps []step
		want  []string
	}{
		{"armed and watched", []step{configure("a.example 192.0.2.1 192.0.2.2", "b.example")}, []string{"a.example armed configured [192.0.2.1]>[192.0.2.2]", "b.example watched configured []>[]"}},
		{"the armed one begins", []step{configure("a.example 192.0.2.1 192.0.2.2"), begins("a.example", "192.0.2.1", "192.0.2.2")}, []string{"a.example running configured [192.0.2.1]>[192.0.2.2]"}},
		{"the watched one is noticed, and then another", []step{configure("a.example"), begins("a.example", "192.0.2.1", "192.0.2.2"), begins("a.example", "192.0.2.2", "192.0.2.1")}, []string{"a.example running noticed [192.0.2.2]>[192.0.2.1]"}},
		{"by hand, twice", []step{by("A.example.", "192.0.2.1", "192.0.2.2", nil), by("a.example", "192.0.2.1", "192.0.2.2", api.ErrDrainThere)}, []string{"a.example running by hand [192.0.2.1]>[192.0.2.2]"}},
		{"by hand in place of an armed one", []step{configure("a.example 192.0.2.1 192.0.2.2"), by("a.example", "192.0.2.1", "192.0.2.3", nil)}, []string{"a.example running by hand [192.0.2.1]>[192.0.2.3]"}},
		{"what is armed goes with the configuration, what runs stays", []step{configure("a.example 192.0.2.1 192.0.2.2", "b.example 192.0.2.1 192.0.2.2", "c.example"), begins("b.example", "192.0.2.1", "192.0.2.2"), configure()}, []string{"b.example running configured [192.0.2.1]>[192.0.2.2]"}},
		{"other addresses arm it anew", []step{configure("a.example 192.0.2.1 192.0.2.2"), begins("a.example", "192.0.2.1", "192.0.2.2"), configure("a.example 192.0.2.2 192.0.2.3")}, []string{"a.example armed configured [192.0.2.2]>[192.0.2.3]"}},
		{"what was stopped stays so at a reload", []step{configure("a.example 192.0.2.1 192.0.2.2"), stop("a.example", nil), configure("a.example 192.0.2.1 192.0.2.2")}, []string{"a.example stopped configured [192.0.2.1]>[192.0.2.2]"}},
		{"and is armed with others", []step{configure("a.example 192.0.2.1 192.0.2.2"), stop("a.example", nil), configure("a.example 192.0.2.2 192.0.2.3")}, []string{"a.example armed configured [192.0.2.2]>[192.0.2.3]"}},
		{"a watched one is watched again after a reload", []step{configure("a.example"), begins("a.example", "192.0.2.1", "192.0.2.2"), stop("a.example", nil), configure("a.example")}, []string{"a.example watched configured []>[]"}},
		{"nothing to stop", []step{configure("a.example"), stop("a.example", api.ErrNoDrain), stop("b.example", api.ErrNoDrain)}, []string{"a.example watched configured []>[]"}},
		{"stopped twice, and started again", []step{by("a.example", "192.0.2.1", "192.0.2.2", nil), stop("a.example", nil), stop("a.example", api.ErrNoDrain), by("a.example", "192.0.2.2", "192.0.2.1", nil)}, []string{"a.example running by hand [192.0.2.2]>[192.0.2.1]"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := New()
			for _, do := range tt.steps {
				do(t, b)
			}
			if diff := cmp.Diff(tt.want, told(b)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if !b.Changed() || b.Changed() {
				t.Error("the change is not told, or told twice")
			}
		})
	}
}

// TestRefused: what cannot be followed is said with a way out, and is not.
func TestRefused(t *testing.T) {
	ttl := 0.5
	tests := []struct {
		name   string
		change func(*api.DrainRequest)
		want   string
	}{
		{"no name", func(r *api.DrainRequest) { r.Name = "" }, "is empty"},
		{"a wildcard", func(r *api.DrainRequest) { r.Name = "*.example" }, "wildcard"},
		{"no old", func(r *api.DrainRequest) { r.Old = nil }, "old is missing"},
		{"no new", func(r *api.DrainRequest) { r.New = nil }, "new is missing"},
		{"no address", func(r *api.DrainRequest) { r.New = []netip.Addr{{}} }, "is not an address"},
		{"the same", func(r *api.DrainRequest) { r.New = r.Old }, "nothing has to drain"},
		{"many", func(r *api.DrainRequest) { r.Old = make([]netip.Addr, 65) }, "64 are the most"},
		{"port 0", func(r *api.DrainRequest) { r.Ports = []uint16{0} }, "ports"},
		{"a short TTL", func(r *api.DrainRequest) { r.TTLSeconds = &ttl }, "ttl_seconds"},
		{"in the future", func(r *api.DrainRequest) { r.AgoSeconds = -1 }, "ago_seconds"},
		{"a deadline of a second", func(r *api.DrainRequest) { r.DeadlineSeconds = 1 }, "deadline_seconds"},
		{"a resolver that is none", func(r *api.DrainRequest) { r.Resolvers = []string{"systm"} }, `did you mean "system"`},
		{"a line break in by", func(r *api.DrainRequest) { r.By = "a\nb" }, "by is not"},
		{"no URL", func(r *api.DrainRequest) { r.Identity = &api.Identity{URL: "shop.example"} }, "identity.url"},
		{"a password", func(r *api.DrainRequest) { r.Identity = &api.Identity{URL: "https://a:hunter2@shop.example"} }, "identity.url"},
		{"a port", func(r *api.DrainRequest) { r.Identity = &api.Identity{URL: "https://shop.example:65536"} }, "identity.url"},
		{"a status", func(r *api.DrainRequest) { r.Identity = &api.Identity{URL: "https://shop.example", Status: 99} }, "identity.status"},
		{"a header", func(r *api.DrainRequest) { r.Identity = &api.Identity{URL: "https://shop.example", Header: "x"} }, "identity.header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, in := New(), request("shop.example", "192.0.2.1", "192.0.2.2")
			tt.change(&in)
			_, err := b.Start(start, 0, in)
			refusal, ok := errors.AsType[*api.Refusal](err)
			if !ok || refusal.Hint == "" || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want a refusal with %q", err, tt.want)
			}
			if len(b.Entries()) > 0 || len(b.Unsaved()) > 0 {
				t.Error("it is in the book")
			}
		})
	}
}

// TestRoom: no more than Most are followed, and no more stopped ones kept.
func TestRoom(t *testing.T) {
	b := New()
	name := func(i int) string { return fmt.Sprintf("n%d.example", i) }
	for i := range Most {
		_, err := b.Start(start, 0, request(name(i), "192.0.2.1", "192.0.2.2"))
		need(t, err)
	}
	if _, err := b.Start(start, 0, request("more.example", "192.0.2.1", "192.0.2.2")); err == nil || !strings.Contains(err.Error(), "drain stop") {
		t.Errorf("one more: %v", err)
	}
	if left := b.Configure(conf(t, "more.example 192.0.2.1 192.0.2.2", "watched.example")); len(left) != 1 || left[0] != "more.example" {
		t.Errorf("left out: %v", left)
	}
	if _, err := b.Begin(0, "watched.example", drain.Change{Before: addrs("192.0.2.1"), After: addrs("192.0.2.2"), At: start}); err == nil {
		t.Error("one was noticed beyond the most")
	}
	armed := New()
	var full []string
	for i := range Most {
		full = append(full, name(i)+" 192.0.2.1 192.0.2.2")
	}
	armed.Configure(conf(t, full...))
	full[3] = name(3) + " 192.0.2.1 192.0.2.7"
	if left := armed.Configure(conf(t, full...)); len(left) > 0 || armed.Entry(name(3)).After[0] != addrs("192.0.2.7")[0] {
		t.Errorf("no room for %q in its own place", left)
	}
	for i := range 2 * Most {
		_, _ = b.Start(start, 0, request(name(i), "192.0.2.1", "192.0.2.2"))
		need(t, b.Stop(start.Add(time.Duration(i)*time.Second), 0, name(i), "anna"))
	}
	b.Tidy(start.Add(time.Hour), 0)
	if n := len(b.Entries()); n != Most+1 || b.Entry(name(0)) != nil || b.Entry(name(2*Most-1)) == nil {
		t.Errorf("%d entries are kept", n)
	}
}

// side is what looks say of one side.
func side(name string, of scope.Side, asked, served int) *measure.ScopeSignals {
	s := scope.Switch{Name: name}
	out := &measure.ScopeSignals{Scope: s.ID(of, ""), Group: name}
	out.Address.Asked = measure.EndNow{Connections: asked, Established: asked, NewPerSecond: 0.5}
	out.Address.Served = measure.EndNow{Connections: served, Moving: served}
	return out
}

// TestCurve: ten minutes before the switch, each 10 s for ten minutes, then each
// minute; never more than mostPoints.
func TestCurve(t *testing.T) {
	b := New()
	b.Configure(conf(t, "a.example 192.0.2.1 192.0.2.2"))
	looks := []*measure.ScopeSignals{side("a.example", scope.OldSide, 3, 1), side("a.example", scope.NewSide, 2, 0)}
	now := start
	play := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
			for _, s := range looks {
				s.Readings[measure.Connections].Seen = now
			}
			b.Look(now, looks)
		}
	}
	play(30 * time.Minute)
	if n := len(b.Entry("a.example").curve.at); n != 61 {
		t.Errorf("%d points while it is armed, want 61", n)
	}
	e, err := b.Begin(0, "a.example", drain.Change{Before: addrs("192.0.2.1"), TTL: time.Minute, At: now})
	need(t, err)
	play(10*time.Minute + time.Second)
	r := e.Report(now, 0, Seen{}, true)
	want := drain.Point{Asked: drain.Sides{Old: drain.Count{Connections: 3, Established: 3, NewPerSecond: 0.5}, New: drain.Count{Connections: 2, Established: 2, NewPerSecond: 0.5}}, Served: drain.Sides{Old: drain.Count{Connections: 1, Moving: 1}}}
	want.SinceSeconds = 600 // of the last look, a second ago
	if diff := cmp.Diff(want, r.Now, alike); diff != "" {
		t.Errorf("now, -want +got:\n%s", diff)
	}
	if n := len(r.Curve); n != 121 || r.Curve[0].SinceSeconds != -600 || r.Curve[n-1].SinceSeconds != 600 {
		t.Errorf("%d points from %v to %v", n, r.Curve[0].SinceSeconds, r.Curve[n-1].SinceSeconds)
	}
	for range 4 * 24 * 60 {
		now = now.Add(time.Minute)
		b.Look(now, looks)
		if n := len(e.curve.at); n >= mostPoints {
			t.Fatalf("%d points", n)
		}
	}
	points := e.curve.since(now, e.Switch.Since)
	if first := points[0].SinceSeconds; first != -600 {
		t.Errorf("the first point is of %v", first)
	}
	if last := points[len(points)-1].SinceSeconds; now.Sub(e.Switch.Since).Seconds()-last > 60 {
		t.Errorf("the last point is of %v, %v after the switch", last, now.Sub(e.Switch.Since))
	}
}

// TestReport: connections are gathered by whose they are; probes are told the
// side that they are of.
func TestReport(t *testing.T) {
	b := New()
	e, err := b.Start(start, 0, request("a.example", "192.0.2.1,192.0.2.9", "192.0.2.2,192.0.2.9"))
	need(t, err)
	now := start.Add(time.Minute)
	row := func(change func(*Row)) Row {
		r := Row{Asked: true, Old: addrs("192.0.2.1")[0], Process: "app", PID: 7, Unit: "app.service", FirstSeen: start}
		change(&r)
		return r
	}
	client := func(text string) Row {
		return Row{Old: addrs("192.0.2.1")[0], Client: addrs(text)[0], ASN: 64500, Network: "Example", Service: "service/web", FirstSeen: start}
	}
	var rows []Row
	for i := range 3 {
		rows = append(rows, row(func(r *Row) { r.PID, r.Moving, r.FirstSeen = 7+i, i == 0, start.Add(time.Duration(i)*time.Second) }))
	}
	rows = append(rows,
		row(func(r *Row) { r.FirstSeen = time.Time{} }), // of many, that are not all followed
		row(func(r *Row) { r.Process, r.PID, r.Failing, r.NewAfterTTL = "job", 0, true, true }),
		client("198.51.100.4"), client("198.51.100.200"), client("2001:db8:1:2::3"),
	)
	probes := []reply.Probe{
		{Address: netip.MustParseAddrPort("192.0.2.1:443"), Failed: reply.TLS, Wrong: true, Words: "another name", At: now},
		{Address: netip.MustParseAddrPort("192.0.2.9:443"), Failed: reply.Done, Status: 200, At: start},
		{Address: netip.MustParseAddrPort("192.0.2.77:443"), Failed: reply.Done, At: now},
	}
	for _, p := range probes {
		p.Name = "a.example"
		if p.Address.Addr() == addrs("192.0.2.77")[0] {
			e.Expect([]reply.Server{{Address: netip.MustParseAddrPort("192.0.2.53:53")}})
			_, _, err := b.Answer(reply.Answer{Name: "a.example", Server: netip.MustParseAddrPort("192.0.2.53:53"), Addresses: addrs("192.0.2.77"), At: now}, 0)
			need(t, err)
		}
		b.Probe(p)
	}
	b.Probe(reply.Probe{Name: "a.example", Address: netip.MustParseAddrPort("203.0.113.1:443")}) // nobody's
	got := e.Report(now, 0, Seen{Agent: "web03", Rows: rows, Over: 5, Held: addrs("192.0.2.1")}, false)
	old := addrs("192.0.2.1")[0]
	want := drain.Report{
		Agent: "web03", Name: "a.example", Source: "by hand", Old: addrs("192.0.2.1"), New: addrs("192.0.2.2"), Kept: addrs("192.0.2.9"),
		SinceSeconds: 60, SwitchedAt: start, DeadlineSeconds: 900,
		Laggards: []drain.Laggard{
			{Vantage: "asked", Old: old, Process: "app", PIDs: []int{7, 8, 9}, Unit: "app.service", Connections: 4, Moving: 1, OldestSeconds: 60},
			{Vantage: "served", Old: old, Prefix: "198.51.100.0/24", ASN: 64500, Network: "Example", Service: "service/web", Connections: 2, OldestSeconds: 60},
			{Vantage: "served", Old: old, Prefix: "2001:db8:1::/48", ASN: 64500, Network: "Example", Service: "service/web", Connections: 1, OldestSeconds: 60},
			{Vantage: "asked", Old: old, Process: "job", Unit: "app.service", Connections: 1, Failing: 1, NewAfterTTL: 1, OldestSeconds: 60},
		},
		LaggardsOver: 5,
		Probes: []drain.Probe{
			{Address: probes[1].Address, Side: "new", Status: 200, AgoSeconds: 60},
			{Address: probes[0].Address, Side: "old", Failed: "tls", Wrong: true, Words: "another name"},
			{Address: probes[2].Address, Side: "other"},
		},
		Held: addrs("192.0.2.1"),
	}
	if len(got.Resolvers) != 1 || got.Laggards[3].Cause == "" {
		t.Errorf("resolvers %+v, laggards %+v", got.Resolvers, got.Laggards)
	}
	if diff := cmp.Diff(want, got, alike, cmpopts.IgnoreFields(drain.Report{}, "Resolvers"), cmpopts.IgnoreFields(drain.Laggard{}, "Cause", "Place", "Advice")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var many []Row
	for i := range 150 {
		many = append(many, row(func(r *Row) { r.Process = fmt.Sprint("p", i) }))
	}
	if got := e.Report(now, 0, Seen{Rows: many, Over: 5}, false); len(got.Laggards) != 100 || got.LaggardsOver != 55 {
		t.Errorf("%d laggards, %d over", len(got.Laggards), got.LaggardsOver)
	}
}

// TestRoute: before the switch as answered, after it what passed, else all.
func TestRoute(t *testing.T) {
	armed, running := New(), New()
	armed.Configure(conf(t, "a.example 192.0.2.1 192.0.2.2", "w.example"))
	_, err := running.Start(start, 0, request("a.example", "192.0.2.1", "192.0.2.2,192.0.2.3"))
	need(t, err)
	asking := New()
	expects := request("a.example", "192.0.2.1", "192.0.2.2,192.0.2.3")
	expects.Identity = &api.Identity{URL: "https://a.example/healthz"}
	_, err = asking.Start(start, 0, expects)
	need(t, err)
	probe := func(text string, failed reply.Stage, wrong bool) reply.Probe {
		return reply.Probe{Address: netip.MustParseAddrPort(text + ":443"), Failed: failed, Wrong: wrong}
	}
	tests := []struct {
		name    string
		entry   *Entry
		last    []netip.Addr
		probes  []reply.Probe
		settled bool
		want    api.Route
	}{
		{"armed", armed.Entry("a.example"), nil, nil, false, api.Route{Name: "a.example", Addresses: addrs("192.0.2.1"), MaxAgeSeconds: 5, From: "the addresses before the switch, as the configuration has them"}},
		{"armed, and answered", armed.Entry("a.example"), addrs("192.0.2.8"), nil, false, api.Route{Name: "a.example", Addresses: addrs("192.0.2.8"), MaxAgeSeconds: 5, From: "the last good answer, before a switch"}},
		{"nothing was probed", running.Entry("a.example"), nil, nil, false, api.Route{Name: "a.example", Addresses: addrs("192.0.2.2", "192.0.2.3"), MaxAgeSeconds: 30, From: "switch by hand 42s ago"}},
		{"one passed", running.Entry("a.example"), nil, []reply.Probe{probe("192.0.2.3", reply.Done, false), probe("192.0.2.2", reply.TLS, true), probe("192.0.2.1", reply.Done, false)}, false, api.Route{Name: "a.example", Addresses: addrs("192.0.2.3"), MaxAgeSeconds: 30, From: "switch by hand 42s ago; 1 of 2 addresses take connections"}},
		{"none passed", running.Entry("a.example"), nil, []reply.Probe{probe("192.0.2.2", reply.Connect, false)}, false, api.Route{Name: "a.example", Addresses: addrs("192.0.2.2", "192.0.2.3"), MaxAgeSeconds: 30, From: "switch by hand 42s ago; none of the new addresses takes connections, so all are named"}},
		{"settled", running.Entry("a.example"), nil, []reply.Probe{probe("192.0.2.2", reply.Done, false), probe("192.0.2.3", reply.Done, false)}, true, api.Route{Name: "a.example", Addresses: addrs("192.0.2.2", "192.0.2.3"), MaxAgeSeconds: 300, From: "switch by hand 42s ago; each takes connections"}},
		{"asked who answers", asking.Entry("a.example"), nil, []reply.Probe{probe("192.0.2.2", reply.Done, false), probe("192.0.2.3", reply.Done, false)}, true, api.Route{Name: "a.example", Addresses: addrs("192.0.2.2", "192.0.2.3"), MaxAgeSeconds: 300, From: "switch by hand 42s ago; each answers as expected"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.entry.says.last, tt.entry.says.probes = tt.last, map[netip.Addr]reply.Probe{}
			for _, p := range tt.probes {
				tt.entry.says.probes[p.Address.Addr()] = p
			}
			got, err := tt.entry.Route(start.Add(42*time.Second), tt.settled)
			need(t, err)
			if diff := cmp.Diff(tt.want, got, alike); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if _, err := armed.Entry("w.example").Route(start, false); err == nil {
		t.Error("a name that nobody has answered for has a route")
	}
}

// TestInward: what only name servers say leads nowhere into this host or its
// cloud, neither a probe nor who asks for the way; what somebody wrote does.
func TestInward(t *testing.T) {
	b := New()
	b.Configure(conf(t, "w.example", "all.example", "a.example 127.0.0.1 169.254.7.7"))
	for name, after := range map[string]string{"w.example": "127.0.0.1,169.254.169.254,198.51.100.7", "all.example": "fd00:ec2::254"} {
		_, err := b.Begin(0, name, drain.Change{Name: name, Before: addrs("192.0.2.1", "::1"), After: addrs(strings.Split(after, ",")...), At: start})
		need(t, err)
	}
	type lists struct{ After, Before, Route []netip.Addr }
	got := map[string]lists{}
	for _, e := range b.Entries() {
		after, before, _ := e.Probed()
		e.says.last = addrs("127.0.0.1", "127.0.0.2")
		route, _ := e.Route(start, false)
		got[e.Name] = lists{after, before, route.Addresses}
	}
	want := map[string]lists{
		"w.example":   {addrs("198.51.100.7"), addrs("192.0.2.1"), addrs("198.51.100.7")},
		"all.example": {nil, addrs("192.0.2.1"), nil},
		"a.example":   {addrs("169.254.7.7"), addrs("127.0.0.1"), addrs("127.0.0.1")},
	}
	if diff := cmp.Diff(want, got, alike); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestPointsComeBack: what is written of a point is read as it was, but for
// hundredths.
func TestPointsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p drain.Point
		for _, c := range counts(&p) {
			n := rapid.IntRange(0, 1<<40)
			*c = drain.Count{
				Connections: n.Draw(t, "connections"), Established: n.Draw(t, "established"), Connecting: n.Draw(t, "connecting"), Retransmitting: n.Draw(t, "retransmitting"),
				NewPerSecond: float64(rapid.IntRange(0, 1<<30).Draw(t, "new")) / 4, Moving: n.Draw(t, "moving"), BytesPerSecond: float64(n.Draw(t, "bytes")),
			}
		}
		got, err := decodePoint(encodePoint(&p))
		if diff := cmp.Diff(p, got); err != nil || diff != "" {
			t.Fatalf("%v, -want +got:\n%s", err, diff)
		}
	})
}

// FuzzDecodePoint: no panic, the zero point beside an error, and what is read can
// be written again.
func FuzzDecodePoint(f *testing.F) {
	for _, s := range []string{"", "[]", "[[],[],[],[]]", "[[1,2,3,4,5.5,6,7],[1],[],[0,0,0,0,0,0,0,9]]", "[[-1],[],[],[]]", "[[1e300],[],[],[]]", "[[1],[],[],[],[1]]", `[["a"],[],[],[]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePoint(data)
		if err != nil {
			if p != (drain.Point{}) {
				t.Fatalf("%+v beside %v", p, err)
			}
			return
		}
		if _, err := decodePoint(encodePoint(&p)); err != nil {
			t.Fatalf("%+v cannot be read again: %v", p, err)
		}
	})
}
