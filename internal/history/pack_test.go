package history

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// TestPackedRows: small ones and large ones come back; a damaged one is left
// out and said, and the others are there.
func TestPackedRows(t *testing.T) {
	s := opened(t, t.TempDir(), (&times{wall: start}).config())
	all := [][]byte{nil, []byte("small"), bytes.Repeat([]byte("0123456789abcdef"), 1000), bytes.Repeat([]byte("x"), leastPacked)}
	for _, data := range all {
		need(t, s.PutMinute(start, data))
	}
	size, err := s.number("SELECT length(data) FROM minutes WHERE id = 3")
	need(t, err)
	if size > 200 {
		t.Errorf("16 kB of repetition take %d bytes", size)
	}
	read := func() (got [][]byte, err error) {
		err = s.Minutes(time.Time{}, time.Time{}, func(_ time.Time, data []byte) error { got = append(got, data); return nil })
		return got, err
	}
	got, err := read()
	need(t, err)
	for i, want := range all {
		if !bytes.Equal(got[i], want) {
			t.Errorf("row %d: %.40q, want %.40q", i, got[i], want)
		}
	}
	need(t, s.exec("UPDATE minutes SET data = x'01ff' WHERE id = 3"))
	need(t, s.exec("UPDATE minutes SET data = x'' WHERE id = 4"))
	got, err = read()
	var bad *UnreadableError
	if !errors.As(err, &bad) || bad.Rows != 2 || len(got) != 2 {
		t.Errorf("%d rows, %v", len(got), err)
	}
}

// FuzzUnpack: no panic, nothing beside an error, no more than is allowed, and
// what is understood can be packed again.
func FuzzUnpack(f *testing.F) {
	var p packer
	for _, data := range [][]byte{nil, []byte("small"), bytes.Repeat([]byte("x"), 1000), make([]byte, 1<<20)} {
		packed, err := p.pack(data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Add([]byte{packedZstd})
	f.Add([]byte{7, 7})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packed []byte) {
		data, err := unpack(packed)
		if err != nil {
			if data != nil {
				t.Fatalf("%d bytes beside the error %v", len(data), err)
			}
			return
		}
		if len(data) > mostUnpacked && packed[0] != packedPlain {
			t.Fatalf("%d bytes", len(data))
		}
		var p packer
		again, err := p.pack(data)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := unpack(again); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("packed again: %v", err)
		}
	})
}
