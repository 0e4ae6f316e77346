package measure

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/tcp"
)

func cookie(n uint64) tcp.Socket {
	return tcp.Socket{Cookie: n, Has: tcp.HasCookie, State: tcp.Established}
}

// TestFlowsAgainstAMap: as long as a scope fits the sample, flows counts new
// and gone connections exactly as a map would.
func TestFlowsAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f flows
		twin := map[uint64]int32{}
		start := time.Unix(1e9, 0)
		for look := range rapid.IntRange(2, 12).Draw(t, "looks") {
			now := int32(look * 100)
			present := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 300), 0, 200, rapid.ID[uint64]).Draw(t, "present")
			f.beginWhole()
			wantNew, gotNew := 0, 0
			for _, c := range present {
				s := cookie(c)
				seen := f.see(&s, now, true)
				if again := f.see(&s, now, true); !again.repeated {
					t.Fatalf("cookie %d passed twice in one look counts twice", c)
				}
				first, known := twin[c]
				if !known {
					first = now
					twin[c] = now
					wantNew++
				}
				if seen.new {
					gotNew++
				}
				if want := time.Duration(now-first) * 10 * time.Millisecond; seen.age != want || !seen.known {
					t.Fatalf("cookie %d is %v old, want %v", c, seen.age, want)
				}
			}
			wantGone := 0
			for c := range twin {
				if !slices.Contains(present, c) {
					delete(twin, c)
					wantGone++
				}
			}
			gotGone, _ := f.endWhole(start.Add(time.Duration(look) * time.Second))
			if gotNew != wantNew || gotGone != wantGone || f.used != len(twin) {
				t.Fatalf("look %d: %d new, %d gone, %d known; want %d, %d, %d", look, gotNew, gotGone, f.used, wantNew, wantGone, len(twin))
			}
		}
	})
}

// TestFlowsStayBounded: 200,000 connections use no more memory than the bound,
// and what the sample says stands for them within a few per cent.
func TestFlowsStayBounded(t *testing.T) {
	var f flows
	const all, fresh, lost = 200_000, 20_000, 10_000
	look := func(from, to uint64) (newOnes int) {
		f.beginWhole()
		for c := from; c < to; c++ {
			s := cookie(c)
			if f.see(&s, 0, true).new {
				newOnes++
			}
		}
		return newOnes
	}
	look(1, all)
	f.endWhole(time.Unix(1, 0))
	if f.used > maxFlows || len(f.table) > 2*maxFlows {
		t.Fatalf("%d flows in a table of %d, bound %d", f.used, len(f.table), maxFlows)
	}
	newOnes := look(lost, all+fresh) << f.countShift
	scale := 1 << f.countShift
	sampled, _ := f.endWhole(time.Unix(2, 0))
	gone := sampled * scale
	within(t, "new", newOnes, fresh, 0.15)
	within(t, "gone", gone, lost, 0.2)

	// When the crowd leaves, the sample gets denser again, look by look, and
	// nobody who was there all along counts as new.
	for range 8 {
		if n := look(all+fresh-1000, all+fresh); n != 0 {
			t.Fatalf("%d old connections count as new after the sample became denser", n)
		}
		f.endWhole(time.Unix(3, 0))
	}
	if f.shift != 0 {
		t.Errorf("sample still 1 in %d for 1,000 connections", 1<<f.shift)
	}
}

func within(t *testing.T, what string, got, want int, tolerance float64) {
	t.Helper()
	if d := float64(got-want) / float64(want); d > tolerance || d < -tolerance {
		t.Errorf("%s: %d, want %d within %.0f %%", what, got, want, 100*tolerance)
	}
}

// TestFlowsMetByAnOddLook: a look at odd states alone cannot tell new from
// old; the next whole look does.
func TestFlowsMetByAnOddLook(t *testing.T) {
	var f flows
	f.beginWhole()
	f.endWhole(time.Unix(1, 0))
	s := cookie(7)
	s.State = tcp.CloseWait
	if f.see(&s, 10, false).new {
		t.Error("new by an odd look")
	}
	f.beginWhole()
	seen := f.see(&s, 60, true)
	if !seen.new || seen.age != 500*time.Millisecond {
		t.Errorf("the whole look says %+v, want new and 0.5 s old", seen)
	}
	s.State = tcp.LastAck
	if seen := f.see(&s, 80, false); seen.stateAge != 0 || seen.age != 700*time.Millisecond {
		t.Errorf("after a change of state %+v", seen)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, 99 * time.Millisecond, 100 * time.Millisecond, time.Hour} {
		h.Add(d, 2)
	}
	if h[0] != 4 || h[1] != 2 || h[len(h)-1] != 2 || h.Count() != 8 {
		t.Errorf("histogram %v", h)
	}
}
