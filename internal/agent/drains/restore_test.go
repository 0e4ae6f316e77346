package drains

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// saved plays the history.
type saved struct {
	records map[string]Memory
	points  map[string][]SavedPoint
}

func (s *saved) take(b *Book) {
	for _, u := range b.Unsaved() {
		if u.Data != nil {
			s.records[u.Name] = u.Memory
		}
		if u.Anew || u.Forget {
			delete(s.points, u.Name)
		}
		if u.Forget {
			delete(s.records, u.Name)
		}
		if len(u.Points) > 0 {
			s.points[u.Name] = append(s.points[u.Name], u.Points...)
		}
	}
}

func (s *saved) memories() (out []Memory) {
	for _, m := range s.records {
		out = append(out, m)
	}
	return out
}

// TestRenewInParts: what a history that has lost all is told again fits into what
// may wait for it, and all of it comes.
func TestRenewInParts(t *testing.T) {
	b := New()
	for i := range Most {
		e, err := b.Start(start, 0, request(fmt.Sprintf("n%d.example", i), "192.0.2.1", "192.0.2.2"))
		need(t, err)
		for k := range mostPoints - 1 {
			e.curve.at = append(e.curve.at, start.Add(time.Duration(k)*time.Minute))
			e.curve.points = append(e.curve.points, drain.Point{Asked: drain.Sides{Old: drain.Count{Connections: 1e6, Established: 1e6, Moving: 1e6, BytesPerSecond: 1234567.89}}})
		}
	}
	b.Renew()
	told := map[string]int{}
	for range Most {
		size := 0
		for _, u := range b.Unsaved() {
			if !u.Anew || u.Data == nil {
				t.Fatalf("%s is told in part", u.Name)
			}
			told[u.Name] = len(u.Points)
			for _, p := range u.Points {
				size += len(p.Data)
			}
		}
		if size > 1<<20 {
			t.Fatalf("%d bytes at once", size)
		}
	}
	for _, e := range b.Entries() {
		if told[e.Name] != mostPoints-1 {
			t.Errorf("%s was told with %d points", e.Name, told[e.Name])
		}
	}
}

// TestRestart: what runs goes on after a restart with the time since the switch
// by the wall's clock, and its curve; what is armed is the configuration's.
func TestRestart(t *testing.T) {
	keep := saved{map[string]Memory{}, map[string][]SavedPoint{}}
	b := New()
	b.Configure(conf(t, "a.example 192.0.2.1 192.0.2.2", "armed.example 192.0.2.1 192.0.2.2", "w.example"))
	in := request("hand.example", "192.0.2.1,192.0.2.9", "192.0.2.2,192.0.2.9")
	ttl := 60.0
	in.AgoSeconds, in.TTLSeconds, in.Resolvers, in.Identity = 90, &ttl, []string{"public", "192.0.2.53:5353"}, &api.Identity{URL: "https://hand.example/", Status: 200}
	_, err := b.Start(start, time.Hour, in)
	need(t, err)
	_, err = b.Begin(time.Hour, "a.example", drain.Change{Before: addrs("192.0.2.1"), At: start})
	need(t, err)
	_, err = b.Start(start, time.Hour, request("over.example", "192.0.2.1", "192.0.2.2"))
	need(t, err)
	need(t, b.Stop(start.Add(time.Minute), time.Hour, "over.example", "anna"))
	for i := range 30 {
		b.Look(start.Add(time.Duration(i)*10*time.Second), []*measure.ScopeSignals{side("a.example", scope.OldSide, 30-i, 0), side("hand.example", scope.NewSide, 0, i)})
		keep.take(b)
	}
	before := b.Entry("a.example").Report(start.Add(5*time.Minute), time.Hour, Seen{}, true)

	// The next agent's steady clock has nothing to do with the first one's.
	wall, now := start.Add(time.Hour+5*time.Minute), start.Add(-72*time.Hour)
	again := New()
	again.Configure(conf(t, "a.example 192.0.2.1 192.0.2.2", "armed.example 192.0.2.1 192.0.2.2", "w.example"))
	need(t, again.Restore(now, wall.Sub(now), keep.memories(), keep.points))
	if diff := cmp.Diff([]string{
		"a.example running configured [192.0.2.1]>[192.0.2.2]",
		"armed.example armed configured [192.0.2.1]>[192.0.2.2]",
		"hand.example running by hand [192.0.2.1 192.0.2.9]>[192.0.2.2 192.0.2.9]",
		"over.example stopped by hand [192.0.2.1]>[192.0.2.2]",
		"w.example watched configured []>[]",
	}, told(again)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	after := again.Entry("a.example").Report(now, wall.Sub(now), Seen{}, true)
	if len(after.Limits) != 1 || !strings.Contains(after.Limits[0], "started again") {
		t.Errorf("limits %q", after.Limits)
	}
	if diff := cmp.Diff(before.Curve, after.Curve, alike); diff != "" || after.SinceSeconds != 300 || !after.SwitchedAt.Equal(before.SwitchedAt) {
		t.Errorf("%v since %v, curve -before +after:\n%s", after.SinceSeconds, after.SwitchedAt, diff)
	}
	x, y := b.Entry("hand.example").Record, again.Entry("hand.example").Record
	if diff := cmp.Diff(x, y, alike); diff != "" {
		t.Errorf("the record, -before +after:\n%s", diff)
	}

	t.Run("the clock is before the switch", func(t *testing.T) {
		for _, tt := range []struct {
			curves map[string][]SavedPoint
			since  float64
		}{{nil, 0}, {keep.points, 290}} {
			b := New()
			need(t, b.Restore(now, start.Add(-time.Hour).Sub(now), keep.memories(), tt.curves))
			e := b.Entry("a.example")
			if r := e.Report(now, 0, Seen{}, true); r.SinceSeconds != tt.since || !strings.Contains(r.Limits[0], "clock was set back") {
				t.Errorf("since %v, want %v; limits %q", r.SinceSeconds, tt.since, r.Limits)
			}
			// It is looked at on, from where the curve ended.
			b.Look(now.Add(10*time.Second), []*measure.ScopeSignals{side("a.example", scope.OldSide, 7, 0)})
			if c := e.curve.since(now, e.Switch.Since); c[len(c)-1].SinceSeconds != tt.since+10 {
				t.Errorf("the curve's last point is of %v, want %v", c[len(c)-1].SinceSeconds, tt.since+10)
			}
		}
	})
	t.Run("one that was ended before it had been", func(t *testing.T) {
		keep := saved{map[string]Memory{}, map[string][]SavedPoint{}}
		need(t, b.Stop(start, time.Hour, "armed.example", "anna"))
		keep.take(b)
		again := New()
		again.Configure(conf(t, "armed.example 192.0.2.1 192.0.2.2"))
		need(t, again.Restore(now, wall.Sub(now), keep.memories(), keep.points))
		if got := told(again); got[0] != "armed.example stopped configured [192.0.2.1]>[192.0.2.2]" {
			t.Errorf("%q", got)
		}
	})
	t.Run("the history comes late", func(t *testing.T) {
		keep := saved{maps.Clone(keep.records), maps.Clone(keep.points)}
		late := New()
		late.Configure(conf(t, "a.example 192.0.2.1 192.0.2.2", "w.example"))
		late.Renew()
		keep.take(late)
		need(t, late.Restore(now, wall.Sub(now), keep.memories(), keep.points))
		if r := late.Entry("a.example").Report(now, wall.Sub(now), Seen{}, true); r.SinceSeconds != 300 || len(r.Curve) != len(before.Curve) {
			t.Errorf("since %v, with %d points of %d", r.SinceSeconds, len(r.Curve), len(before.Curve))
		}
	})
	t.Run("the configuration has other resolvers", func(t *testing.T) {
		cfg := conf(t, "a.example 192.0.2.1 192.0.2.2", "hand.example")
		for i := range cfg {
			cfg[i].Resolvers = []config.Resolver{{Which: "public"}}
		}
		b := New()
		b.Configure(cfg)
		need(t, b.Restore(now, wall.Sub(now), keep.memories(), keep.points))
		if got, by := b.Entry("a.example").Resolvers, b.Entry("hand.example").Resolvers; !slices.Equal(got, []string{"public"}) || !slices.Equal(by, in.Resolvers) {
			t.Errorf("asked are %q; by hand %q, want %q", got, by, in.Resolvers)
		}
	})
	t.Run("the configuration has other addresses", func(t *testing.T) {
		b := New()
		b.Configure(conf(t, "a.example 192.0.2.2 192.0.2.3", "hand.example"))
		need(t, b.Restore(now, wall.Sub(now), keep.memories(), keep.points))
		if got := told(b)[:2]; got[0] != "a.example armed configured [192.0.2.2]>[192.0.2.3]" || !strings.HasPrefix(got[1], "hand.example running by hand") || !b.Entry("hand.example").Watch {
			t.Errorf("%q", got)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		b := New()
		err := b.Restore(now, wall.Sub(now), []Memory{{"x.example", []byte("{")}, {"y.example", []byte(`{"name":"y.example"}`)}, keep.records["a.example"]}, map[string][]SavedPoint{"a.example": {{0, []byte("[]")}, keep.points["a.example"][0]}})
		if err == nil || len(b.Entries()) != 1 || len(b.Entry("a.example").curve.at) != 1 {
			t.Errorf("%v, %q", err, told(b))
		}
	})
	t.Run("forgotten by the history", func(t *testing.T) {
		again.Renew()
		anew := saved{map[string]Memory{}, map[string][]SavedPoint{"a.example": {{Data: []byte("old")}}}}
		anew.take(again)
		if diff := cmp.Diff(keep, anew, cmp.AllowUnexported(saved{})); diff != "" {
			t.Errorf("-first +renewed:\n%s", diff)
		}
	})
}
