package web

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
)

// fixtures are pictures as the event stream sends them, by name. They were
// written by hand after the API's description.
func fixtures(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pictures in testdata: %v", err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".json")] = raw
	}
	return out
}

// read reads a picture's JSON.
func read(t testing.TB, raw []byte) api.Picture {
	t.Helper()
	var p api.Picture
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func pictureOf(t *testing.T, name string) api.Picture {
	t.Helper()
	raw, ok := fixtures(t)[name]
	if !ok {
		t.Fatalf("no picture %s in testdata", name)
	}
	return read(t, raw)
}

func TestWords(t *testing.T) {
	type said struct {
		Title, Verdict, Reason, Busy, Limit string
	}
	apache := "limit 20, MaxRequestWorkers 20, /etc/apache2/mods-enabled/mpm_prefork.conf:12"
	unknown := "limit unknown: no forecast before the first saturation"
	want := map[string]said{
		"calm":          {"Nothing found wrong in what can be seen", "normal", "", "3 of 20", apache},
		"filling":       {"web: workers filling", "workers filling", "All 20 workers busy in 2 min 27 s (± 20 s) at this rate.", "7 of 20", apache},
		"full":          {"2 things are going wrong on web03", "workers full", "All 20 workers are busy.", "20 of 20", apache},
		"silenced":      {"2 things are going wrong on web03", "workers full", "All 20 workers are busy.", "20 of 20", apache},
		"unknown_limit": {"Nothing found wrong in what can be seen", "normal", "", "9 of unknown", unknown + "; /etc/apache2/apache2.conf: permission denied"},
		"learned_limit": {"web: rule night queue", "rule night queue", "All 18 workers busy in 41 s at the rate of the last 15 s.", "11 of 18", "limit 18, learned"},
		"slow_clients":  {"web: slow clients", "slow clients", "All 20 workers busy in 12 s (± 3 s) at this rate.", "19 of 20", apache},
		"blind":         {"web: unknown, workers full when last seen", "workers full", "no evidence since 03:12:02 UTC", "unknown of 20", apache},
		"source_lost":   {"Unknown: 1 service cannot be seen", "unknown", "not visible to this reader", "unknown", unknown + "; no process of this service can be read"},
		"many":          {"8 things are going wrong on web03", "leak", "", "0 of 20", "limit 20, learned"},
		"older_agent":   {"web: workers full", "workers full", "", "5 of unknown", unknown},
		"first":         {Title: "Looking for the first time"},
		"backends":      {"2 things are going wrong on web03, and balancers call 1 of the backends up", "normal", "", "3 of 20", apache},
		"called_up":     {"shop/s1: peer frozen, and its balancer says up", "normal", "", "3 of 20", apache},
		"local_fault":   {"host: local fault", "normal", "", "3 of 20", apache},
		"switch":        {"3 things are going wrong on web03", "normal", "", "3 of 20", apache},
		"regions":       {"<b>east</b>: path lost", "normal", "", "3 of 20", apache},
		"hostile": {"<script>alert(1)</script>: <script>alert(1)</script>", "<script>alert(1)</script>", "", "1 of 20",
			"limit 20, <script>alert(1)</script>; " + strings.Repeat("a", 300)},
	}
	got := map[string]said{}
	for name, raw := range fixtures(t) {
		v := viewOf(read(t, raw), 0)
		x := said{Title: v.Title}
		if len(v.Services) > 0 {
			s := v.Services[0]
			x = said{v.Title, s.Verdict, s.Reason, s.Busy, s.Limit}
		}
		got[name] = x
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

func TestRegions(t *testing.T) {
	v := viewOf(pictureOf(t, "regions"), 0)
	none := regionRow{ID: "region/blind", Name: "blind", What: "1 prefix · configured", Level: "unknown", Glyph: glyph("unknown"), Verdict: "unknown", Reason: "never seen", Since: "–",
		Established: "unknown", Retransmitting: "unknown", Destinations: "unknown", Answers: "unknown"}
	far := none
	far.ID, far.Name, far.Reason, far.Answers = "region/far", "far", "no traffic", "no traffic"
	west := regionRow{ID: "region/west", Name: "west", What: "1204 prefixes · ip-ranges.json (AWS), eu-west-1", Limit: "ip-ranges.json: no such file: the ranges that it had before stay",
		Level: "normal", Glyph: glyph("normal"), Verdict: "answers", Since: "–", Established: "160 of 161", Retransmitting: "0.00 %", Destinations: "0 of 4", Answers: "100 ms"}
	shop := west
	shop.ID, shop.Name, shop.What, shop.Limit = "region/west@shop", "west@shop", "1 prefix · configured", ""
	want := []regionRow{
		{ID: "region/<b>east</b>", Name: "<b>east</b>", What: "1 prefix · configured", Level: "critical", Glyph: glyph("critical"), Verdict: "path lost", Since: "7 s",
			Established: "150 of 170", Retransmitting: "51.25 %", Destinations: "4 of 4", Answers: "no traffic"},
		none, far, west, shop,
	}
	if diff := cmp.Diff(want, v.Regions); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
	if got, want := v.Unclassified, "4.13 % of 412 connections that this host began are in no region."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if calm := viewOf(pictureOf(t, "calm"), 0); len(calm.Regions) > 0 || calm.Unclassified != "" {
		t.Errorf("without regions: %+v, %q", calm.Regions, calm.Unclassified)
	}
}

// TestUndelivered: notices that did not arrive are named before all that cannot
// be seen; a channel that works is not.
func TestUndelivered(t *testing.T) {
	p := pictureOf(t, "full")
	want := append([]api.Limit{{Subject: "notices to ops", Reason: "2 wait, 1 were given up; 1 wait because so many an hour were sent; 3 are kept, and can be tried again: <b>ops.example</b>: connection refused"}}, p.Limits...)
	if diff := cmp.Diff(want, viewOf(p, 0).Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}

// TestNeedsAreFew: five at most, the worst and then the oldest first, and the
// rest is counted.
func TestNeedsAreFew(t *testing.T) {
	v := viewOf(pictureOf(t, "many"), 0)
	var ids []uint64
	for _, n := range v.Needs {
		ids = append(ids, n.ID)
	}
	if want := []uint64{21, 23, 25, 27, 20}; !slices.Equal(ids, want) || v.More != "and 3 more" {
		t.Errorf("needs %d, %q; want %d, and 3 more", ids, v.More, want)
	}
}

// TestOldPictureIsNotTrusted: whatever it shows, its title says that it is old.
func TestOldPictureIsNotTrusted(t *testing.T) {
	for name, raw := range fixtures(t) {
		if v := viewOf(read(t, raw), silentAfter+time.Second); v.Title != "No word from the agent for 16 s: this is how it was" || !v.Lost {
			t.Errorf("%s: %q, lost %v", name, v.Title, v.Lost)
		}
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{
		-3: "0 s", 0.4: "0 s", 0.5: "1 s", 59.4: "59 s", 59.5: "1 min 0 s", 147.2: "2 min 27 s", 3600: "1 h 0 min", 93784: "1 d 2 h",
	} {
		if got := span(seconds); got != want {
			t.Errorf("span(%v) = %q, want %q", seconds, got, want)
		}
	}
}

// TestReasons: the page words what is unknown as the agent does elsewhere.
func TestReasons(t *testing.T) {
	got := map[string]string{}
	for v := measure.Validity(0); !strings.HasPrefix(v.String(), "validity_"); v++ {
		if v != measure.Known {
			got[v.String()] = v.Words()
		}
	}
	for name, words := range got {
		if said := reason(api.Value{Unknown: name}); said != words {
			t.Errorf("%s is %q on the page and %q elsewhere", name, said, words)
		}
	}
}

// TestBar: the bar never leaves its box, however much waits.
func TestBar(t *testing.T) {
	n := func(v float64) api.Value { return api.Value{Value: &v} }
	tests := []struct {
		name                 string
		held, limit, waiting api.Value
		want                 bar
	}{
		{"some", n(7), n(20), n(0), bar{"7 busy, 0 waiting, limit 20", 31.5, 0, 90}},
		{"full", n(20), n(20), n(48), bar{"20 busy, 48 waiting, limit 20", 29.4, 70.6, 29.4}},
		{"no limit", n(9), api.Value{}, n(1), bar{"9 busy, 1 waiting", 90, 10, 0}},
		{"nothing", n(0), api.Value{}, n(0), bar{"0 busy, 0 waiting", 0, 0, 0}},
		{"unknown", api.Value{}, n(20), api.Value{}, bar{"unknown busy, unknown waiting, limit 20", 0, 0, 90}},
		{"limit zero", n(3), n(0), n(0), bar{"3 busy, 0 waiting", 100, 0, 0}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, barOf(tt.held, tt.limit, tt.waiting)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestPageIsLight(t *testing.T) {
	const most = 150 << 10
	total := 0
	for _, file := range []string{"page.css", "page.js", "words.js"} {
		raw, err := files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		total += len(raw)
		if bytes.Contains(raw, []byte("innerHTML")) || bytes.Contains(raw, []byte("//cdn")) || bytes.Contains(raw, []byte("https://")) {
			t.Errorf("%s writes HTML, or asks another host", file)
		}
	}
	for name, raw := range fixtures(t) {
		var b bytes.Buffer
		if err := draw(&b, read(t, raw), 0); err != nil {
			t.Fatal(name, err)
		}
		if total+b.Len() > most {
			t.Errorf("%s: first paint takes %d bytes, more than %d", name, total+b.Len(), most)
		}
	}
}

// FuzzDraw: any picture gives a page, and no name in it becomes markup.
func FuzzDraw(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.json")
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p api.Picture
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		var b bytes.Buffer
		if err := draw(&b, p, 0); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(b.Bytes(), []byte("<script")); got != 1 {
			t.Errorf("the page holds %d scripts", got)
		}
		if !bytes.HasSuffix(bytes.TrimSpace(b.Bytes()), []byte("</html>")) {
			t.Error("the page is cut off")
		}
	})
}
