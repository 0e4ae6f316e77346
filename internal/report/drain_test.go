package report_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/report"
)

var (
	cork, dublin = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("198.51.100.7")
	switchedAt   = time.Date(2026, 3, 3, 14, 23, 0, 0, time.UTC)
)

// scene is the article's: 12 minutes after a switch with a TTL of 5 minutes, 40 %
// of an edge's connections are on the old addresses, which are dead, and 60 % of
// the users arrive nowhere.
func scene() drain.Report {
	r := drain.Report{
		Agent: "edge1", Name: "shop.example", Source: "by hand", Old: []netip.Addr{cork}, New: []netip.Addr{dublin}, Kept: []netip.Addr{}, Ports: []uint16{443},
		TTLSeconds: new(300.0), SinceSeconds: 720, SwitchedAt: switchedAt, DeadlineSeconds: 1200,
		Arrivals: &drain.Arrivals{PerSecond: 172, ExpectedPerSecond: 410, ErrorPerSecond: 40, From: "before the switch", At: "asked"},
		Laggards: []drain.Laggard{
			{Vantage: "asked", Old: cork, Process: "shop-api", PIDs: []int{812, 813}, Unit: "shop-api.service", Connections: 300, Failing: 280, NewAfterTTL: 60, OldestSeconds: 700},
			{Vantage: "asked", Old: cork, Process: "java", Container: "cart", Connections: 100, Moving: 3, NewAfterTTL: 9, OldestSeconds: 300},
			{Vantage: "asked", Old: cork, Process: "haproxy", Connections: 12, OldestSeconds: 4000},
		},
		LaggardsOver: 4,
		Resolvers: []drain.Resolver{
			{Label: "ns1.example", Server: "192.0.2.53:53", Role: "authoritative", Class: drain.ClassNew, Why: "new addresses alone", Addresses: []netip.Addr{dublin}, TTLSeconds: 300, Serial: 9, NewAfterSeconds: new(2.0), AskedAgoSeconds: 4},
			{Label: "isp", Server: "203.0.113.53:53", Role: "configured", Class: drain.ClassOldBeyond, Why: "it keeps answers for 15 min", Addresses: []netip.Addr{cork}, TTLSeconds: 180, Extended: []string{"3 stale answer"}, AskedAgoSeconds: 4, MostTTLSeconds: 900},
			{Label: "system", Server: "127.0.0.53:53", Role: "system", Class: drain.ClassNew, Addresses: []netip.Addr{dublin}, TTLSeconds: 12, NewAfterSeconds: new(301.0), AskedAgoSeconds: 4},
		},
		Probes: []drain.Probe{
			{Address: netip.AddrPortFrom(cork, 443), Side: "old", Failed: "connect", Words: "nothing came within 3 s", AgoSeconds: 20},
			{Address: netip.AddrPortFrom(dublin, 443), Side: "new", Status: 200, AgoSeconds: 8},
			{Address: netip.MustParseAddrPort("203.0.113.80:443"), Side: "other", Failed: "identity", Wrong: true, Words: "status 404, and 200 was expected", Status: 404, AgoSeconds: 9},
		},
		Limits: []string{"processes of other users cannot be named: the agent does not run as root"},
	}
	for t := -120.0; t <= 720; t += 10 {
		left := 0.4 + 0.6*math.Exp2(-max(t, 0)/90)
		before := int(1000 * left)
		p := drain.Point{SinceSeconds: t, Asked: drain.Sides{
			Old: drain.Count{Connections: before, Established: before, NewPerSecond: 410 * left},
			New: drain.Count{Connections: 1000 - before, Established: 1000 - before, NewPerSecond: 10},
		}}
		if t > 0 {
			p.Asked.Old.Retransmitting, p.Asked.Old.Connecting = before/2, 60
			p.Asked.Old.NewPerSecond, p.Asked.New.NewPerSecond = 40, 132
		}
		r.Curve = append(r.Curve, p)
	}
	r.Now = r.Curve[len(r.Curve)-1]
	drain.Blame(&r)
	return r
}

func drainWritten(t *testing.T, d *report.Drain, format string) string {
	t.Helper()
	var b bytes.Buffer
	write := map[string]func(io.Writer) error{"md": d.Markdown, "html": d.HTML, "json": d.JSON}[format]
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDrainGolden: the article's scene as a report, byte for byte.
func TestDrainGolden(t *testing.T) {
	d, err := report.BuildDrain(report.DrainValues{Reports: []drain.Report{scene()}, MadeBy: "foreshock test", MadeAt: switchedAt.Add(12 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"md", "html"} {
		got, path := drainWritten(t, &d, format), "testdata/drain."+format
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
			t.Errorf("%s (-want +got), go test -update writes it anew:\n%s", path, diff)
		}
	}
	wellFormed(t, drainWritten(t, &d, "html"))
	if l := d.Lost; l.MostFailing < 500 || l.NotArrived == nil || math.Abs(*l.NotArrived-238*710) > 2000 {
		t.Errorf("lost %+v", l)
	}
	var got report.Drain
	if err := json.Unmarshal([]byte(drainWritten(t, &d, "json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != report.Version || got.Status.Verdict != d.Status.Verdict || len(got.Reports) != 1 || len(got.Minutes) != len(d.Minutes) {
		t.Errorf("the JSON has version %d, %s, %d reports, %d minutes", got.Version, got.Status.Verdict, len(got.Reports), len(got.Minutes))
	}
}

// TestDrainMinutes: what each minute has, also where one side is not seen.
func TestDrainMinutes(t *testing.T) {
	r := scene()
	r.Arrivals = nil
	r.Curve = []drain.Point{
		{SinceSeconds: -5, Asked: drain.Sides{Old: drain.Count{Established: 10}}},
		{SinceSeconds: 5, Asked: drain.Sides{Old: drain.Count{Established: 8, Connecting: 2}, New: drain.Count{Established: 2}}},
		{SinceSeconds: 15, Asked: drain.Sides{Old: drain.Count{Established: 6, Connecting: 1}, New: drain.Count{Established: 4}}},
	}
	r.Now = drain.Point{SinceSeconds: 65, Asked: drain.Sides{New: drain.Count{Established: 9, NewPerSecond: 2}}}
	r.SinceSeconds = 65
	d, err := report.BuildDrain(report.DrainValues{Reports: []drain.Report{r}})
	if err != nil {
		t.Fatal(err)
	}
	want := []report.DrainMinute{
		{SinceSeconds: -60, OldShare: new(1.0), Old: 10},
		{SinceSeconds: 0, OldShare: new(0.7), Old: 7, New: 3, Failing: 2},
		{SinceSeconds: 60, OldShare: new(0.0), OldNewShare: new(0.0), New: 9, ArrivalsPerSecond: 2},
	}
	if diff := cmp.Diff(want, d.Minutes); diff != "" {
		t.Errorf("minutes (-want +got):\n%s", diff)
	}
	for _, p := range []*drain.Point{&r.Curve[0], &r.Curve[1], &r.Curve[2], &r.Now} { // the old side's host alone
		p.Served.Old, p.Asked = p.Asked.Old, drain.Sides{}
	}
	d, err = report.BuildDrain(report.DrainValues{Reports: []drain.Report{r}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range d.Minutes {
		if m.OldShare != nil {
			t.Errorf("a share of %g of one side alone", *m.OldShare)
		}
	}
	if _, err := report.BuildDrain(report.DrainValues{}); err == nil {
		t.Error("a report of nothing")
	}
}

// TestDrainHostileTexts: names come from other people's processes, resolvers and
// networks.
func TestDrainHostileTexts(t *testing.T) {
	r := scene()
	r.Agent, r.Source, r.Name = evil, evil, evil
	r.Limits = []string{evil, ""}
	r.Laggards = []drain.Laggard{{Vantage: evil, Process: evil, Unit: evil, Container: evil, Namespace: evil, Prefix: evil, Network: evil, Service: evil, Cause: evil, Place: evil, Advice: evil, Connections: 5}}
	r.Resolvers = []drain.Resolver{{Label: evil, Server: evil, Role: evil, Class: evil, Why: evil, Extended: []string{evil}, CNAMEs: []string{evil}}}
	r.Probes[0].Words, r.Probes[1].Words, r.Probes[1].Failed, r.Probes[1].Side = evil, evil, evil, evil
	for i := range 20_000 {
		r.Curve = append(r.Curve, drain.Point{SinceSeconds: 730 + 60*float64(i)})
	}
	d, err := report.BuildDrain(report.DrainValues{Reports: []drain.Report{r}, MadeBy: evil})
	if err != nil {
		t.Fatal(err)
	}
	page, text := drainWritten(t, &d, "html"), drainWritten(t, &d, "md")
	wellFormed(t, page)
	for what, out := range map[string]string{"html": page, "md": text} {
		for _, bad := range []string{"<script", "\x1b", "\u202e", "\r"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s has %q", what, bad)
			}
		}
		if len(out) > 1<<20 {
			t.Errorf("%s has %d bytes", what, len(out))
		}
	}
	for _, bad := range []string{"[x](", "\nnext", " @all", "http://"} {
		if strings.Contains(text, bad) {
			t.Errorf("md has %q", bad)
		}
	}
}

// FuzzDrain: whatever agents say, there is a report in every form or an error.
func FuzzDrain(f *testing.F) {
	r := scene()
	r.Curve = r.Curve[10:16]
	raw, err := json.Marshal([]drain.Report{r})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`[{"name":"a","agent":"","curve":[{"since_seconds":-1e9},{"since_seconds":1e9}],"ttl_seconds":1e300,"arrivals":{"expected_per_second":1e-300,"at":"asked"},"limits":["é"]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var reports []drain.Report
		if json.Unmarshal(data, &reports) != nil {
			return
		}
		d, err := report.BuildDrain(report.DrainValues{Reports: reports})
		if err != nil {
			return
		}
		for _, format := range []string{"md", "html", "json"} {
			if out := drainWritten(t, &d, format); out == "" {
				t.Errorf("the report as %s is empty", format)
			}
		}
	})
}
