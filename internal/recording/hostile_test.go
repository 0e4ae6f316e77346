package recording_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// FuzzReplayOfSealed: whatever is sealed with a right checksum, playing it
// again ends without a panic.
func FuzzReplayOfSealed(f *testing.F) {
	host := recordingtest.New(recordingtest.Config{
		Services: 1, Backends: 2, Span: 20 * time.Second, Focus: time.Second, Pulse: time.Second,
		Faults: []recordingtest.Fault{{Kind: recordingtest.Blackhole, Scope: scope.ID{Kind: scope.KindBackend, Name: "pool0/s0"}, From: 2 * time.Second, To: 20 * time.Second}},
	})
	encoder := recording.NewEncoder(recording.Limits{})
	var segments []*recording.Segment
	for s, err := host.Next(); err == nil; s, err = host.Next() {
		done, err := encoder.Add(s)
		if err != nil {
			f.Fatal(err)
		}
		if done != nil {
			segments = append(segments, done)
		}
	}
	segments = append(segments, encoder.Flush())
	for _, s := range segments {
		raw, records, err := recording.Unseal(s.Data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint16(records))
	}
	f.Fuzz(func(t *testing.T, raw []byte, records uint16) {
		d := recording.NewDecoder()
		if d.Reset(recording.Seal(raw, int(records))) != nil {
			return
		}
		p, sockets := replay.New(nil), recording.NewPlayer()
		for {
			r, err := d.Next()
			if err != nil {
				return
			}
			if r.Frame != nil {
				sockets.Play(r.Frame)
				continue
			}
			for _, c := range p.Changes(r.Step) {
				_, _ = c.JSON()
			}
		}
	})
}

// A record in JSON of four megabytes can stand for gigabytes of services, and
// compresses to nothing.
func TestJSONDoesNotExplode(t *testing.T) {
	text := `{"services":[` + strings.Repeat("{},", 1<<20) + `{}]}`
	raw := make([]byte, 5)           // the segment's time, offset, and the agent's start
	raw = append(raw, 3, 0, 0, 0, 0) // a record of scopes, its time, namespace ""
	raw = append(binary.AppendUvarint(raw, uint64(len(text))), text...)
	d := recording.NewDecoder()
	if err := d.Reset(recording.Seal(raw, 1)); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := d.Next()
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more memory than is allowed") {
		t.Errorf("error %v", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MB were allocated to refuse it", grown>>20)
	}
}

// Each segment keeps within what one may take, but lets another scope's lists
// grow: what a decoder holds for the segments to come stays bounded.
func TestSegmentsTogetherDoNotExplode(t *testing.T) {
	const scopes = 500
	d, encoder := recording.NewDecoder(), recording.NewEncoder(recording.Limits{Span: time.Hour})
	at := recordingtest.Start
	for i := range scopes {
		tallies := make([]measure.Tally, scopes)
		for j := range tallies {
			tallies[j].Scope = scope.ID{Kind: scope.KindService, Name: strconv.Itoa(j)}
		}
		tallies[i].Examples = make([]tcp.Socket, 1000)
		at = at.Add(time.Second)
		for port := range uint16(2) { // the second list is decoded beside the first
			tallies[i].Examples[0].Local = netip.AddrPortFrom(netip.IPv6Loopback(), port)
			if _, err := encoder.Add(measure.Step{At: at, Tallies: measure.Tallies{Scopes: tallies}}); err != nil {
				t.Fatal(err)
			}
		}
		err := d.Reset(encoder.Flush().Data)
		for ; err == nil; _, err = d.Next() {
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	runtime.GC()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	runtime.KeepAlive(d)
	if now.HeapAlloc > 128<<20 {
		t.Errorf("%d MB are held after %d segments", now.HeapAlloc>>20, scopes)
	}
}

// A segment has no more streams than a host can: each is looked for among those
// of the segment before.
func TestManyStreamsAreManySegments(t *testing.T) {
	const namespaces = 5000
	encoder := recording.NewEncoder(recording.Limits{Size: 1 << 30, Span: time.Hour})
	steps, segments := 0, 0
	decode := func(s *recording.Segment) {
		if s == nil {
			return
		}
		segments++
		if err := recording.Decode(s.Data, func(measure.Step) error { steps++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range namespaces {
		done, err := encoder.Add(measure.Step{Namespace: strconv.Itoa(i), At: recordingtest.Start})
		if err != nil {
			t.Fatal(err)
		}
		decode(done)
	}
	decode(encoder.Flush())
	if steps != namespaces || segments != 2 {
		t.Errorf("%d steps in %d segments, want %d in 2", steps, segments, namespaces)
	}
}

// What is no file is refused at once: opening a pipe would wait for ever.
func TestOpenTakesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "directory", pipe: "pipe", "/dev/zero": "device"} {
		if _, err := recording.Open(path); err == nil || !strings.Contains(err.Error(), "is no file but a "+want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
