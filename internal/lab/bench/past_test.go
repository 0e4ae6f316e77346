package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/measure/baseline"
)

// TestPastMinutes: each day has the minutes of the one that was measured, at its
// own times, and each minute is another.
func TestPastMinutes(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	day, err := minutesOf(ctx, madeHost(1, 4, 3*time.Minute+time.Second, true))
	if err != nil {
		t.Fatal(err)
	}
	if len(day) != 3 || slices.Equal(day[0], day[2]) {
		t.Fatalf("%d minutes of three, of which the first and the last must differ", len(day))
	}
	b, p := &bench{out: io.Discard, err: io.Discard}, past{Days: 2, Scopes: 5}
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	if err := b.writeDays(ctx, &p, dir, first, day); err != nil {
		t.Fatal(err)
	}
	r, err := history.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got, want []time.Duration
	for i := range 6 {
		want = append(want, time.Duration(i/3)*24*time.Hour+time.Duration(i%3)*time.Minute)
	}
	err = r.Minutes(first, first.Add(48*time.Hour), func(start time.Time, data []byte) error {
		m, err := baseline.DecodeMinute(data)
		if err != nil {
			return err
		}
		of, err := baseline.DecodeMinute(day[len(got)%3])
		if err != nil {
			return err
		}
		of.Start = start
		if diff := cmp.Diff(of, m); diff != "" {
			t.Errorf("minute of %s (-want +got):\n%s", start, diff)
		}
		got = append(got, start.Sub(first))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("starts (-want +got):\n%s", diff)
	}
	if all, err := size(dir); err != nil || all <= 0 || p.Minutes != 6 || p.Encoded <= 0 {
		t.Errorf("%+v, %d bytes of files, %v", p, all, err)
	}
}

// TestPastDir: what a killed run left is removed by the next, and what another
// run works with is not.
func TestPastDir(t *testing.T) {
	folder := t.TempDir()
	left := filepath.Join(folder, "past-1.tmp")
	if err := os.MkdirAll(filepath.Join(left, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	one, cleanOne, err := pastDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	two, cleanTwo, err := pastDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	there := func() []string {
		names, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	want := []string{one, two}
	slices.Sort(want)
	if diff := cmp.Diff(want, there()); diff != "" {
		t.Errorf("while both run (-want +got):\n%s", diff)
	}
	cleanOne()
	cleanTwo()
	if names := there(); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}
