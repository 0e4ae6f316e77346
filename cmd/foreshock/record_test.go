package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/scope"
)

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want size
		as   string
	}{
		{"64MiB", 64 << 20, "64MiB"}, {"1.5GiB", 3 << 29, "1.5GiB"}, {"2GB", 2e9, "1.9GiB"}, {"500KB", 5e5, "488.3KiB"}, {"10B", 10, "10B"},
	} {
		var got size
		if err := got.Set(tt.text); err != nil || got != tt.want || got.String() != tt.as {
			t.Errorf("%s: %d as %s, %v; want %d as %s", tt.text, got, got, err, tt.want, tt.as)
		}
	}
	for _, text := range []string{"", "64", "MiB", "-1MiB", "0MiB", "1e30GiB", "NaNMiB", "1 MiB extra", "5mb"} {
		var got size
		if err := got.Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

// TestRecordingStaysWithinItsSize: it ends before it is larger than allowed,
// whole and with its index.
func TestRecordingStaysWithinItsSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "full.rec")
	f := recordFlags{maxSize: leastRecording}
	r, err := f.create(path, nil, recording.Header{Host: "web03"})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	tallies := make([]measure.Tally, 200)
	for n := 0; r.err == nil && n < 10_000; n++ {
		for i := range tallies {
			tallies[i] = measure.Tally{Scope: scope.ID{Kind: scope.KindBackend, Name: string(rune('a' + i))}, Queue: measure.Queue{Drops: random.Uint64()}}
		}
		r.step(measure.Step{At: at.Add(time.Duration(n) * time.Second), Tallies: measure.Tallies{Scopes: tallies}})
	}
	if err := r.end(); err != nil || !errors.Is(r.err, errFull) {
		t.Fatalf("%v, ended by %v", err, r.err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > leastRecording || info.Size() < leastRecording/2 {
		t.Errorf("%d bytes of %d, %v", info.Size(), leastRecording, err)
	}
	got, err := recording.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	steps := 0
	for _, err = got.Next(); err == nil; _, err = got.Next() {
		steps++
	}
	if p := got.Problems(); !errors.Is(err, io.EOF) || steps == 0 || len(p) > 0 {
		t.Errorf("%d steps, %v, %v", steps, err, p)
	}
}
