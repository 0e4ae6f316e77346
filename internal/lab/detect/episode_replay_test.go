package detect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/replay"
)

// madeEpisode is what an agent would have told after so long on a host that
// never was, whose backend s1 is lost in its fifth minute.
func madeEpisode(t *testing.T, span time.Duration) heard {
	t.Helper()
	cfg := recordingtest.Config{
		Services: 1, Backends: 3, Span: span, Pulse: 250 * time.Millisecond, Focus: time.Second,
		Faults: []recordingtest.Fault{{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(1), From: 4 * time.Minute, To: 5 * time.Minute}},
	}
	file := filepath.Join(t.TempDir(), "made.rec")
	if _, err := recordingtest.Write(file, recordingtest.New(cfg)); err != nil {
		t.Fatal(err)
	}
	live := heard{at: recordingtest.Start.Add(cfg.Span)}
	var err error
	if live.recording, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	p := replay.New(nil)
	var offset time.Duration
	for _, step := range recordingtest.All(cfg) {
		p.Step(step)
		offset = step.Offset
	}
	for _, i := range p.Incidents() {
		one := incident{Scope: i.Finding.Scope.String(), Cause: i.Finding.Cause.String(), State: i.State.String()}
		for _, s := range i.Timeline {
			one.Timeline = append(one.Timeline, moment{At: s.At.Add(offset), What: s.What})
		}
		live.incidents = append(live.incidents, one)
	}
	if len(live.incidents) == 0 {
		t.Fatal("the made host has no incident")
	}
	return live
}

// wholeEpisode is long enough for the made host's fault to be over.
const wholeEpisode = 6 * time.Minute

// TestReplayed: what a replay does not say, says besides, or says at another
// time is told; what came after the agent was asked, or of a rule, is not.
func TestReplayed(t *testing.T) {
	live := madeEpisode(t, wholeEpisode)
	file := filepath.Join(t.TempDir(), "episode.rec")
	if err := os.WriteFile(file, live.recording, 0o600); err != nil {
		t.Fatal(err)
	}
	first := live.incidents[0].Timeline[0]
	for _, tt := range []struct {
		name   string
		change func(*heard)
		want   []string // how the differences begin
	}{
		{"the same", func(*heard) {}, nil},
		{"nothing was told", func(h *heard) { h.incidents = nil }, []string{"only replayed", "only replayed", "only replayed"}},
		{"asked before it", func(h *heard) { h.incidents, h.at = nil, first.At.Add(-time.Second) }, nil},
		{"something more", func(h *heard) {
			h.incidents = append(h.incidents, incident{Scope: "host", Cause: "local_fault", Timeline: []moment{{At: first.At, What: "open"}}})
		}, []string{"not replayed"}},
		{"something more, at the very end", func(h *heard) {
			h.incidents = append(h.incidents, incident{Scope: "host", Cause: "local_fault", Timeline: []moment{{At: h.at, What: "open"}}})
		}, []string{"not replayed"}},
		{"a rule", func(h *heard) {
			h.incidents = append(h.incidents, incident{Scope: "host", Cause: "user_rule", Timeline: []moment{{At: first.At, What: "open"}}})
		}, nil},
		{"later", func(h *heard) { h.incidents[0].Timeline[0].At = first.At.Add(250 * time.Millisecond) }, []string{"not replayed", "only replayed"}},
	} {
		changed := madeEpisode(t, wholeEpisode)
		tt.change(&changed)
		lines, err := replayed(file, changed)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range lines {
			kind, _, _ := strings.Cut(line, ":")
			got = append(got, kind)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", tt.name, diff, strings.Join(lines, "\n"))
		}
	}
	if _, err := replayed(filepath.Join(t.TempDir(), "absent"), live); err == nil {
		t.Error("no error without a recording")
	}
}
