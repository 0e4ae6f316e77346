package recording

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
)

// A file is a first line in plain text, a header in JSON, segments, and when it
// was closed well an index and a tail. docs/RECORDING.md has it byte by byte.
const (
	fileMagic   = "foreshock recording "
	fileVersion = "1\n"

	indexMark    = "FIDX"
	indexVersion = 1
	tailMark     = "FEND"
	tailSize     = 16
	// blockSize is how long the part is that segments and the index begin with
	// alike: mark, checksum, length, version.
	blockSize = 16

	// maxHeader is how long the header may be, in bytes.
	maxHeader = 64 << 10
	// maxIndex is how many places the index has: where there are more, every
	// second is left out.
	maxIndex = 1 << 12
)

// Header says what a recording is of.
type Header struct {
	// Host is its name, Foreshock the version that recorded.
	Host      string    `json:"host"`
	Foreshock string    `json:"foreshock_version"`
	Created   time.Time `json:"created_at"`
	// ScopeKinds are the kinds of scopes that were told apart: one that is not
	// here was not looked for.
	ScopeKinds []string `json:"scope_kinds,omitempty"`
	// Sockets: the frames are in it. Anonymised: addresses and names are others.
	Sockets    bool `json:"sockets"`
	Anonymised bool `json:"anonymised"`
	// Labels are the user's own.
	Labels map[string]string `json:"labels,omitempty"`
}

// ScopeKinds are the kinds that this foreshock's tallies have.
func ScopeKinds() []string {
	return []string{scope.KindService.String(), scope.KindBackend.String(), scope.KindRegion.String(), scope.KindAddress.String(), scope.KindRest.String()}
}

// place is an entry of the index: a stretch of segments.
type place struct {
	offset   int64
	from, to time.Time // of its earliest and its latest step
}

// Writer writes a recording. What was written can be read, also where it is
// never closed. It is not safe for concurrent use.
type Writer struct {
	w      io.Writer
	closer io.Closer
	size   int64
	index  []place
	// stride is how many segments a place of the index stands for, inLast how
	// many the last one does.
	stride, inLast int
	err            error // why nothing more can be written
}

// Create makes the file of a recording, readable by its owner alone. One that is
// there is refused with fs.ErrExist, unless it may be replaced.
func Create(path string, h Header, replace bool) (*Writer, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !replace {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create a recording: %w", err)
	}
	w, err := NewWriter(f, h)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w.closer = f
	return w, nil
}

// NewWriter begins a recording in w.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	body, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("write a recording: header: %w", err)
	}
	body = append(body, '\n')
	if len(body) > maxHeader {
		return nil, fmt.Errorf("write a recording: its header would be %d bytes, and at most %d are read: use fewer or shorter labels", len(body), maxHeader)
	}
	out := &Writer{w: w, stride: 1}
	head := []byte(fileMagic + fileVersion)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(body)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(body, castagnoli))
	return out, out.write(append(head, body...))
}

func (w *Writer) write(b []byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := w.w.Write(b)
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("write a recording: %w", err)
	}
	return w.err
}

// Write appends a segment. After an error nothing more is written.
func (w *Writer) Write(s Segment) error {
	at := w.size
	if err := w.write(s.Data); err != nil {
		return err
	}
	if n := len(w.index); n > 0 && w.inLast < w.stride {
		w.inLast++
		w.index[n-1] = w.index[n-1].join(place{from: s.From, to: s.To})
		return nil
	}
	if len(w.index) == maxIndex {
		for i := range maxIndex / 2 {
			w.index[i] = w.index[2*i].join(w.index[2*i+1])
		}
		w.index = w.index[:maxIndex/2]
		w.stride *= 2
	}
	w.index, w.inLast = append(w.index, place{at, s.From, s.To}), 1
	return nil
}

func (p place) join(q place) place {
	if q.from.Before(p.from) {
		p.from = q.from
	}
	if q.to.After(p.to) {
		p.to = q.to
	}
	return p
}

// Size is how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Close writes the index and closes the file; what was given to NewWriter it
// leaves open.
func (w *Writer) Close() error {
	err := w.err
	if err == nil {
		err = w.writeIndex()
	}
	if w.closer != nil {
		if e := w.closer.Close(); e != nil && err == nil {
			err = fmt.Errorf("close a recording: %w", e)
		}
	}
	return err
}

func (w *Writer) writeIndex() error {
	at := w.size
	body := binary.AppendUvarint(nil, uint64(len(w.index)))
	var before place
	before.from = time.Unix(0, 0)
	for _, p := range w.index {
		body = binary.AppendUvarint(body, uint64(p.offset-before.offset))
		body = binary.AppendVarint(body, p.from.UnixNano()-before.from.UnixNano())
		body = binary.AppendVarint(body, p.to.UnixNano()-p.from.UnixNano())
		before = p
	}
	b := make([]byte, blockSize, blockSize+len(body)+tailSize)
	copy(b, indexMark)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(body)))
	b[12] = indexVersion
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	tail := binary.LittleEndian.AppendUint64(nil, uint64(at))
	b = append(b, tail...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(tail, castagnoli))
	return w.write(append(b, tailMark...))
}
