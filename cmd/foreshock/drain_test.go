package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
)

// follower is an agent that follows switches, behind the real API. Each of its
// names is another stage: shop.example is on its way, done.example has settled,
// jammed.example is stuck, and soon.example settles when it is asked for the third
// time.
type follower struct {
	host string
	mu   sync.Mutex
	// drains are by name; asked counts how often each was asked for.
	drains map[string]drain.Report
	asked  map[string]int
}

var (
	oldShop = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	newShop = []netip.Addr{netip.MustParseAddr("198.51.100.7")}
)

// stage is a report so many seconds after the switch, with that many connections
// on the old and on the new addresses.
func stage(host, name string, since float64, old, came int) drain.Report {
	count := func(n int) drain.Count {
		return drain.Count{Connections: n, Established: n, Moving: n, NewPerSecond: float64(n) / 10, BytesPerSecond: float64(n) * 1000}
	}
	point := func(at float64) drain.Point {
		left := old + int(float64(200)*max(0, 1-at/300))
		return drain.Point{SinceSeconds: at, Asked: drain.Sides{Old: count(left), New: count(came)}}
	}
	r := drain.Report{
		Agent: host, Name: name, Source: "by hand", Old: oldShop, New: newShop, Ports: []uint16{443}, TTLSeconds: new(60.0), DeadlineSeconds: 900,
		SinceSeconds: since, SwitchedAt: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), Held: []netip.Addr{},
		Resolvers: []drain.Resolver{
			{Label: "system", Server: "127.0.0.53:53", Role: "system", Class: drain.ClassNew, Why: "new addresses alone", Addresses: newShop, TTLSeconds: 30, NewAfterSeconds: new(42.0)},
		},
		Probes: []drain.Probe{{Address: netip.AddrPortFrom(newShop[0], 443), Side: "new", Words: "200, as expected", Status: 200}},
		Limits: []string{"QUIC is not TCP: the kernel's table does not hold it"},
	}
	for at := 0.0; at <= since; at += 10 {
		r.Curve = append(r.Curve, point(at))
	}
	r.Now = point(since)
	if old > 0 {
		r.Laggards = []drain.Laggard{{Vantage: "asked", Old: oldShop[0], Process: "php-fpm", PIDs: []int{812, 813}, Unit: "php8.2-fpm.service", Connections: old, Moving: old, NewAfterTTL: 2, OldestSeconds: since + 60, Cause: "stale_dns", Place: "process", Advice: "restart it"}}
	}
	return r
}

func newFollower(host string) *follower {
	f := &follower{host: host, drains: map[string]drain.Report{}, asked: map[string]int{}}
	for _, r := range []drain.Report{stage(host, "shop.example", 120, 41, 180), stage(host, "done.example", 600, 0, 200), stage(host, "jammed.example", 1200, 41, 180), stage(host, "soon.example", 600, 41, 180)} {
		if r.Name == "done.example" { // on a host that holds both addresses, and so sees everybody
			r.Held = []netip.Addr{oldShop[0], newShop[0]}
			r.Now.Asked, r.Now.Served = drain.Sides{}, r.Now.Asked
			for i := range r.Curve {
				p := &r.Curve[i]
				p.Asked, p.Served = drain.Sides{}, p.Asked
			}
		}
		f.drains[r.Name] = r
	}
	ended, waiting := stage(host, "ended.example", 120, 41, 180), drain.Report{Agent: host, Name: "waiting.example", Source: "configured", Old: oldShop, New: newShop}
	ended.Stopped = true
	f.drains[ended.Name], f.drains[waiting.Name] = ended, waiting
	return f
}

func (f *follower) Drains() []drain.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []drain.Report
	for _, r := range f.drains {
		r.Curve = nil
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b drain.Report) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (f *follower) Drain(name string) (drain.Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[name]++
	r, ok := f.drains[name]
	if !ok {
		return drain.Report{}, api.ErrNoDrain
	}
	if name == "soon.example" && f.asked[name] > 2 {
		return stage(f.host, name, 610, 0, 200), nil
	}
	return r, nil
}

func (f *follower) StartDrain(_ context.Context, r api.DrainRequest) (drain.Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.drains[r.Name]; ok {
		return drain.Report{}, api.ErrDrainThere
	}
	if r.Identity != nil && r.Identity.Status == 99 {
		return drain.Report{}, &api.Refusal{What: "identity.status 99 is not a status", Hint: "send 100 to 599"}
	}
	s := drain.Report{Agent: f.host, Name: r.Name, Source: "by hand", Old: r.Old, New: r.New, Ports: r.Ports, TTLSeconds: r.TTLSeconds, SinceSeconds: r.AgoSeconds, SwitchedAt: time.Now(), DeadlineSeconds: r.DeadlineSeconds}
	s.Limits = append(s.Limits, "asked: "+strings.Join(r.Resolvers, " ")+" by "+r.By)
	f.drains[r.Name] = s
	return s, nil
}

func (f *follower) StopDrain(_ context.Context, name, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.drains[name]; !ok {
		return api.ErrNoDrain
	}
	delete(f.drains, name)
	return nil
}

// CloseStale closes one of two on one host, and may not on another.
func (f *follower) CloseStale(_ context.Context, name string, r api.CloseRequest) (api.CloseResult, error) {
	if name == "done.example" {
		return api.CloseResult{Name: name, Really: r.Really}, nil
	}
	if f.host == "dublin" {
		return api.CloseResult{}, &api.Refusal{What: "closing connections takes CAP_NET_ADMIN, which this agent does not have", Hint: "docs/DRAIN.md says how to give it"}
	}
	outcomes := [2]string{"would_close", "left"}
	out := api.CloseResult{Name: name, Really: r.Really, Left: 1, AgainInSeconds: 42}
	if r.Really {
		outcomes[0] = "closed"
		out.Closed = 1
	}
	for i, outcome := range outcomes {
		out.Sockets = append(out.Sockets, api.StaleSocket{
			Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(40000+i)), Remote: netip.AddrPortFrom(oldShop[0], 443),
			State: "established", Process: "php-fpm", PID: 812, AgeSeconds: 312, Outcome: outcome,
		})
	}
	return out, nil
}

func (f *follower) Route(string) (api.Route, error) { return api.Route{}, api.ErrNoDrain }

// still is a source of one snapshot, in which nothing happens.
type still struct{ s api.Snapshot }

func (s *still) Snapshot() *api.Snapshot                           { return &s.s }
func (s *still) Status() *api.Snapshot                             { return &s.s }
func (s *still) Changed() <-chan struct{}                          { return nil }
func (s *still) Acknowledge(context.Context, uint64, string) error { return api.ErrNoIncident }
func (s *still) Reload(context.Context) error                      { return errors.New("no") }

// follow starts a follower until the script ends: follow NAME HOST. $NAME is its
// address, and its token is "correct horse".
func follow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: follow NAME HOST")
	}
	answers, err := followed(args[1])
	ts.Check(err)
	server := httptest.NewServer(answers)
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// followed is the API of a follower of that name.
func followed(host string) (http.Handler, error) {
	source := &still{api.Snapshot{Host: host, At: time.Now(), Ready: true}}
	return api.New(api.Config{Source: source, Actor: source, Drainer: newFollower(host), Token: "correct horse", Log: slog.New(slog.DiscardHandler)})
}

// waitDrain waits until the agent at an address sees connections on the old address
// of a switch, at both ends: waitdrain HOST:PORT NAME CONNECTIONS.
func waitDrain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: waitdrain HOST:PORT NAME CONNECTIONS")
	}
	want, err := strconv.Atoi(args[2])
	ts.Check(err)
	waitFor(ts, "http://"+args[0]+"/api/v1/drains/"+args[1], 20*time.Second, func(resp *http.Response) bool {
		var d api.FollowedSwitch
		return json.NewDecoder(resp.Body).Decode(&d) == nil && d.Report.Now.Asked.Old.Established == want && d.Report.Now.Served.Old.Established == want
	})
}

// TestDrainWatchInterrupted: who ends a watch before the switch has settled has not
// seen that it has, and a script must not take it for that.
func TestDrainWatchInterrupted(t *testing.T) {
	answers, err := followed("edge1")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(answers)
	defer server.Close()
	r, w := pipe(t)
	cmd := program(t, w, os.Stderr, "drain", "watch", "shop.example", "--agent", server.URL, "--every", "100ms")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for in := bufio.NewScanner(r); in.Scan(); {
		if lines++; lines == 2 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != exitUnwell || lines < 2 {
		t.Errorf("%d lines, then %v; want 2 at least and exit code %d", lines, err, exitUnwell)
	}
}

// TestDrainWatchGoesOn: an agent that stops to answer is said once, and asked on; at
// the beginning that is an error.
func TestDrainWatchGoesOn(t *testing.T) {
	answers, err := followed("edge1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := requests.Add(1); {
		case n <= 2:
			answers.ServeHTTP(w, r)
			return
		case n == 9: // net/http asks some of them twice
			cancel()
		}
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	cmd := &cobra.Command{}
	list := agentsFlags(cmd, false)
	if err := cmd.ParseFlags([]string{"--agents", server.URL}); err != nil {
		t.Fatal(err)
	}
	agents, err := list.list()
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr strings.Builder
	w := drainWatch{agents: agents, name: "shop.example", out: &out, stderr: &stderr}
	var code exit
	if err := w.run(ctx, time.Millisecond); !errors.As(err, &code) || code.code != exitUnwell {
		t.Errorf("it ended with %v, want exit code %d", err, exitUnwell)
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d answers, want 2:\n%s", n, &out)
	}
	if n := strings.Count(stderr.String(), "the agent does not answer"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, &stderr)
	}
	w.shown = 0
	if err := w.run(t.Context(), time.Millisecond); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("at the beginning: %v", err)
	}
}

// TestDrainText holds what a terminal shows of a switch to testdata/golden; -update
// writes it.
func TestDrainText(t *testing.T) {
	edge := stage("edge1", "shop.example", 120, 41, 180)
	full := drain.Status{
		Name: "shop.example", Agents: []string{"edge1", "dublin"}, Verdict: drain.Draining, Sentence: "18.6 % of the connections are on the old address 2 min after the switch.",
		Why: []string{"41 of 221 connections are on the old address", "unbound-9 answers with it beyond its TTL"}, SinceSeconds: 120,
		PowerOff: "safe to power off the old address 192.0.2.10: no, 41 connections of 2 processes, of which 12 moved bytes in the last minute", Basis: "asked", OldShare: new(0.1855), OldNewShare: new(0.0004),
		Now: drain.Point{SinceSeconds: 120, Asked: drain.Sides{
			Old: drain.Count{Connections: 1041, Established: 1037, Connecting: 4, Retransmitting: 8, NewPerSecond: 1.25, Moving: 12, BytesPerSecond: 3120.7},
			New: drain.Count{Connections: 180, Established: 180, NewPerSecond: 14, Moving: 160, BytesPerSecond: 2.1e6},
		}},
		Curve: edge.Curve, HalfLifeSeconds: new(61.0), EndsInSeconds: new(300.0), EndsErrorSeconds: new(60.0), Missing: new(0.58),
		MissingSentence: "since the switch 58 % of the usual new connections have not arrived (expected 410/s ± 40, seen 172/s)",
		Laggards: []drain.Laggard{
			{Vantage: "asked", Old: oldShop[0], Process: "php-fpm", PIDs: []int{812, 813}, Unit: "php8.2-fpm.service", Connections: 29, Failing: 12, Moving: 12, NewAfterTTL: 2, OldestSeconds: 4000, Cause: "stale_dns", Place: "process", Advice: "restart it"},
			{Vantage: "asked", Old: oldShop[0], Process: "worker\x1b[2J", Namespace: "blue", Connections: 10, Cause: "old_connection", Advice: "restart it"},
			{Agent: "dublin", Vantage: "served", Old: oldShop[0], Prefix: "203.0.113.0/24", ASN: 64500, Network: "Example Net", Service: "service/nginx:443", Connections: 2, Cause: "users_failing_on_old", Advice: "keep the old address alive"},
			{Vantage: "asked", Old: oldShop[0], Connections: 1},
		},
		LaggardsOver: 7,
		Resolvers: []drain.Resolver{
			{Label: "system", Server: "127.0.0.53:53", Role: "system", Class: drain.ClassNew, Addresses: newShop, TTLSeconds: 30, NewAfterSeconds: new(42.0), Why: "new addresses alone"},
			{Label: "192.0.2.53:53", Server: "192.0.2.53:53", Role: "configured", Class: drain.ClassOldBeyond, Addresses: oldShop, TTLSeconds: 780, Why: "it keeps answers for longer than they say"},
			{Label: "ns1.shop.example", Server: "192.0.2.1:53", Role: "authoritative", Class: drain.ClassError, Why: "it does not answer"},
		},
		Agreement: new(1 / 3.0),
		Probes: []drain.Probe{
			{Address: netip.AddrPortFrom(newShop[0], 443), Side: "new", Words: "200"},
			{Address: netip.AddrPortFrom(oldShop[0], 443), Side: "old", Failed: "connect", Words: "refused"},
			{Address: netip.MustParseAddrPort("[2001:db8::9]:443"), Side: "other", Failed: "identity", Wrong: true, Words: "no header X-Site"},
		},
		Advice: []string{"Keep the old address alive until 10:20."}, Limits: []string{"QUIC is not seen"},
	}
	bare := drain.Status{Name: "shop.example", Verdict: drain.Unclear, Sentence: "Nothing is seen of shop.example.", PowerOff: "safe to power off the old addresses: not known"}
	for name, g := range map[string]gathered{
		"drain-full": {Status: full, Reports: []drain.Report{edge, {Agent: "dublin", Name: "shop.example", Old: oldShop, New: newShop, Source: "configured"}}},
		"drain-bare": {Status: bare, Reports: []drain.Report{{Agent: "edge1", Name: "shop.example", Old: append(oldShop, newShop...), Stopped: true, SwitchedAt: time.Unix(0, 0), Source: "noticed"}}},
		"drain-line": {Status: full},
		"drain-one":  {Status: drain.Status{Verdict: drain.Draining, Agents: []string{"edge1"}, Laggards: edge.Laggards, Resolvers: edge.Resolvers, Probes: edge.Probes}},
	} {
		t.Run(name, func(t *testing.T) {
			got := drainText(&g)
			if name == "drain-line" {
				got = drainLine(&g.Status) + "\n" + drainLine(&bare) + "\n"
			}
			path := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		share *float64
		want  string
	}{{nil, "-"}, {new(0.0), "0 %"}, {new(0.0001), "< 0.1 %"}, {new(0.0123), "1.2 %"}, {new(0.9999), "> 99.9 %"}, {new(1.0), "100 %"}} {
		if got := percent(tt.share); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.share, got, tt.want)
		}
	}
}

func TestCurve(t *testing.T) {
	at := func(seconds float64, old, came int) drain.Point {
		return drain.Point{SinceSeconds: seconds, Asked: drain.Sides{Old: drain.Count{Established: old}, New: drain.Count{Established: came}}}
	}
	tests := []struct {
		name   string
		points []drain.Point
		basis  string
		want   string
	}{
		{"falling", []drain.Point{at(0, 8, 0), at(25, 4, 4), at(50, 1, 7), at(75, 0, 8), at(100, 0, 8)}, "asked", "██▄▄▄▁▁···"},
		{"before the switch is left out", []drain.Point{at(-10, 8, 0), at(50, 4, 4), at(100, 2, 6)}, "asked", "     ▄▄▄▄▂"},
		{"nothing is not drawn", []drain.Point{at(0, 0, 0), at(10, 0, 0)}, "asked", ""},
		{"of the other end", []drain.Point{at(0, 8, 0), at(10, 8, 0)}, "served", ""},
		{"one point", []drain.Point{at(0, 8, 0)}, "asked", ""},
		{"none", nil, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := curve(tt.points, tt.basis, 10); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestAgents: which agents are asked, and what is no address.
func TestAgents(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
		err  string
	}{
		{"one that is not named", nil, []string{""}, ""},
		{"one", []string{"--agent", "http://192.0.2.3:9748"}, []string{"http://192.0.2.3:9748"}, ""},
		{"several, each once", []string{"--agents", "http://192.0.2.3:9748,http://[2001:db8::1]:9748/", "--agents", "https://web03:9748,http://192.0.2.3:9748/"}, []string{"http://192.0.2.3:9748", "http://[2001:db8::1]:9748", "https://web03:9748"}, ""},
		{"both", []string{"--agent", "http://192.0.2.3:9748", "--agents", "http://192.0.2.4:9748"}, nil, "use one of them"},
		{"no scheme", []string{"--agents", "192.0.2.3:9748"}, nil, `"192.0.2.3:9748" is no address`},
		{"a password", []string{"--agents", "http://ann:x@192.0.2.3:9748"}, nil, "is no address"},
		{"no host", []string{"--agents", "http://"}, nil, "is no address"},
		{"no time", []string{"--timeout", "0s"}, nil, "above zero"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := &cobra.Command{}
			of := agentsFlags(cmd, false)
			if err := cmd.ParseFlags(tt.args); err != nil {
				t.Fatal(err)
			}
			list, err := of.list()
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("%v, want %q", err, tt.err)
			}
			var got []string
			for _, a := range list {
				got = append(got, *a.address)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("agents (-want +got):\n%s", diff)
			}
		})
	}
}
