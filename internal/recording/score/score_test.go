package score

import (
	stdcmp "cmp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

var start = recordingtest.Start

// after is so many seconds after the start; none is no time.
func after(seconds float64) time.Time {
	if seconds == none {
		return time.Time{}
	}
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

const none = -1

// finding reached each severity after so many seconds.
func finding(id scope.ID, c judge.Cause, watch, warning, critical float64) Finding {
	return Finding{Scope: id, Cause: c, Reached: [4]time.Time{{}, after(watch), after(warning), after(critical)}}
}

func ruleFinding(id scope.ID, name string, at float64) Finding {
	f := finding(id, judge.UserRule, at, at, none)
	f.Rule = name
	return f
}

// TestScore: one label, from 60 s to 120 s, whose client failed at 64 s.
func TestScore(t *testing.T) {
	s1, s2 := recordingtest.Backend(1), recordingtest.Backend(2)
	ours := Contestant{Name: "defaults", Causes: true}
	preset := Contestant{Name: "article"}
	explained := finding(s2, judge.PathLost, 61, 61, 61)
	explained.Because, explained.BecauseOf = judge.LocalFault, 7
	with := finding(s1, judge.PathLost, 62, 62, 62)
	with.Because, with.BecauseOf = judge.PathLost, 8
	right, wrong := finding(s1, judge.PeerFrozen, 61, 61, none), finding(s2, judge.PathLost, 61, 61, none)
	right.Incident, wrong.Incident = 8, 8
	for _, tt := range []struct {
		name     string
		who      Contestant
		severity judge.Severity // of the label; zero is a warning
		findings []Finding
		want     LabelScore
		wrong    []string
	}{
		{name: "in time", who: ours, findings: []Finding{finding(s1, judge.PathLost, 61, 61.5, 61.5)}, want: LabelScore{Found: true, As: "path_lost", Delay: new(1.5), Lead: new(2.5)}},
		{name: "the first of two right ones", who: ours, findings: []Finding{finding(s1, judge.PathLost, 70, 70, 70), finding(s1, judge.PeerFrozen, 66, 66, 66)}, want: LabelScore{Found: true, As: "peer_frozen", Delay: new(6.0), Lead: new(-2.0)}},
		{name: "in the grace", who: ours, findings: []Finding{finding(s1, judge.PathLost, 130, 130, 130)}, want: LabelScore{Found: true, As: "path_lost", Delay: new(70.0), Lead: new(-66.0)}},
		{name: "beyond it", who: ours, findings: []Finding{finding(s1, judge.PathLost, 131, 131, 131)}, wrong: []string{"path_lost critical"}},
		{name: "before the fault", who: ours, findings: []Finding{finding(s1, judge.PathLost, 59, 59, none)}, wrong: []string{"path_lost warning"}},
		{name: "of a sibling", who: ours, findings: []Finding{finding(s2, judge.PathLost, 61, 61, 61)}, wrong: []string{"path_lost critical"}},
		{name: "of another cause", who: ours, findings: []Finding{finding(s1, judge.PeerSlow, 61, 61, none)}, wrong: []string{"peer_slow warning"}},
		{name: "what comes of it", who: ours, findings: []Finding{finding(s1, judge.StuckClosing, 61, 61, none), finding(scope.Rest, judge.StuckClosing, 61, 61, none)}},
		{name: "what comes of it, too late", who: ours, findings: []Finding{finding(s1, judge.StuckClosing, 131, 131, none)}, wrong: []string{"stuck_closing warning"}},
		{name: "what comes of it, on a sibling", who: ours, findings: []Finding{finding(s2, judge.StuckClosing, 61, 61, none)}, wrong: []string{"stuck_closing warning"}},
		{name: "what comes of it, in another namespace", who: ours, findings: []Finding{finding(scope.Rest.In("shop"), judge.StuckClosing, 61, 61, none)}, wrong: []string{"stuck_closing warning"}},
		{name: "a watch is not told", who: ours, findings: []Finding{finding(s1, judge.PathLost, 61, none, none), finding(s2, judge.Churn, 61, none, none)}},
		{name: "a watch that is all there is", who: ours, severity: judge.Watch, findings: []Finding{finding(s1, judge.PathLost, 61, none, none)}, want: LabelScore{Found: true, As: "path_lost", Delay: new(1.0), Lead: new(3.0)}},
		{name: "right, and not grave enough", who: ours, severity: judge.Critical, findings: []Finding{finding(s1, judge.PathLost, 61, 61, none)}},
		{name: "explained by another", who: ours, findings: []Finding{explained}},
		{name: "explained by a right one", who: ours, findings: []Finding{with, right}, want: LabelScore{Found: true, As: "peer_frozen", Delay: new(1.0), Lead: new(3.0)}},
		{name: "explained by a wrong one", who: ours, findings: []Finding{with, wrong}, wrong: []string{"path_lost warning"}},
		{name: "a rule is not ours", who: ours, findings: []Finding{ruleFinding(s1, "article\x00x", 61)}},
		{name: "a rule on the scope", who: preset, findings: []Finding{ruleFinding(s1, "article\x00x", 90), finding(s1, judge.PeerSlow, 61, 61, none)}, want: LabelScore{Found: true, As: "x", Delay: new(30.0), Lead: new(-26.0)}},
		{name: "a rule on the host", who: preset, findings: []Finding{ruleFinding(scope.Host, "article\x00x", 90)}, want: LabelScore{Found: true, As: "x", Delay: new(30.0), Lead: new(-26.0)}},
		{name: "a rule on another host", who: preset, findings: []Finding{ruleFinding(scope.Host.In("shop"), "article\x00x", 90)}},
		{name: "a rule on a service, of which nothing is said", who: preset, findings: []Finding{ruleFinding(recordingtest.Service(0), "article\x00x", 90)}},
		{name: "a rule on the host, too early", who: preset, findings: []Finding{ruleFinding(scope.Host, "article\x00x", 30)}, wrong: []string{"x warning"}},
		{name: "a rule on a sibling", who: preset, findings: []Finding{ruleFinding(s2, "article\x00x", 90)}, wrong: []string{"x warning"}},
		{name: "a rule of another preset", who: preset, findings: []Finding{ruleFinding(s1, "articles\x00x", 90)}},
	} {
		l := label.Label{Cause: judge.PathLost, Or: []judge.Cause{judge.PeerFrozen}, Follows: []judge.Cause{judge.StuckClosing}, Scope: s1, From: after(60), To: after(120), FirstFailure: after(64), Severity: stdcmp.Or(tt.severity, judge.Warning)}
		e := Episode{Name: "one", Bounds: label.Bounds{From: start, To: start.Add(24 * time.Hour)}, Labels: label.File{Labels: []label.Label{l}}, Findings: tt.findings}
		got := Score(tt.who, []Episode{e}, 10*time.Second)
		tt.want.Cause, tt.want.Scope = "path_lost", "backend/pool0/s1"
		if diff := cmp.Diff([]LabelScore{tt.want}, got.Each[0].Labels); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		var wrong []string
		for _, f := range got.Each[0].False {
			wrong = append(wrong, f.Says+" "+f.Severity)
		}
		if diff := cmp.Diff(tt.wrong, wrong); diff != "" || got.False != len(wrong) || got.FalsePerDay != float64(len(wrong)) {
			t.Errorf("%s: %d false, %v a day (-want +got):\n%s", tt.name, got.False, got.FalsePerDay, diff)
		}
	}
}

// episodes are a recording with two faults, and a healthy one.
func episodes(t *testing.T, contestants []Contestant) []Episode {
	t.Helper()
	base := recordingtest.Config{Services: 2, Backends: 4, Span: 12 * time.Minute, Pulse: 250 * time.Millisecond, Focus: time.Second}
	faulty := base
	faulty.Faults = []recordingtest.Fault{
		{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(1), From: 4 * time.Minute, To: 5 * time.Minute},
		{Kind: recordingtest.Close, Scope: recordingtest.Service(0), From: 6 * time.Minute, To: 12 * time.Minute},
	}
	var out []Episode
	for name, cfg := range map[string]recordingtest.Config{"faulty": faulty, "healthy": base} {
		findings, bounds, err := Play(recordingtest.New(cfg), Rules(contestants))
		if err != nil {
			t.Fatal(err)
		}
		e := Episode{Name: name, Bounds: bounds, Findings: findings, Labels: label.File{Healthy: len(cfg.Faults) == 0}}
		if name == "faulty" {
			e.Labels.Labels = []label.Label{
				{Cause: judge.PathLost, Scope: recordingtest.Backend(1), From: start.Add(4 * time.Minute), To: start.Add(5 * time.Minute), FirstFailure: start.Add(4*time.Minute + 10*time.Second), Severity: judge.Warning},
				{Cause: judge.Leak, Scope: recordingtest.Service(0), From: start.Add(6 * time.Minute), To: start.Add(12*time.Minute - time.Second), Severity: judge.Warning},
			}
			out = append([]Episode{e}, out...)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// TestPlay: one replay serves all contestants, and each is scored by what it
// says itself.
func TestPlay(t *testing.T) {
	when, err := rule.Compile("cw", "service.close_wait_accepted / service.sockets > 0.15")
	if err != nil {
		t.Fatal(err)
	}
	contestants := []Contestant{{Name: "defaults", Causes: true}, {Name: "article", Rules: []rule.Rule{{Name: "cw", When: when, Hold: 10 * time.Second, Severity: rule.Warning}}}}
	all := episodes(t, contestants)
	var got []string
	for _, c := range contestants {
		card := Score(c, all, DefaultGrace)
		got = append(got, c.Name+"\n"+card.Golden())
	}
	const head = "# What foreshock score found of NAME: recall of each cause, false findings. Better is\n# written with --update; worse fails.\n"
	want := []string{
		"defaults\n" + strings.Replace(head, "NAME", "defaults", 1) + "faulty path_lost 1/1 leak 0/1 false 0\nhealthy false 0\n",
		"article\n" + strings.Replace(head, "NAME", "article", 1) + "faulty path_lost 0/1 leak 1/1 false 0\nhealthy false 0\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scores (-want +got):\n%s", diff)
	}
}

func TestDifferences(t *testing.T) {
	card := Card{Contestant: "defaults", Each: []EpisodeScore{
		{Name: "a", Labels: []LabelScore{{Cause: "path_lost", Found: true}, {Cause: "path_lost"}, {Cause: "leak", Found: true}}},
		{Name: "b c", Labels: []LabelScore{}, False: []FalseFinding{{Scope: "service/web", Says: "leak"}}},
	}}
	golden := "# comment\na path_lost 1/2 leak 1/1 false 0\nb_c false 1\n"
	if got := card.Golden(); !strings.HasSuffix(got, strings.TrimPrefix(golden, "# comment")) {
		t.Errorf("golden text %q", got)
	}
	for _, tt := range []struct {
		name, golden  string
		worse, better []string
	}{
		{"the same", golden, nil, nil},
		{"a loss", "a path_lost 2/2 leak 1/1 false 0\nb_c false 1\n", []string{"a: path_lost is found 1 times of 2, was 2"}, nil},
		{"a gain", "a path_lost 0/2 leak 1/1 false 0\nb_c false 1\n", nil, []string{"a: path_lost is found 1 times of 2, was 0"}},
		{"one more false", "a path_lost 1/2 leak 1/1 false 0\nb_c false 0\n", []string{"b c: 1 false findings, was 0: service/web leak"}, nil},
		{"one less false", "a path_lost 1/2 leak 1/1 false 3\nb_c false 1\n", nil, []string{"a: 0 false findings, was 3"}},
		{"gone", golden + "d false 0\n", []string{"d: the episode is gone"}, nil},
		{"new, and not whole", "b_c false 1\n", []string{"a: path_lost is found 1 times of 2, was 2"}, []string{"a path_lost 1/2 leak 1/1 false 0 (new)"}},
		{"other labels", "a path_lost 1/1 leak 1/1 churn 1/1 false 0\nb_c false 1\n", []string{"a: no label of churn is left", "a: the labels of path_lost are others: found 1 times of 2"}, nil},
	} {
		worse, better, err := card.Differences(tt.golden)
		if err != nil || !cmp.Equal(tt.worse, worse) || !cmp.Equal(tt.better, better) {
			t.Errorf("%s: %v\nworse %q\nbetter %q", tt.name, err, worse, better)
		}
	}
	for _, text := range []string{"a", "a path_lost", "a path_lost x false 0", "a path_lost 1/1 false", "a path_lost 1/1 false x"} {
		if _, _, err := card.Differences(text); err == nil || !strings.Contains(err.Error(), "line 1 is not one of a golden score") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0.05: 1, 0.5: 3, 0.95: 5} {
		if got := quantile(values, q); *got != want {
			t.Errorf("quantile %v is %v, want %v", q, *got, want)
		}
	}
	if got := quantile(nil, 0.5); got != nil {
		t.Errorf("a quantile of nothing is %v", *got)
	}
}

// FuzzDifferences: no text of a golden score makes it panic, and what a card
// writes itself is no difference.
func FuzzDifferences(f *testing.F) {
	f.Add("a b", "path_lost", true, 1, "# x\na path_lost 1/2 leak 1/1 false 0\n")
	f.Add("", "", false, 0, "a false -1")
	f.Add("x", "leak", false, 3, "x leak 0/0 false 9")
	f.Fuzz(func(t *testing.T, name, cause string, found bool, wrong int, golden string) {
		card := Card{Each: []EpisodeScore{{Name: name, Labels: []LabelScore{{Cause: cause, Found: found}}, False: make([]FalseFinding, min(max(wrong, 0), 100))}}}
		if _, _, err := card.Differences(golden); err != nil && !strings.Contains(err.Error(), "--update") {
			t.Errorf("%v does not say what to do", err)
		}
		if strings.TrimSpace(name) == "" || strings.HasPrefix(strings.TrimSpace(name), "#") || cause == "false" || len(strings.Fields(cause)) != 1 || strings.Fields(cause)[0] != cause {
			return // no file is called so, and no cause
		}
		if worse, better, err := card.Differences(card.Golden()); worse != nil || better != nil || err != nil {
			t.Errorf("%q: worse %q, better %q: %v", card.Golden(), worse, better, err)
		}
	})
}
