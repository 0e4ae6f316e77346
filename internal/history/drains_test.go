package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDrainPoints: points come back in order, one of the same time takes the
// place of the first, what is written anew leaves nothing, and each switch has
// its own.
func TestDrainPoints(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	point := func(since time.Duration, data string) DrainPoint { return DrainPoint{since, []byte(data)} }
	need(t, s.PutDrainPoints("a.example", []DrainPoint{point(10*time.Second, "one"), point(-20*time.Second, "before")}, false))
	need(t, s.PutDrainPoints("a.example", []DrainPoint{point(10*time.Second, "two"), point(20*time.Second, "three")}, false))
	need(t, s.PutDrainPoints("b.example", []DrainPoint{point(0, "other")}, true))
	got, err := s.DrainPoints("a.example")
	need(t, err)
	if diff := cmp.Diff([]DrainPoint{point(-20*time.Second, "before"), point(10*time.Second, "two"), point(20*time.Second, "three")}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	need(t, s.PutDrainPoints("a.example", []DrainPoint{point(time.Minute, "anew")}, true))
	got, err = s.DrainPoints("a.example")
	need(t, err)
	if diff := cmp.Diff([]DrainPoint{point(time.Minute, "anew")}, got); diff != "" {
		t.Errorf("anew, -want +got:\n%s", diff)
	}
	need(t, s.PutDrainPoints("a.example", nil, true))
	got, err = s.DrainPoints("a.example")
	need(t, err)
	other, err := s.DrainPoints("b.example")
	need(t, err)
	if len(got) != 0 || len(other) != 1 {
		t.Errorf("forgotten: %d points are left, the other has %d", len(got), len(other))
	}
}
