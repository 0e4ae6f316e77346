package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMemory: what is remembered is there after a restart, the last word wins,
// and what is forgotten is gone.
func TestMemory(t *testing.T) {
	clock, dir := &times{wall: start}, t.TempDir()
	s := opened(t, dir, clock.config())
	need(t, s.Remember([]Memory{{"told", "b", []byte("1")}, {"told", "a", []byte("2")}, {"silence", "a", []byte("3")}}))
	need(t, s.Remember([]Memory{{"told", "b", []byte("4")}, {"silence", "a", nil}, {"told", "never", nil}}))
	need(t, s.Close())
	s = opened(t, dir, clock.config())
	for kind, want := range map[string][]Memory{
		"told":    {{"told", "a", []byte("2")}, {"told", "b", []byte("4")}},
		"silence": nil,
	} {
		got, err := s.Memories(kind)
		need(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

// TestActions: an action that is written again keeps its place.
func TestActions(t *testing.T) {
	s := opened(t, t.TempDir(), (&times{wall: start}).config())
	at := start
	for _, a := range []Action{{7, "0", at, []byte(`{"state":"running"}`)}, {7, "1", at, []byte(`{}`)}, {8, "0", at, []byte(`{}`)}, {7, "0", at.Add(time.Second), []byte(`{"state":"done"}`)}} {
		need(t, s.PutAction(a))
	}
	need(t, s.PutAttachment(Action{7, "0", at, []byte(`{"bundle":true}`)}))
	attached, err := s.Attachments(7)
	need(t, err)
	if diff := cmp.Diff([]Action{{7, "0", at, []byte(`{"bundle":true}`)}}, attached); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	got, err := s.Actions(7)
	need(t, err)
	if diff := cmp.Diff([]Action{{7, "0", at.Add(time.Second), []byte(`{"state":"done"}`)}, {7, "1", at, []byte(`{}`)}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
