package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

var header = Header{Host: "web03", Foreshock: "v1", Created: start, ScopeKinds: ScopeKinds(), Labels: map[string]string{"site": "cork"}}

// small is a file of three segments of two steps, and the steps in it.
func small(t testing.TB) (raw []byte, segments []Segment, steps []measure.Step) {
	t.Helper()
	w := newBalancer(1)
	for range 3 * 6 {
		if s := w.next(); s.Tallies.Look.Request.Tier != tcp.Pulse {
			steps = append(steps, copyOf(s))
		}
	}
	segments = encode(t, Limits{Span: time.Second / 2}, steps)
	if len(segments) != 3 || len(steps) != 6 {
		t.Fatalf("%d segments of %d steps", len(segments), len(steps))
	}
	var b bytes.Buffer
	out, err := NewWriter(&b, header)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		if err := out.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), segments, steps
}

// readAll reads what it can.
func readAll(t testing.TB, raw []byte) (*Reader, []measure.Step, error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, nil, err
	}
	var steps []measure.Step
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r, steps, nil
		}
		if err != nil {
			t.Fatalf("Next: %v, which is not io.EOF", err)
		}
		steps = append(steps, copyOf(s))
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.rec")
	raw, segments, steps := small(t)
	w, err := Create(path, header, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		if err := w.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != w.Size() || info.Size() != int64(len(raw)) {
		t.Errorf("%v, %v; the writer says %d bytes", info, err, w.Size())
	}
	if _, err := Create(path, header, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if diff := cmp.Diff(header, r.Header()); diff != "" {
		t.Error(diff)
	}
	for range 2 { // again from the beginning
		var got []measure.Step
		for s, err := r.Next(); err == nil; s, err = r.Next() {
			got = append(got, copyOf(s))
		}
		if diff := cmp.Diff(steps, got, same); diff != "" {
			t.Error(diff)
		}
		if p := r.Problems(); len(p) > 0 {
			t.Errorf("problems with a whole file: %v", p)
		}
		r.Seek(time.Time{})
	}
	r.Seek(segments[1].From)
	if s, err := r.Next(); err != nil || !s.At.Equal(segments[1].From) {
		t.Errorf("Seek to the second segment gives %v, %v", s.At, err)
	}
}

// TestSeekInALongFile: the index stays small, and still leads to the place.
func TestSeekInALongFile(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, header)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEncoder(Limits{Size: 1})
	const n = 3*maxIndex + 5
	for i := range n {
		s, err := e.Add(measure.Step{At: start.Add(time.Duration(i) * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			continue
		}
		if err := w.Write(*s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.index) == 0 || len(r.index) > maxIndex {
		t.Errorf("%d places in the index", len(r.index))
	}
	for _, after := range []int{0, 1, 4097, n - 2} {
		want := start.Add(time.Duration(after) * time.Second)
		r.Seek(want)
		if s, err := r.Next(); err != nil || !s.At.Equal(want) {
			t.Errorf("Seek to %d s gives %v, %v", after, s.At.Sub(start), err)
		}
	}
	r.Seek(start.Add(time.Hour * 24))
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("Seek behind the end: %v", err)
	}
}

// TestCutAnywhere: what was written before the cut is read, nothing is made up,
// and the cut is told.
func TestCutAnywhere(t *testing.T) {
	raw, segments, steps := small(t)
	ends := []int{bytes.Index(raw, []byte(segmentMark))}
	for _, s := range segments {
		ends = append(ends, ends[len(ends)-1]+len(s.Data))
	}
	for cut := range raw {
		r, got, err := readAll(t, raw[:cut])
		if err != nil {
			if cut > len(fileMagic+fileVersion) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			continue
		}
		whole := 0
		for whole+1 < len(ends) && ends[whole+1] <= cut {
			whole++
		}
		if len(got) != 2*whole {
			t.Fatalf("cut at %d, after %d segments: %d steps", cut, whole, len(got))
		}
		if cut%16 == 0 { // comparing takes longer than reading
			if diff := cmp.Diff(steps[:2*whole], got, same); diff != "" {
				t.Fatalf("cut at %d, after %d segments:\n%s", cut, whole, diff)
			}
		}
		if len(r.Problems()) == 0 {
			t.Errorf("cut at %d: no problem", cut)
		}
	}
}

// TestAnyBitFlipped: the segment with the bit is passed over and told of, the
// others are as they were.
func TestAnyBitFlipped(t *testing.T) {
	raw, segments, steps := small(t)
	first := bytes.Index(raw, []byte(segmentMark))
	for bit := range 8 * len(raw) {
		flipped := bytes.Clone(raw)
		flipped[bit/8] ^= 1 << (bit % 8)
		r, got, err := readAll(t, flipped)
		if err != nil {
			if bit/8 >= len(fileMagic+fileVersion) {
				t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
			}
			continue
		}
		want, at := append([]measure.Step(nil), steps...), first
		for i, s := range segments {
			if at <= bit/8 && bit/8 < at+len(s.Data) {
				want = append(want[:2*i], want[2*i+2:]...)
			}
			at += len(s.Data)
		}
		if len(r.Problems()) == 0 {
			t.Errorf("bit %d of byte %d: no problem", bit%8, bit/8)
		}
		if len(want) != len(got) {
			t.Fatalf("bit %d of byte %d: %d steps, want %d: %v", bit%8, bit/8, len(got), len(want), r.Problems())
		}
		if bit%64 == 0 {
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Fatalf("bit %d of byte %d:\n%s", bit%8, bit/8, diff)
			}
		}
	}
}

func TestProblemsSayWhereAndWhen(t *testing.T) {
	raw, segments, _ := small(t)
	raw[bytes.Index(raw, []byte(segmentMark))+len(segments[0].Data)+60] ^= 1 // within the second
	r, _, err := readAll(t, append(raw, "and more"...))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.Problems() {
		got = append(got, p.What)
		if p.After.IsZero() {
			t.Errorf("%+v does not say when", p)
		}
	}
	want := []string{"damaged, and were passed over", "8 bytes follow the recording's end"}
	if len(got) != 2 || !strings.Contains(got[0], want[0]) || !strings.Contains(got[1], want[1]) {
		t.Errorf("%q, want %q", got, want)
	}
	if p := r.Problems()[0]; !p.After.Equal(segments[0].To) || !p.Before.Equal(segments[2].From) {
		t.Errorf("%+v is not between the first segment's end and the third's begin", p)
	}
}

// sealed is a segment of any content, as a hostile writer can make one.
func sealed(raw []byte, change func(head []byte)) []byte {
	s := newSealer()
	b := s.seal(raw, start, start, 1)
	if change != nil {
		change(b)
	}
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-blockSize))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func TestRefusedSegments(t *testing.T) {
	bomb := sealed(make([]byte, 64<<20), nil)
	understated := sealed(make([]byte, 64<<20), func(b []byte) { binary.LittleEndian.PutUint32(b[16:], 1000) })
	for _, tt := range []struct {
		name string
		data []byte
		is   error
		says string
	}{
		{"empty", nil, ErrDamaged, "no segment"},
		{"head alone", sealed([]byte("x"), nil)[:headSize], ErrDamaged, "checksum"},
		{"a later version", sealed([]byte("x"), func(b []byte) { b[12] = 4 }), ErrVersion, "format version 4; this one reads up to version 3"},
		{"a bomb", bomb, nil, "67108864 bytes when decompressed, and at most 4194304"},
		{"a bomb that says it is none", understated, zstd.ErrDecoderSizeExceeded, "it says that it is 1000 bytes"},
		{"one byte less than it says", sealed([]byte("xy"), func(b []byte) { b[16]++ }), nil, "it is 2 bytes when decompressed, and says 3"},
		{"nonsense", sealed([]byte("\x00\x00\x00\xff"), nil), errMalformed, "not understood"},
	} {
		err := Decode(tt.data, func(measure.Step) error { return nil })
		if err == nil || !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	for name, tt := range map[string]struct{ raw, says string }{
		"empty":         {"", "is no foreshock recording"},
		"another file":  {"#!/bin/sh\n", "is no foreshock recording"},
		"later version": {"foreshock recording 2\n....", `is a recording of format version "2", and this foreshock reads version "1"`},
	} {
		if _, _, err := readAll(t, []byte(tt.raw)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := NewWriter(io.Discard, Header{Labels: map[string]string{"x": strings.Repeat("y", maxHeader)}}); err == nil {
		t.Error("a header that no reader takes is written")
	}
}

// full is a disk that takes so many bytes.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

func TestWriterStopsAtTheFirstError(t *testing.T) {
	_, segments, _ := small(t)
	disk := &full{left: 400}
	w, err := NewWriter(disk, header)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Write(segments[0])
	disk.left = 1 << 20
	if again := w.Write(segments[1]); err == nil || again == nil || w.Close() == nil {
		t.Errorf("%v, then %v", err, again)
	}
}

func TestTooLarge(t *testing.T) {
	w := newBalancer(2)
	huge := w.next()
	huge.Tallies.Look.Reader = strings.Repeat("x", maxRaw)
	e := NewEncoder(Limits{Span: time.Hour})
	var got []Segment
	for _, s := range []measure.Step{w.next(), huge, w.next(), w.next()} {
		done, err := e.Add(s)
		if (err != nil) != (len(s.Tallies.Look.Reader) > maxRaw/2) {
			t.Errorf("a reader's name of %d bytes: %v", len(s.Tallies.Look.Reader), err)
		}
		if done != nil {
			got = append(got, *done)
		}
	}
	if n := len(decode(t, append(got, *e.Flush()))); n != 3 {
		t.Errorf("%d steps, want the three that fit", n)
	}
}

func TestRing(t *testing.T) {
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	r := NewRing(30*time.Second, 100)
	for i := range 10 {
		r.Add(Segment{From: at(10 * i), To: at(10*i + 9), Data: make([]byte, 20)})
	}
	if got := r.Segments(at(0), at(1000)); len(got) != 4 || !got[0].From.Equal(at(60)) || r.Size() != 80 {
		t.Errorf("after 100 s of 30: %d segments, %d bytes", len(got), r.Size())
	}
	r.Add(Segment{From: at(100), To: at(109), Data: make([]byte, 60)})
	if got := r.Segments(at(0), at(1000)); r.Size() > 100 || len(got) != 3 {
		t.Errorf("after a large one: %d segments, %d bytes of 100", len(got), r.Size())
	}
	if got := r.Segments(at(95), at(97)); len(got) != 1 || !got[0].From.Equal(at(90)) {
		t.Errorf("within one: %v", got)
	}
}

// FuzzDecode holds a decoder to bytes that are whole and that no encoder wrote:
// it must not panic, must end, and what it takes must come back as the same.
func FuzzDecode(f *testing.F) {
	_, segments, _ := small(f)
	d := NewDecoder()
	for _, s := range segments {
		raw, _, err := d.open.open(s.Data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(raw), 6)
	}
	for _, raw := range frameSeeds(f) {
		f.Add(raw, 20)
	}
	f.Fuzz(func(t *testing.T, raw []byte, records int) {
		if len(raw) > maxRaw {
			return
		}
		b := sealed(raw, func(b []byte) { binary.LittleEndian.PutUint32(b[20:], uint32(records)) })
		var steps []measure.Step
		if Decode(b, func(s measure.Step) error { steps = append(steps, copyOf(s)); return nil }) != nil || len(steps) == 0 {
			return
		}
		if diff := cmp.Diff(steps, decode(t, encode(t, Limits{Span: 1 << 62}, steps)), same); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzReader holds a reader to any bytes: no panic, an end, and no step from a
// segment whose checksum is not its own.
func FuzzReader(f *testing.F) {
	raw, _, _ := small(f)
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(fileMagic + fileVersion + strings.Repeat(segmentMark, 1000)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		for _, err = r.Next(); err == nil; _, err = r.Next() {
		}
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}
