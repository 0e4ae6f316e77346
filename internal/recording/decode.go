package recording

import (
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Decoder reads segments, one after the other. What it reads is in memory of
// its own, which the next record takes over: a decoder that has seen one look
// of each kind allocates next to nothing. It is not safe for concurrent use.
type Decoder struct {
	open opener
	in   in
	left int // records that the segment still has

	texts   map[string]string // of all segments, so that a name is allocated once
	strings []string
	scopes  []named
	streams []*decoded
	spare   []*decoded // of earlier segments
	memory  int
	kept    int // memory of earlier segments that is held for the next ones, at most
	at      time.Time
	offset  time.Duration
	began   time.Time

	opinions []measure.Opinion
	answers  []measure.Answered
	version  uint8
	norms    []measure.Norm
	batch    []tcp.Socket
	socket   tcp.Socket // the last of the batches
	list     []int
}

// decoded is what is remembered of a stream.
type decoded struct {
	key     stream
	values  [lookColumns]uint64
	reader  string
	filter  tcp.Filter
	since   time.Duration
	tallies []measure.Tally
	last    []last
}

// maxTexts is how many strings are kept for the segments that follow.
const maxTexts = 1 << 14

// NewDecoder returns a Decoder without a segment.
func NewDecoder() *Decoder {
	return &Decoder{open: newOpener(), texts: map[string]string{}}
}

// Decode hands the steps of one segment to each, in order; a step is good until
// each returns. Frames are passed over. An error of each ends it and is
// returned; any other says what is wrong with the segment (see Decoder.Reset).
func Decode(data []byte, each func(measure.Step) error) error {
	d := NewDecoder()
	if err := d.Reset(data); err != nil {
		return err
	}
	for {
		r, err := d.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Frame == nil {
			if err := each(r.Step); err != nil {
				return err
			}
		}
	}
}

// Reset begins to read a segment, of which it keeps nothing. The error is
// ErrDamaged where its bytes are not those that were sealed, ErrVersion where a
// later foreshock wrote it, or says that it is too large.
func (d *Decoder) Reset(data []byte) error {
	d.in, d.left = in{}, 0
	raw, h, err := d.open.open(data)
	if err != nil {
		return err
	}
	if len(d.texts) > maxTexts {
		clear(d.texts)
	}
	d.in, d.left = in{b: raw}, h.records
	d.spare = append(d.spare, d.streams...)
	if d.kept += d.memory; d.kept > maxMemory {
		// Each segment may have grown another part of what is held: in honest
		// recordings this comes once in hundreds of segments.
		d.spare, d.streams, d.kept = nil, nil, 0
	}
	d.strings, d.scopes, d.memory, d.socket = d.strings[:0], d.scopes[:0], 0, tcp.Socket{}
	d.streams = d.streams[:0]
	d.at = d.in.time(time.Unix(0, 0))
	d.offset = time.Duration(d.in.varint())
	d.began = time.Time{}
	d.version = h.version
	if h.version >= versionBegan {
		d.began = d.in.time(time.Unix(0, 0))
	}
	return d.in.err
}

// Record is a step or, in recordings with sockets, a frame.
type Record struct {
	Step  measure.Step
	Frame *Frame // nil for a step
}

// Next returns the next record, good until the next call. At the end of the
// segment the error is io.EOF.
func (d *Decoder) Next() (Record, error) {
	if d.left == 0 {
		if d.in.err == nil && len(d.in.b) > 0 {
			d.in.fail(errMalformed)
		}
		if d.in.err != nil {
			return Record{}, d.in.err
		}
		return Record{}, io.EOF
	}
	d.left--
	tag := d.in.byte()
	d.at = d.in.time(d.at)
	var r Record
	switch tag {
	case tagStep:
		r.Step = d.step()
	case tagLeft:
		r.Step = measure.Step{Namespace: d.string(), Left: true}
	case tagScopes, tagCapacity, tagPorts, tagBegin, tagBatch, tagEnd:
		r.Frame = d.frame(tag)
	default:
		d.in.fail(errMalformed)
	}
	if d.in.err != nil {
		d.left = 0
		return Record{}, d.in.err
	}
	if r.Frame != nil {
		r.Frame.At, r.Frame.Offset = d.at, d.offset
	} else {
		r.Step.At, r.Step.Offset, r.Step.Began = d.at, d.offset, d.began
	}
	return r, nil
}

// text returns raw as a string that earlier ones share.
func (d *Decoder) text(raw []byte) string {
	s, known := d.texts[string(raw)]
	if !known {
		s = string(raw)
		d.texts[s] = s
	}
	return s
}

func (d *Decoder) string() string {
	n := d.in.uvarint()
	if n == uint64(len(d.strings)) {
		d.strings = append(d.strings, d.text(d.in.bytes()))
	}
	if n >= uint64(len(d.strings)) {
		d.in.fail(errMalformed)
		return ""
	}
	return d.strings[n]
}

// scope reads the number of a scope, which is told from the one before.
func (d *Decoder) scope(before int) (number int) {
	n := int64(before) + d.in.varint()
	if n < 0 || n > int64(len(d.scopes)) {
		d.in.fail(errMalformed)
	}
	if d.in.err != nil {
		return -1
	}
	if n == int64(len(d.scopes)) {
		var s named
		s.id.Kind = scope.Kind(d.in.byte())
		s.id.Name, s.id.Namespace, s.group = d.string(), d.string(), d.string()
		d.scopes = append(d.scopes, s)
	}
	return int(n)
}

// scopeID is the ID of a scope that was read; zero when it could not be.
func (d *Decoder) scopeID(number int) scope.ID {
	if number < 0 {
		return scope.ID{}
	}
	return d.scopes[number].id
}

// stream reads which stream a look is of.
func (d *Decoder) stream(of byte) *decoded {
	n := d.in.uvarint()
	if n == uint64(len(d.streams)) && n < maxStreams {
		key := stream{d.string(), tcp.Tier(d.in.byte()), of}
		d.streams = append(d.streams, d.fresh(key))
	}
	if n >= uint64(len(d.streams)) || d.streams[n].key.of != of {
		d.in.fail(errMalformed)
		return &decoded{}
	}
	return d.streams[n]
}

// fresh returns a stream that remembers nothing, in the memory of one of an
// earlier segment: that of the same name, where there is one.
func (d *Decoder) fresh(key stream) *decoded {
	if len(d.spare) == 0 {
		return &decoded{key: key}
	}
	at := max(0, slices.IndexFunc(d.spare, func(s *decoded) bool { return s.key == key }))
	s := d.spare[at]
	d.spare = slices.Delete(d.spare, at, at+1)
	for i := range s.last {
		s.last[i].forget()
	}
	*s = decoded{key: key, tallies: s.tallies[:0], last: s.last[:0]}
	return s
}

func (d *Decoder) step() measure.Step {
	of := d.stream(tagStep)
	t, own := d.header(of)
	if own&headerScopes != 0 {
		d.readScopes(of)
	}
	if own&headerNoScopes == 0 && len(of.tallies) > 0 {
		d.tallies(of)
		t.Scopes = of.tallies
	}
	if own&headerOpinions != 0 {
		t.Opinions = d.readOpinions()
	}
	if own&headerNorms != 0 {
		t.Norms = d.readNorms()
	}
	if own&headerAnswers != 0 {
		t.Answers = d.readAnswers()
	}
	return measure.Step{Namespace: of.key.namespace, Tallies: t}
}

// header reads a look's header and the bits that say what follows it.
func (d *Decoder) header(of *decoded) (t measure.Tallies, own uint64) {
	bits := headerBits
	if d.version < versionSwitches {
		bits--
	}
	own, _ = d.in.columns(of.values[:], 0, bits)
	x := columns{values: of.values[:], load: true}
	x.look(&t.Look, &t.Interval, d.at)
	if x.lost != 0 {
		d.in.fail(errMalformed)
	}
	if own&headerReader != 0 {
		of.reader = d.string()
	}
	if own&headerFilter != 0 {
		of.filter = tcp.Filter{LocalPorts: d.ports(), RemotePorts: d.ports(), RemotePrefixes: d.prefixes()}
		if d.version >= versionSwitches {
			of.filter.LocalPrefixes = d.prefixes()
		}
	}
	t.Look.Reader, t.Look.Request.Filter = of.reader, of.filter
	return t, own
}

func (d *Decoder) ports() []uint16 {
	n := d.in.count(maxMany)
	if n == 0 {
		return nil
	}
	out := make([]uint16, n)
	for i := range out {
		port := d.in.uvarint()
		if port > math.MaxUint16 {
			d.in.fail(errMalformed)
		}
		out[i] = uint16(port)
	}
	return out
}

// spend counts memory, and reports whether there is so much.
func (d *Decoder) spend(memory int) bool {
	d.memory += memory
	if d.memory > maxMemory {
		d.in.fail(errLarge)
	}
	return d.in.err == nil
}

// readScopes reads a list of scopes, and puts what is remembered of each into
// its order.
func (d *Decoder) readScopes(of *decoded) {
	n := d.in.count(maxMemory / tallyMemory)
	d.list = d.list[:0]
	before := -1
	for range n {
		before = d.scope(before)
		d.list = append(d.list, before)
	}
	if d.in.err != nil {
		return
	}
	after, added := rearrange(of.last, d.list)
	if !d.spend(added * tallyMemory) {
		return
	}
	of.last, of.tallies = after, slices.Grow(of.tallies[:0], n)[:n]
	for i := range after {
		s, l, y := &d.scopes[d.list[i]], &after[i], &of.tallies[i]
		*y = measure.Tally{Scope: s.id, Group: s.group, Behind: l.behind, Prefixes: l.prefixes, Examples: l.examples, Region: l.region, Destinations: l.destinations}
		x := columns{values: l.values[:], load: true}
		x.tally(y)
	}
}

// tallies reads what changed in each.
func (d *Decoder) tallies(of *decoded) {
	of.since += time.Duration(d.in.varint())
	for i := range of.tallies {
		y, l := &of.tallies[i], &of.last[i]
		own, changed := d.in.columns(l.values[:], tallyDurations, listBits)
		if changed {
			x := columns{values: l.values[:], load: true}
			x.tally(y)
			if x.lost != 0 {
				d.in.fail(errMalformed)
			}
		}
		if y.Flows.Known {
			y.Flows.Since = time.Duration(l.values[0]) + of.since
		}
		if own != 0 {
			d.lists(y, l, own)
		}
		if d.in.err != nil {
			return
		}
	}
}
