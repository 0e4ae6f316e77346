package recording

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// Problem is something in a recording that could not be read.
type Problem struct {
	// Offset is where in the file it begins; Bytes is how much was passed over.
	Offset, Bytes int64
	// After is the last step that was read before it, Before the first one after
	// it; zero where there is none.
	After, Before time.Time
	// What is wrong, for a person.
	What string
}

// String says it in one line.
func (p Problem) String() string {
	when := ""
	if !p.After.IsZero() {
		when += ", after " + p.After.Format(time.RFC3339)
	}
	if !p.Before.IsZero() {
		when += ", before " + p.Before.Format(time.RFC3339)
	}
	return fmt.Sprintf("byte %d%s: %s", p.Offset, when, p.What)
}

const (
	// maxProblems is how many are kept; more are counted.
	maxProblems = 100
	// maxFalse is how many places in a damaged stretch may look like a segment
	// and be none, before the rest of the file is given up.
	maxFalse = 256
)

// Reader reads a recording from its beginning to its end, in memory that does
// not depend on its size. What cannot be read it passes over, and tells. It is
// not safe for concurrent use.
type Reader struct {
	r      io.ReaderAt
	closer io.Closer
	size   int64
	header Header
	start  int64 // of the first segment
	index  []place

	at       int64
	from     time.Time // what ended before is passed over; see Seek
	to       time.Time // of the last segment
	badAt    int64     // where a damaged stretch began; -1: none
	falses   int
	ended    bool
	buf      []byte
	dec      *Decoder
	problems []Problem
	more     int  // problems that are not kept
	open     bool // the last problem has no Before yet
}

// Open opens the file of a recording. The error says where it is none, or one of
// another version; what is wrong further on, Next passes over.
func Open(path string) (*Reader, error) {
	// O_NONBLOCK: opening a pipe would wait for who writes to it. open(2)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a recording: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a recording: %w", err), f.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no file but a %s: a recording is read from its end too, so save it to a file first", path, kindOf(info.Mode())), f.Close())
	}
	r, err := NewReader(f, info.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s %w", path, err), f.Close())
	}
	r.closer = f
	return r, nil
}

// kindOf names what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// NewReader reads a recording of that many bytes. Its error follows the name of
// what is read: "is no foreshock recording".
func NewReader(from io.ReaderAt, size int64) (*Reader, error) {
	r := &Reader{r: from, size: size, badAt: -1, dec: NewDecoder()}
	first := r.read(0, min(size, int64(len(fileMagic)+16)))
	rest, ours := strings.CutPrefix(string(first), fileMagic)
	if !ours {
		return nil, errors.New("is no foreshock recording: it does not begin with \"" + fileMagic + "\"")
	}
	if !strings.HasPrefix(rest, fileVersion) {
		version, _, _ := strings.Cut(rest, "\n")
		return nil, fmt.Errorf("is a recording of format version %.8q, and this foreshock reads version %q: read it with the foreshock that wrote it, or a later one",
			version, strings.TrimSpace(fileVersion))
	}
	r.start = int64(len(fileMagic) + len(fileVersion))
	r.readHeader()
	r.at = r.start
	r.readIndex()
	return r, nil
}

// readHeader reads the header; where it is damaged the segments go on.
func (r *Reader) readHeader() {
	head := r.read(r.start, 8)
	if len(head) == 8 {
		length, sum := int64(binary.LittleEndian.Uint32(head)), binary.LittleEndian.Uint32(head[4:])
		if length <= maxHeader {
			body := r.read(r.start+8, length)
			if int64(len(body)) == length && crc32.Checksum(body, castagnoli) == sum && json.Unmarshal(body, &r.header) == nil {
				r.start += 8 + length
				return
			}
		}
	}
	r.header = Header{}
	r.badAt = r.start
}

// readIndex reads the index, if the tail says where it is.
func (r *Reader) readIndex() {
	tail := r.read(max(0, r.size-tailSize), tailSize)
	if len(tail) != tailSize || string(tail[12:]) != tailMark || crc32.Checksum(tail[:8], castagnoli) != binary.LittleEndian.Uint32(tail[8:]) {
		return
	}
	at := int64(binary.LittleEndian.Uint64(tail))
	if at < r.start || at > r.size-tailSize-blockSize {
		return
	}
	block, ok := r.block(at)
	if !ok || string(block[:4]) != indexMark || block[12] != indexVersion {
		return
	}
	in := in{b: block[blockSize:]}
	before := place{from: time.Unix(0, 0)}
	for range in.count(maxIndex) {
		p := place{offset: before.offset + int64(in.uvarint()), from: before.from.Add(time.Duration(in.varint()))}
		p.to = p.from.Add(time.Duration(in.varint()))
		if p.offset < r.start || p.offset >= at {
			return
		}
		r.index, before = append(r.index, p), p
	}
	if in.err != nil {
		r.index = nil
	}
}

// read reads n bytes, good until the next read; fewer at the end of the file,
// or where reading fails: then the file is cut short there.
func (r *Reader) read(at, n int64) []byte {
	r.buf = slices.Grow(r.buf[:0], int(n))[:n]
	got, _ := r.r.ReadAt(r.buf, at)
	return r.buf[:got]
}

// block reads what begins at a mark, and reports whether it is whole: a segment
// or the index.
func (r *Reader) block(at int64) ([]byte, bool) {
	b := r.read(at, blockSize)
	if len(b) < blockSize || string(b[:4]) != segmentMark && string(b[:4]) != indexMark {
		return nil, false
	}
	length := int64(binary.LittleEndian.Uint32(b[8:])) + blockSize
	if length > headSize+maxPacked || at+length > r.size {
		return nil, false
	}
	b = r.read(at, length)
	if int64(len(b)) < length || crc32.Checksum(b[8:], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, false
	}
	return b, true
}

// Header says what the recording is of; empty where that is damaged.
func (r *Reader) Header() Header { return r.header }

// Size is how many bytes it is.
func (r *Reader) Size() int64 { return r.size }

// Problems is what could not be read so far, in the order of the file.
func (r *Reader) Problems() []Problem {
	out := slices.Clone(r.problems)
	if r.more > 0 {
		out = append(out, Problem{Offset: r.at, After: r.to, What: fmt.Sprintf("and %d more such places", r.more)})
	}
	return out
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Seek begins to read anew, at or shortly before a time on the wall clock.
func (r *Reader) Seek(to time.Time) {
	*r = Reader{r: r.r, closer: r.closer, size: r.size, header: r.header, start: r.start, index: r.index, at: r.start, from: to, badAt: -1, buf: r.buf, dec: NewDecoder()}
	for _, p := range r.index {
		if !p.to.Before(to) {
			r.at = p.offset
			break
		}
	}
}

// Next returns the next step, good until the next call; frames are passed over.
// At the end the error is io.EOF, the only one there is.
func (r *Reader) Next() (measure.Step, error) {
	for {
		rec, err := r.NextRecord()
		if err != nil || rec.Frame == nil {
			return rec.Step, err
		}
	}
}

// NextRecord returns the next step or frame, as Next does.
func (r *Reader) NextRecord() (Record, error) {
	for {
		rec, err := r.dec.Next()
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, io.EOF) {
			r.problem(Problem{Offset: r.at, After: r.to, What: "a segment that ends here: " + err.Error()})
		}
		if !r.nextSegment() {
			return Record{}, io.EOF
		}
	}
}

// NextSegment returns the next whole segment as it is, and passes over what Next
// would. It must not be mixed with Next.
func (r *Reader) NextSegment() (Segment, error) {
	if b, h, ok := r.segment(); ok {
		return Segment{From: h.from, To: h.to, Data: bytes.Clone(b)}, nil
	}
	return Segment{}, io.EOF
}

// nextSegment gives the decoder the next segment.
func (r *Reader) nextSegment() bool {
	for {
		at := r.at
		b, _, ok := r.segment()
		if !ok {
			return false
		}
		if err := r.dec.Reset(b); err != nil {
			r.problem(Problem{Offset: at, Bytes: int64(len(b)), After: r.to, What: err.Error()})
			continue
		}
		return true
	}
}

// segment reads the next segment whose bytes are those that were sealed.
func (r *Reader) segment() ([]byte, head, bool) {
	for !r.ended {
		b, whole := r.block(r.at)
		if !whole {
			r.damaged()
			continue
		}
		r.mended()
		if string(b[:4]) == indexMark {
			r.finish(r.at + int64(len(b)))
			break
		}
		at := r.at
		r.at += int64(len(b))
		h, err := parseHead(b)
		if err == nil {
			err = h.check(b)
		}
		if err != nil {
			r.problem(Problem{Offset: at, Bytes: int64(len(b)), After: r.to, What: "a segment was passed over: " + err.Error()})
			continue
		}
		if h.to.Before(r.from) {
			continue
		}
		if r.open && len(r.problems) > 0 {
			r.problems[len(r.problems)-1].Before = h.from
		}
		r.open, r.to = false, h.to
		return b, h, true
	}
	return nil, head{}, false
}

// damaged looks for the next place that may be a segment, or ends.
func (r *Reader) damaged() {
	if r.badAt < 0 {
		r.badAt = r.at
	}
	r.falses++
	next := int64(-1)
	if r.falses <= maxFalse {
		next = r.find(r.at + 1)
	}
	if next >= 0 {
		r.at = next
		return
	}
	what := "the file ends here without its end: it was cut short, or its writer was ended; what came before is whole"
	if r.size > r.badAt {
		what = fmt.Sprintf("%d bytes that are no whole segment, to the end of the file: it was cut short, or is damaged", r.size-r.badAt)
	}
	r.problem(Problem{Offset: r.badAt, Bytes: r.size - r.badAt, After: r.to, What: what})
	r.ended = true
}

// find returns where the next mark is, or -1.
func (r *Reader) find(at int64) int64 {
	const chunk = 64 << 10
	for ; at < r.size; at += chunk {
		b := r.read(at, min(chunk+3, r.size-at)) // a mark may lie across two
		for i := range b {
			if b[i] == 'F' && (bytes.HasPrefix(b[i:], []byte(segmentMark)) || bytes.HasPrefix(b[i:], []byte(indexMark))) {
				return at + int64(i)
			}
		}
	}
	return -1
}

// mended ends a damaged stretch, where there was one.
func (r *Reader) mended() {
	if r.badAt >= 0 {
		r.problem(Problem{Offset: r.badAt, Bytes: r.at - r.badAt, After: r.to, What: fmt.Sprintf("%d bytes are damaged, and were passed over", r.at-r.badAt)})
	}
	r.badAt, r.falses = -1, 0
}

// finish looks at what follows the index.
func (r *Reader) finish(at int64) {
	r.ended = true
	tail := r.read(at, min(tailSize, r.size-at))
	switch {
	case len(tail) < tailSize || string(tail[12:]) != tailMark || crc32.Checksum(tail[:8], castagnoli) != binary.LittleEndian.Uint32(tail[8:]):
		r.problem(Problem{Offset: at, Bytes: r.size - at, After: r.to, What: "the last bytes are damaged or missing; all steps were read"})
	case at+tailSize < r.size:
		r.problem(Problem{Offset: at + tailSize, Bytes: r.size - at - tailSize, After: r.to, What: fmt.Sprintf("%d bytes follow the recording's end, and were not read", r.size-at-tailSize)})
	}
}

func (r *Reader) problem(p Problem) {
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems, r.open = append(r.problems, p), true
}
