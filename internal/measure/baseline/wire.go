package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// wireVersion is the first byte of what is stored.
const wireVersion = 1

// The most of anything in what is read, far above what is ever written.
const (
	mostRows = 16 * 1024
	mostName = 1024    // bytes
	mostBins = 1 << 14 // of one sketch: more than there are between the bounds
)

// mostNumber is the largest that is read, so that differences stay numbers.
const mostNumber = 1e300

// ErrVersion is what bytes of another version of the program give.
var ErrVersion = errors.New("written by another version of foreshock")

var errShort = errors.New("cut short")

// reader reads what the append functions wrote. The first error stays, and what
// follows reads as zero.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.data = nil
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.fail(errShort)
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	if len(r.data) > 0 && r.data[0] < 0x80 { // nearly always
		v := uint64(r.data[0])
		r.data = r.data[1:]
		return v
	}
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.data = r.data[n:]
	return v
}

// upTo reads a number that is at most most.
func (r *reader) upTo(most uint64, what string) int {
	v := r.uvarint()
	if v > most {
		r.fail(fmt.Errorf("%s: %d is more than %d", what, v, most))
		return 0
	}
	return int(v)
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.data) {
		r.fail(errShort)
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes(r.upTo(mostName, "length of a name"))) }

func appendText(to []byte, text string) []byte {
	text = text[:min(len(text), mostName)]
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

// named is what one row's name is written beside: the row before.
type named struct {
	scope scope.ID
	group string
}

// Flags of a row, above the three bits of the kind of its scope.
const (
	kindBits      = 0b0111
	sameNamespace = 1 << 3
	sameGroup     = 1 << 4
	sameSignals   = 1 << 5 // as in the last row of its kind
	sameLooks     = 1 << 6 // as in the row before
)

// appendNamed writes the name of a row, but for what it shares with that of the
// row before.
func (before *named) append(to []byte, flags byte, id scope.ID, group string) []byte {
	flags |= byte(id.Kind)
	if id.Namespace == before.scope.Namespace {
		flags |= sameNamespace
	}
	if group == before.group {
		flags |= sameGroup
	}
	to = append(to, flags)
	shared := 0
	name := id.Name[:min(len(id.Name), mostName)]
	for shared < min(len(name), len(before.scope.Name)) && name[shared] == before.scope.Name[shared] {
		shared++
	}
	to = appendText(binary.AppendUvarint(to, uint64(shared)), name[shared:])
	if flags&sameNamespace == 0 {
		to = appendText(to, id.Namespace)
	}
	if flags&sameGroup == 0 {
		to = appendText(to, group)
	}
	id.Name = name
	before.scope, before.group = id, group
	return to
}

func (before *named) read(r *reader) (flags byte, id scope.ID, group string) {
	flags = r.byte()
	id = scope.ID{Kind: scope.Kind(flags & kindBits), Namespace: before.scope.Namespace}
	if int(id.Kind) >= numKinds {
		r.fail(fmt.Errorf("kind %d of a scope", id.Kind))
		return 0, scope.ID{}, ""
	}
	shared := r.upTo(uint64(len(before.scope.Name)), "shared length of a name")
	id.Name = before.scope.Name
	if rest := r.text(); rest != "" || shared < len(id.Name) {
		id.Name = id.Name[:shared] + rest
	}
	if len(id.Name) > mostName {
		r.fail(errors.New("a name is too long"))
	}
	if flags&sameNamespace == 0 {
		id.Namespace = r.text()
	}
	group = before.group
	if flags&sameGroup == 0 {
		group = r.text()
	}
	before.scope, before.group = id, group
	return flags, id, group
}

// append writes a sketch.
func (s *Sketch) append(to []byte) []byte {
	to = binary.AppendUvarint(to, uint64(s.Zeros))
	to = binary.AppendUvarint(to, uint64(len(s.Bins)))
	before := int32(0)
	for i, b := range s.Bins {
		if i == 0 {
			to = binary.AppendVarint(to, int64(b.Index))
			to = binary.AppendUvarint(to, uint64(b.Count))
		} else {
			// Bins lie near each other and hold little: the gap and a count below
			// four share a byte.
			few := min(b.Count-1, 3)
			to = binary.AppendUvarint(to, uint64(b.Index-before-1)<<2|uint64(few))
			if few == 3 {
				to = binary.AppendUvarint(to, uint64(b.Count-4))
			}
		}
		before = b.Index
	}
	return to
}

func (r *reader) sketch() (s Sketch) {
	s.Zeros = uint32(r.upTo(math.MaxUint32, "zeros"))
	n := r.upTo(mostBins, "bins")
	if n > len(r.data) { // each takes a byte at least
		r.fail(errShort)
		return Sketch{}
	}
	if n > 0 {
		s.Bins = make([]Bin, 0, n)
	}
	for i := range n {
		var index int64
		var count uint64
		if i == 0 {
			index, count = r.varint(), r.uvarint()
		} else {
			v := r.uvarint()
			index, count = int64(s.Bins[i-1].Index)+1+int64(min(v>>2, math.MaxInt32)), v&3+1
			if count == 4 {
				count += min(r.uvarint(), math.MaxUint32)
			}
		}
		if r.err == nil && (index < int64(leastBin) || index > int64(mostBin) || count == 0 || count > math.MaxUint32) {
			r.fail(errors.New("a bin that cannot be"))
		}
		if r.err != nil {
			return Sketch{}
		}
		s.Bins = append(s.Bins, Bin{int32(index), uint32(count)})
	}
	return s
}

// skipSketch passes over a sketch; what is wrong within it is not seen.
func (r *reader) skipSketch() {
	r.uvarint()
	for i := range r.upTo(mostBins, "bins") {
		switch {
		case r.err != nil:
			return
		case i == 0:
			r.varint()
			r.uvarint()
		case r.uvarint()&3 == 3:
			r.uvarint()
		}
	}
}

// appendSignal writes a signal as the gap to the one before; before is -1 at
// first. Signals go up by their numbers in what is stored.
func appendSignal(to []byte, before *int, sig measure.Signal) []byte {
	n := sig.Stored()
	to = binary.AppendVarint(to, int64(n-*before-1))
	*before = n
	return to
}

func (r *reader) signal(before *int) measure.Signal {
	n := int64(*before) + 1 + r.varint()
	sig, known := measure.StoredSignal(int(n))
	if !known {
		r.fail(fmt.Errorf("signal number %d", n))
		return 0
	}
	*before = int(n)
	return sig
}

// The forms of a number, in the two lowest bits.
const (
	formWhole    = 0 // not negative
	formShort    = 1 // see short
	formExact    = 2 // eight bytes follow
	formNegative = 3 // short, less than zero
)

// A short number has six bits of exponent and six behind the first of its
// digits, so two bytes with its form: within 1.6 %, from a millionth to ten
// trillion.
const (
	shortBits  = 6
	shortLeast = -20
	shortMost  = shortLeast + 63
)

type rounding int8

const (
	down rounding = -1
	up   rounding = 1
)

// appendNumber writes a number, rounded the given way where it takes more than
// two bytes exactly. Rounded numbers are written as they are.
func appendNumber(to []byte, v float64, way rounding) []byte {
	if isWhole(v) {
		return binary.AppendUvarint(to, uint64(v)<<2|formWhole)
	}
	form := uint64(formShort)
	if v < 0 {
		form = formNegative
	}
	if short, ok := shorten(v, way); ok {
		return binary.AppendUvarint(to, short<<2|form)
	}
	v = min(max(v, -mostNumber), mostNumber)
	return binary.LittleEndian.AppendUint64(append(to, formExact), math.Float64bits(v))
}

// rounded is what a number reads as, once written.
func rounded(v float64, way rounding) float64 {
	if short, ok := shorten(v, way); ok && !isWhole(v) {
		return math.Copysign(lengthen(short), v)
	}
	return min(max(v, -mostNumber), mostNumber)
}

func isWhole(v float64) bool {
	return v >= 0 && v < 1<<40 && v == math.Trunc(v) && !math.Signbit(v)
}

// shorten is the short form of a number's amount.
func shorten(v float64, way rounding) (short uint64, ok bool) {
	away := (way == up) == (v > 0)
	fraction, exponent := math.Frexp(math.Abs(v)) // fraction × 2^exponent, fraction in [½, 1)
	digits := (fraction - 0.5) * (2 << shortBits)
	whole := math.Floor(digits)
	if away {
		whole = math.Ceil(digits)
	}
	if whole == 1<<shortBits {
		whole, exponent = 0, exponent+1
	}
	if v == 0 || exponent < shortLeast || exponent > shortMost {
		return 0, false
	}
	return uint64(exponent-shortLeast)<<shortBits | uint64(whole), true
}

func (r *reader) number() float64 {
	v := r.uvarint()
	switch v & 3 {
	case formWhole:
		return float64(v >> 2)
	case formExact:
		if v != formExact {
			r.fail(errors.New("a number that cannot be"))
		}
		b := r.bytes(8)
		if b == nil {
			return 0
		}
		exact := math.Float64frombits(binary.LittleEndian.Uint64(b))
		if !(math.Abs(exact) <= mostNumber) {
			r.fail(errors.New("no number that was ever measured"))
			return 0
		}
		return exact
	}
	short := v >> 2
	if short>>(shortBits+6) != 0 {
		r.fail(errors.New("a number that cannot be"))
		return 0
	}
	if v&3 == formNegative {
		return -lengthen(short)
	}
	return lengthen(short)
}

// lengthen is the amount that a short form stands for.
func lengthen(short uint64) float64 {
	fraction := 0.5 + float64(short&(1<<shortBits-1))/(2<<shortBits)
	return math.Ldexp(fraction, int(short>>shortBits)+shortLeast)
}
