package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
)

// The shapes of a range, two bits each: most are zero, and many are constant.
const (
	shapeZero     = 0
	shapeConstant = 1 // one number
	shapeRange    = 2 // least and greatest, and where between them the mean is
	shapeOwn      = 3 // the same, with looks of its own before
)

// AppendMinute writes a minute behind to. Whole numbers are exact; of others the
// least is rounded down and the greatest up, by 1.6 % at most, so that what was
// within them still is. The mean is within 0.2 % of the way between.
//
// Version 1: the version, the minute since 1970, the number of rows; of each row
// its name, its looks, which signals it has, their shapes, their numbers and
// their sketches.
func AppendMinute(to []byte, m *Minute) []byte {
	to = append(to, wireVersion)
	to = binary.AppendVarint(to, m.Start.Unix()/60)
	rows := m.Scopes[:min(len(m.Scopes), mostRows)]
	to = binary.AppendUvarint(to, uint64(len(rows)))
	var before named
	var signals [numKinds][]Range
	looks := 0
	for i := range rows {
		row := &rows[i]
		flags := byte(0)
		if sameRanges(signals[row.Scope.Kind], row.Ranges) {
			flags |= sameSignals
		}
		signals[row.Scope.Kind] = row.Ranges
		usual := usualLooks(row.Ranges)
		if usual == looks {
			flags |= sameLooks
		}
		looks = usual
		to = before.append(to, flags, row.Scope, row.Group)
		to = row.append(to, flags, looks)
	}
	return to
}

// usualLooks is how many looks most signals of a row rest on.
func usualLooks(ranges []Range) int {
	most, usual := 0, 0
	for i := range ranges {
		if i > 0 && ranges[i].Looks == ranges[i-1].Looks {
			continue // counted already
		}
		n := 0
		for j := range ranges {
			if ranges[j].Looks == ranges[i].Looks {
				n++
			}
		}
		if n > most {
			most, usual = n, ranges[i].Looks
		}
	}
	return usual
}

func sameRanges(a, b []Range) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Signal != b[i].Signal {
			return false
		}
	}
	return true
}

func (r *Range) shape(looks int) byte {
	switch {
	case r.Looks != looks:
		return shapeOwn
	case r.Least != r.Greatest || r.Least != math.Trunc(r.Least) || r.Least < 0:
		return shapeRange
	case r.Least == 0:
		return shapeZero
	}
	return shapeConstant
}

func (row *Row) append(to []byte, flags byte, looks int) []byte {
	if flags&sameLooks == 0 {
		to = binary.AppendUvarint(to, uint64(looks))
	}
	if flags&sameSignals == 0 {
		to = binary.AppendUvarint(to, uint64(len(row.Ranges)))
		last := -1
		for i := range row.Ranges {
			to = appendSignal(to, &last, row.Ranges[i].Signal)
		}
	}
	shapes := len(to)
	to = append(to, make([]byte, (len(row.Ranges)+3)/4)...)
	for i := range row.Ranges {
		r := &row.Ranges[i]
		shape := r.shape(looks)
		to[shapes+i/4] |= shape << (2 * (i % 4))
		switch shape {
		case shapeZero:
		case shapeConstant:
			to = appendNumber(to, r.Least, down)
		default:
			to = r.append(to, shape == shapeOwn)
		}
	}
	to = binary.AppendUvarint(to, uint64(len(row.Sketches)))
	at := 0
	for i := range row.Sketches {
		s := &row.Sketches[i]
		for row.Ranges[at].Signal != s.Signal {
			at++
		}
		// Which range it is of, and whether the range says it all.
		r := &row.Ranges[at]
		all := s.Sketch.isAll(r)
		to = binary.AppendUvarint(to, uint64(at)<<1|all)
		if all == 0 {
			to = s.Sketch.append(to)
		}
	}
	return to
}

// constantSketch is the sketch of a range that is one whole number.
func (r *Range) constantSketch() (s Sketch, ok bool) {
	if r.Least != r.Greatest || r.Least != math.Trunc(r.Least) || r.Least < 0 || r.Least > 1<<40 {
		return Sketch{}, false
	}
	if r.Least == 0 {
		return Sketch{Zeros: uint32(r.Looks)}, true
	}
	s.Add(r.Least)
	s.Bins[0].Count = uint32(r.Looks)
	return s, true
}

// isAll is 1 where the sketch is what its range says already, else 0.
func (s *Sketch) isAll(r *Range) uint64 {
	if r.Least != r.Greatest || len(s.Bins) > 1 {
		return 0
	}
	c, ok := r.constantSketch()
	if !ok || c.Zeros != s.Zeros || len(c.Bins) != len(s.Bins) || len(c.Bins) == 1 && c.Bins[0] != s.Bins[0] {
		return 0
	}
	return 1
}

func (r *Range) append(to []byte, own bool) []byte {
	if own {
		to = binary.AppendUvarint(to, uint64(r.Looks))
	}
	to = appendNumber(to, r.Least, down)
	to = appendNumber(to, r.Greatest, up)
	place := byte(0)
	least := rounded(r.Least, down)
	if wide := rounded(r.Greatest, up) - least; wide > 0 {
		place = byte(math.Round(min(max((r.Mean-least)/wide, 0), 1) * 255))
	}
	return append(to, place)
}

func (rd *reader) readRange(r *Range, own bool) {
	if own {
		r.Looks = rd.upTo(math.MaxInt32, "looks")
	}
	r.Least, r.Greatest = rd.number(), rd.number()
	if r.Greatest < r.Least {
		rd.fail(errors.New("a greatest value below the least"))
	}
	r.Mean = r.Least + float64(rd.byte())/255*(r.Greatest-r.Least)
}

// DecodeMinute reads what AppendMinute wrote. Bytes of another version give
// ErrVersion; any that are not whole give an error and no minute.
func DecodeMinute(data []byte) (*Minute, error) {
	r := &reader{data: data}
	n, start := r.begin()
	m := &Minute{Start: time.Unix(60*start, 0).UTC()}
	var before named
	var signals [numKinds][]measure.Signal
	looks := 0
	for range n {
		flags, id, group := before.read(r)
		row := Row{Scope: id, Group: group}
		if flags&sameLooks == 0 {
			looks = r.upTo(math.MaxInt32, "looks")
		}
		if flags&sameSignals == 0 {
			signals[id.Kind] = r.signals()
		}
		row.read(r, signals[id.Kind], looks)
		if r.err != nil {
			break
		}
		m.Scopes = append(m.Scopes, row)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("read a minute: %w", err)
	}
	return m, nil
}

// mostWhen bounds times, so that none is out of what a time.Time takes.
const mostWhen = 1 << 40

// begin reads what a minute and an hour begin with.
func (r *reader) begin() (rows int, start int64) {
	if len(r.data) > 0 && r.data[0] != wireVersion {
		r.fail(fmt.Errorf("%w: version %d, this one reads %d", ErrVersion, r.data[0], wireVersion))
		return 0, 0
	}
	r.byte()
	if start = r.varint(); start < -mostWhen || start > mostWhen {
		r.fail(errors.New("a time that cannot be"))
		return 0, 0
	}
	return r.upTo(mostRows, "rows"), start
}

func (r *reader) end() error {
	if r.err == nil && len(r.data) > 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.data))
	}
	return r.err
}

func (r *reader) signals() []measure.Signal {
	n := r.upTo(uint64(measure.NumSignals), "signals")
	var out []measure.Signal
	var seen [measure.NumSignals]bool
	last := -1
	for range n {
		sig := r.signal(&last)
		if seen[sig] {
			r.fail(errors.New("a signal that comes twice"))
		}
		if r.err != nil {
			return nil
		}
		seen[sig] = true
		out = append(out, sig)
	}
	return out
}

func (row *Row) read(r *reader, signals []measure.Signal, looks int) {
	shapes := r.bytes((len(signals) + 3) / 4)
	if r.err != nil {
		return
	}
	for i, sig := range signals {
		one := Range{Signal: sig, Looks: looks}
		switch shape := shapes[i/4] >> (2 * (i % 4)) & 3; shape {
		case shapeZero:
		case shapeConstant:
			v := r.number()
			one.Least, one.Mean, one.Greatest = v, v, v
		default:
			r.readRange(&one, shape == shapeOwn)
		}
		if one.Looks == 0 && r.err == nil {
			r.fail(errors.New("a range without a look"))
		}
		row.Ranges = append(row.Ranges, one)
	}
	before := -1
	for range r.upTo(uint64(len(signals)), "sketches") {
		v := r.uvarint()
		at, all := int(min(v>>1, math.MaxInt32)), v&1 == 1
		if r.err != nil || at <= before || at >= len(row.Ranges) {
			r.fail(errors.New("a sketch of no signal"))
			return
		}
		before = at
		s := Sampled{Signal: row.Ranges[at].Signal}
		if all {
			var ok bool
			if s.Sketch, ok = row.Ranges[at].constantSketch(); !ok {
				r.fail(errors.New("a sketch of a range that is none"))
				return
			}
		} else {
			s.Sketch = r.sketch()
		}
		row.Sketches = append(row.Sketches, s)
	}
}
