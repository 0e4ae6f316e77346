package recording

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"time"
)

// Numbers are written as little-endian base-128 varints; signed ones are
// zigzagged first, as encoding/binary does both.

// out is an encoded row of records under way.
type out struct{ b []byte }

func (o *out) byte(v byte)      { o.b = append(o.b, v) }
func (o *out) uvarint(v uint64) { o.b = binary.AppendUvarint(o.b, v) }
func (o *out) varint(v int64)   { o.b = binary.AppendVarint(o.b, v) }
func (o *out) fixed(v uint64)   { o.b = binary.LittleEndian.AppendUint64(o.b, v) }

func (o *out) bytes(v []byte) {
	o.uvarint(uint64(len(v)))
	o.b = append(o.b, v...)
}

// time writes t as what it is after base: seconds, and nanoseconds within the
// second, each by itself, so that every time.Time comes through.
func (o *out) time(t, base time.Time) {
	o.varint(t.Unix() - base.Unix())
	o.varint(int64(t.Nanosecond() - base.Nanosecond()))
}

const millisecond = int64(time.Millisecond)

// columns writes those numbers of now that are not as in old, and makes old the
// same. The first so many are durations: most change by whole milliseconds.
// Before them come as many bits of the caller's as lists says.
//
// It writes a mask: the caller's bits, and above them one for each group of
// eight columns with a change; for each such group a byte that says which; and
// for each such column the difference.
func (o *out) columns(old, now []uint64, durations int, own uint64, lists int) {
	var groups uint64
	for g := 0; g < len(now); g += 8 {
		end := min(g+8, len(now))
		a, b := old[g:end], now[g:end]
		for i := range a {
			if a[i] != b[i] {
				groups |= 1 << (g / 8)
				break
			}
		}
	}
	o.uvarint(groups<<lists | own)
	for ; groups != 0; groups &= groups - 1 {
		g := 8 * bits.TrailingZeros64(groups)
		end := min(g+8, len(now))
		var which byte
		for i := g; i < end; i++ {
			if old[i] != now[i] {
				which |= 1 << (i - g)
			}
		}
		o.byte(which)
		for i := g; i < end; i++ {
			if old[i] == now[i] {
				continue
			}
			diff := int64(now[i] - old[i])
			old[i] = now[i]
			switch {
			case i >= durations:
				o.varint(diff)
			case diff%millisecond == 0:
				o.uvarint(zigzag(diff/millisecond) << 1)
			default: // the odd one out: nanoseconds follow
				o.uvarint(1)
				o.varint(diff)
			}
		}
	}
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// errMalformed says that the bytes are none that an Encoder wrote, though they
// are as they were when they were sealed.
var errMalformed = errors.New("the segment's content is not understood: it was written by something else, or by a foreshock with a bug")

// errLarge says that what is decoded would take more memory than it may.
var errLarge = errors.New("the segment would take more memory than is allowed: it was not written by foreshock")

// in reads what an out wrote. The first thing that is wrong stays in err, and
// all that is read after it is zero.
type in struct {
	b   []byte
	err error
}

func (i *in) fail(err error) {
	if i.err == nil {
		i.err = err
	}
	i.b = nil
}

func (i *in) byte() byte {
	if len(i.b) == 0 {
		i.fail(errMalformed)
		return 0
	}
	v := i.b[0]
	i.b = i.b[1:]
	return v
}

func (i *in) uvarint() uint64 {
	if len(i.b) > 0 && i.b[0] < 0x80 {
		v := i.b[0]
		i.b = i.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(i.b)
	if n <= 0 {
		i.fail(errMalformed)
		return 0
	}
	i.b = i.b[n:]
	return v
}

func (i *in) varint() int64 { return unzigzag(i.uvarint()) }

func (i *in) fixed() uint64 {
	if len(i.b) < 8 {
		i.fail(errMalformed)
		return 0
	}
	v := binary.LittleEndian.Uint64(i.b)
	i.b = i.b[8:]
	return v
}

func (i *in) bool() bool {
	v := i.byte()
	if v > 1 {
		i.fail(errMalformed)
	}
	return v == 1
}

// count reads how many of something follow: at most so many, and no more than
// there are bytes left.
func (i *in) count(most int) int {
	n := i.uvarint()
	if n > uint64(most) || n > uint64(len(i.b)) {
		i.fail(errMalformed)
		return 0
	}
	return int(n)
}

// bytes returns a part of what is read, not a copy.
func (i *in) bytes() []byte {
	n := i.count(len(i.b))
	v := i.b[:n]
	i.b = i.b[n:]
	return v
}

func (i *in) time(base time.Time) time.Time {
	seconds := base.Unix() + i.varint()
	nanoseconds := int64(base.Nanosecond()) + i.varint()
	if nanoseconds < 0 || nanoseconds >= int64(time.Second) {
		i.fail(errMalformed)
		return time.Time{}
	}
	return time.Unix(seconds, nanoseconds).UTC()
}

// columns reads what columns wrote, into values, and returns the caller's bits
// and whether any column is another.
func (i *in) columns(values []uint64, durations, lists int) (own uint64, changed bool) {
	mask := i.uvarint()
	own = mask & (1<<lists - 1)
	groups := mask >> lists
	if groups == 0 {
		return own, false
	}
	if bits.Len64(groups) > (len(values)+7)/8 {
		i.fail(errMalformed)
		return 0, false
	}
	for ; groups != 0; groups &= groups - 1 {
		g := 8 * bits.TrailingZeros64(groups)
		which := uint(i.byte())
		if g+bits.Len(which) > len(values) {
			i.fail(errMalformed)
			return 0, false
		}
		for ; which != 0; which &= which - 1 {
			at := g + bits.TrailingZeros(which)
			if at >= durations {
				values[at] += uint64(i.varint())
				continue
			}
			diff := i.uvarint()
			if diff == 1 {
				values[at] += uint64(i.varint())
			} else if diff&1 == 0 {
				values[at] += uint64(unzigzag(diff>>1) * millisecond)
			} else {
				i.fail(errMalformed)
			}
		}
	}
	return own, i.err == nil
}
