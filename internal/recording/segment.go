package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Segment is steps in a row, encoded: what the history stores, the flight
// recorder holds and a file is made of. Each can be decoded alone.
type Segment struct {
	// From and To are the first and the last step's time on the wall clock.
	From, To time.Time
	Data     []byte
}

// A sealed segment is a head of headSize bytes and what follows it, compressed
// with zstd. All numbers are little-endian:
//
//	 0  4  "FSEG"
//	 4  4  CRC32C of everything from byte 8 to the end
//	 8  4  how many bytes follow byte 16
//	12  1  version
//	13  3  zero
//	16  4  how many bytes that is decompressed
//	20  4  how many records those are
//	24  8  the first record's time, nanoseconds since 1970 on the wall clock
//	32  8  the last one's
//
// In every version the first 16 bytes mean the same, so that what is of another
// version can be told from what is damaged, and be passed over.
const (
	segmentMark    = "FSEG"
	segmentVersion = 3
	// versionBegan is the first that says which run of the agent it is of.
	versionBegan = 2
	// versionSwitches is the first whose steps have what resolvers said, and so one
	// more bit in their headers, and whose filters have local prefixes.
	versionSwitches = 3
	headSize        = 40
	// maxPacked is how long what follows the head may be: zstd makes nothing
	// much larger than it was.
	maxPacked = maxRaw + maxRaw/16
	// maxWindow is how far back what is decompressed may refer: more costs
	// memory, also in the encoder.
	maxWindow = 256 << 10
)

// What can be wrong with a segment, besides its content.
var (
	ErrDamaged = errors.New("damaged: its checksum is not that of its bytes")
	ErrVersion = errors.New("written by a later foreshock")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is the head of a segment.
type head struct {
	sum      uint32
	packed   int // bytes that follow it
	version  byte
	raw      int
	records  int
	from, to time.Time
}

// parseHead reads a head. It is wrong where the bytes are none, and ErrDamaged
// where what they say cannot be.
func parseHead(b []byte) (head, error) {
	if len(b) < headSize || string(b[:4]) != segmentMark {
		return head{}, fmt.Errorf("no segment: %w", ErrDamaged)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	wall := func(at int) time.Time { return time.Unix(0, int64(binary.LittleEndian.Uint64(b[at:]))).UTC() }
	h := head{
		sum: u32(4), packed: int(u32(8)) - (headSize - blockSize), version: b[12],
		raw: int(u32(16)), records: int(u32(20)), from: wall(24), to: wall(32),
	}
	if h.packed < 0 || h.packed > maxPacked {
		return head{}, fmt.Errorf("a segment of %d bytes, and at most %d are read: %w", h.packed, maxPacked, ErrDamaged)
	}
	return h, nil
}

// check reports what is wrong with the bytes of a whole segment.
func (h *head) check(b []byte) error {
	switch {
	case len(b) != headSize+h.packed || crc32.Checksum(b[8:], castagnoli) != h.sum:
		return ErrDamaged
	case h.version == 0 || h.version > segmentVersion:
		return fmt.Errorf("%w, as format version %d; this one reads up to version %d: read it with that foreshock", ErrVersion, h.version, segmentVersion)
	case h.raw > maxRaw:
		return fmt.Errorf("it would be %d bytes when decompressed, and at most %d are read: it was not written by foreshock", h.raw, maxRaw)
	}
	return nil
}

// sealer compresses segments.
type sealer struct {
	z *zstd.Encoder
	b []byte // reused
}

func newSealer() sealer {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(maxWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // these options go together
	}
	return sealer{z: z}
}

// seal returns a segment of raw, in memory of its own and no more than it takes.
func (s *sealer) seal(raw []byte, from, to time.Time, records int) []byte {
	s.b = s.z.EncodeAll(raw, append(s.b[:0], make([]byte, headSize)...))
	b := bytes.Clone(s.b)
	copy(b, segmentMark)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-blockSize))
	b[12] = segmentVersion
	binary.LittleEndian.PutUint32(b[16:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(b[20:], uint32(records))
	binary.LittleEndian.PutUint64(b[24:], uint64(from.UnixNano()))
	binary.LittleEndian.PutUint64(b[32:], uint64(to.UnixNano()))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

// opener decompresses segments, into memory that the next one takes over.
type opener struct {
	z   *zstd.Decoder
	raw []byte
}

func newOpener() opener {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderMaxWindow(maxRaw), zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err) // these options go together
	}
	return opener{z: z}
}

// open returns what a segment holds, and its head.
func (o *opener) open(data []byte) (raw []byte, h head, err error) {
	h, err = parseHead(data)
	if err == nil {
		err = h.check(data)
	}
	if err != nil {
		return nil, h, fmt.Errorf("read a segment: %w", err)
	}
	raw, err = o.z.DecodeAll(data[headSize:], o.raw[:0])
	if err != nil {
		return nil, h, fmt.Errorf("read a segment: it says that it is %d bytes when decompressed: %w", h.raw, err)
	}
	o.raw = raw
	if len(raw) != h.raw {
		return nil, h, fmt.Errorf("read a segment: it is %d bytes when decompressed, and says %d: it was not written by foreshock", len(raw), h.raw)
	}
	return raw, h, nil
}
