package history

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/recording"
)

// TestAge: what is deleted by age is what agents ran for that long with,
// whatever the wall clock says.
func TestAge(t *testing.T) {
	const day = 24 * time.Hour
	for _, x := range []struct {
		name string
		then func(*times)
		want map[string]int64
	}{
		{"at once", func(*times) {}, map[string]int64{"raw": 1, "minutes": 1, "hours": 1}},
		{"a day", func(c *times) { c.pass(day) }, map[string]int64{"raw": 0, "minutes": 1, "hours": 1}},
		{"29 days", func(c *times) { c.pass(29 * day) }, map[string]int64{"raw": 0, "minutes": 0, "hours": 0}},
		{"the clock a year ahead", func(c *times) { c.wall = c.wall.AddDate(1, 0, 0) }, map[string]int64{"raw": 1, "minutes": 1, "hours": 1}},
		{"the clock a year back", func(c *times) { c.wall = c.wall.AddDate(-1, 0, 0) }, map[string]int64{"raw": 1, "minutes": 1, "hours": 1}},
		{"a day, and the clock a year back", func(c *times) { c.pass(day); c.wall = c.wall.AddDate(-1, 0, 0) }, map[string]int64{"raw": 0, "minutes": 1, "hours": 1}},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted %v", x.name, restarted), func(t *testing.T) {
				dir := t.TempDir()
				c := &times{wall: start}
				s := opened(t, dir, c.config())
				need(t, s.PutSegment(recording.Segment{From: start, To: start, Data: []byte("x")}))
				need(t, s.PutMinute(start, []byte("x")))
				need(t, s.PutHour(start, []byte("x")))
				if x.then(c); restarted {
					need(t, s.Batch(func() error { return nil })) // notes the age
					need(t, s.Close())
					s = opened(t, dir, c.config())
				}
				retain(t, s)
				got := rows(t, s.file)
				for what, want := range x.want {
					if got[what] != want {
						t.Errorf("%d of %s left, want %d", got[what], what, want)
					}
				}
			})
		}
	}
}

// TestAway: of the time when no agent ran an hour counts, so that a clock that
// is a year ahead at boot costs no more than that.
func TestAway(t *testing.T) {
	dir := t.TempDir()
	c := &times{wall: start}
	s := opened(t, dir, c.config())
	need(t, s.PutSegment(recording.Segment{From: start, To: start, Data: []byte("x")}))
	for boot := 1; boot <= 24; boot++ {
		retain(t, s)
		if got := rows(t, s.file)["raw"]; got != 1 {
			t.Fatalf("gone after %d boots", boot)
		}
		need(t, s.Close())
		c.wall = c.wall.AddDate(1, 0, 0)
		s = opened(t, dir, c.config())
	}
	retain(t, s)
	if got := rows(t, s.file)["raw"]; got != 0 {
		t.Error("still there after 24 boots")
	}
}

// TestStepBack: rows that were written after the clock was set back are found
// by their times, in the order in which they were written.
func TestStepBack(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	var want []string
	for i := range 4 {
		if i == 2 {
			c.wall = c.wall.Add(-90 * time.Second)
		}
		data := fmt.Sprint(i)
		need(t, s.PutMinute(c.wall.Truncate(time.Minute), []byte(data)))
		need(t, s.PutSegment(recording.Segment{From: c.wall, To: c.wall.Add(time.Minute), Data: []byte(data)}))
		want = append(want, data)
		c.pass(time.Minute)
	}
	var minutes, raw []string
	need(t, s.Minutes(start.Add(-time.Hour), start.Add(time.Hour), func(_ time.Time, d []byte) error { minutes = append(minutes, string(d)); return nil }))
	need(t, s.Segments(start.Add(-time.Hour), start.Add(time.Hour), func(s recording.Segment) error { raw = append(raw, string(s.Data)); return nil }))
	if diff := cmp.Diff([][]string{want, want}, [][]string{minutes, raw}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestIncidentsKeepTheirPart of the raw tallies, for as long as they are there
// themselves.
func TestIncidentsKeepTheirPart(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	grave, watched := over(incident(1, start.Add(30*time.Minute)), start.Add(70*time.Minute)), over(incident(2, start.Add(90*time.Minute)), start.Add(91*time.Minute))
	watched.Keeps = false
	need(t, s.PutIncidents([]Incident{grave, watched}))
	for range 120 {
		need(t, s.PutSegment(recording.Segment{From: c.wall, To: c.wall.Add(59 * time.Second), Data: []byte("x")}))
		c.pass(time.Minute)
	}
	c.pass(24 * time.Hour)
	retain(t, s)
	var kept []int
	need(t, s.Segments(time.Time{}, time.Time{}, func(s recording.Segment) error {
		kept = append(kept, int(s.From.Sub(start).Minutes()))
		return nil
	}))
	// From five minutes before the suspicion to fifteen after it opened, which is
	// a second later, and from five before its end to one after.
	var want []int
	for minute := 25; minute <= 45; minute++ {
		want = append(want, minute)
	}
	for minute := 65; minute <= 71; minute++ {
		want = append(want, minute)
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("segments that are kept, in minutes (-want +got):\n%s", diff)
	}
	s.Configure(Limits{Raw: 24 * time.Hour, Minutes: 24 * time.Hour, MaxSize: 1})
	retain(t, s)
	if got := rows(t, s.file); got["raw"] != 0 || got["incidents"] != 0 {
		t.Errorf("too large: %v are left", got)
	}
}

// noise is data that does not pack.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(out) // never fails
	return out
}

// TestSize: a file that is too large shrinks; what goes first goes first, and
// open incidents never.
func TestSize(t *testing.T) {
	c := &times{wall: start}
	s := opened(t, t.TempDir(), c.config())
	blob := noise(64 << 10)
	minutes := func(n int) {
		t.Helper()
		for range n {
			need(t, s.PutMinute(c.wall, blob))
			need(t, s.PutSegment(recording.Segment{From: c.wall, To: c.wall, Data: blob}))
		}
	}
	large := func(id uint64) Incident {
		i := over(incident(id, start.Add(-time.Hour*24*365)), start)
		i.Keeps, i.Document = false, blob
		return i
	}
	minutes(32) // 4 MiB that are old
	open := large(1)
	open.State, open.Over = "open", false
	need(t, s.PutIncidents([]Incident{open}))
	for id := uint64(2); id < 34; id++ {
		need(t, s.PutIncidents([]Incident{large(id)}))
	}
	c.pass(8 * 24 * time.Hour)
	s.config.Raw = 30 * 24 * time.Hour // by age nothing would go
	minutes(32)                        // and 4 MiB that are new
	for _, x := range []struct {
		megabytes int64
		want      map[string]int64
	}{
		{100, map[string]int64{"raw": 64, "minutes": 64, "incidents": 33}},
		{7, map[string]int64{"raw": 32, "minutes": 32, "incidents": 33}},
		{5, map[string]int64{"raw": 32, "minutes": 32, "incidents": 1}},
		{3, map[string]int64{"raw": 32, "minutes": 0, "incidents": 1}},
		{1, map[string]int64{"raw": 0, "minutes": 0, "incidents": 1}},
	} {
		s.Configure(Limits{Raw: 30 * 24 * time.Hour, Minutes: 28 * 24 * time.Hour, MaxSize: x.megabytes << 20})
		retain(t, s)
		got := rows(t, s.file)
		all, used, err := s.Size()
		need(t, err)
		if used > x.megabytes<<20 || all > used+(slack+1)*4096 {
			t.Errorf("at most %d MiB: it has %d KiB, of which %d hold something", x.megabytes, all>>10, used>>10)
		}
		for what, want := range x.want {
			if got[what] > want || x.megabytes == 100 && got[what] != want || what == "incidents" && got[what] < 1 {
				t.Errorf("at most %d MiB: %d of %s left, want %d", x.megabytes, got[what], what, want)
			}
		}
	}
	if left, err := s.Incidents(Query{}); err != nil || len(left) != 1 || left[0].Over {
		t.Errorf("left: %v, %v", left, err)
	}
}
