package recording

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Limits says when a segment is finished.
type Limits struct {
	// Span is the longest time from its first step to its last; zero is 10 s. Who
	// is killed loses no more than that.
	Span time.Duration
	// Size is how many bytes it holds before it is compressed; the step that
	// reaches it is the last. Zero is 256 KiB.
	Size int
}

// The defaults of Limits.
const (
	defaultSpan = 10 * time.Second
	defaultSize = 256 << 10
)

// Encoder turns steps into segments. Within a segment each tally is told as
// what changed since the last one of the same scope and kind of look. It is not
// safe for concurrent use.
type Encoder struct {
	limits Limits
	seal   sealer

	out     out
	strings map[string]int
	scopes  map[named]int
	streams map[stream]*encoded
	numbers int // of streams in the segment under way
	records int
	memory  int       // what decoding the segment takes, about
	first   time.Time // of the records of the segment under way
	at      time.Time // of the last
	offset  time.Duration
	began   time.Time  // of the last step's run
	socket  tcp.Socket // the last of the batches
	told    map[string]*told

	list []int // reused
}

// encoded is what is remembered of a stream.
type encoded struct {
	number  int // in the segment under way; -1 is not in it
	values  [lookColumns]uint64
	reader  string
	filter  tcp.Filter
	since   time.Duration
	tallies []last
	idle    int // how many segments it was not in, on end
}

// NewEncoder returns an Encoder that has been told nothing.
func NewEncoder(limits Limits) *Encoder {
	if limits.Span <= 0 {
		limits.Span = defaultSpan
	}
	if limits.Size <= 0 {
		limits.Size = defaultSize
	}
	return &Encoder{
		limits: limits, seal: newSealer(), strings: map[string]int{}, scopes: map[named]int{}, streams: map[stream]*encoded{}, told: map[string]*told{},
	}
}

// Add takes one step; it keeps nothing of it. Where the segment under way was
// full, or the clock was set since its last step, or that was of another run, it
// is finished first and returned, else nil. An error says that this step holds more than a segment
// can, and is left out; what came before it is not lost.
func (e *Encoder) Add(s measure.Step) (finished *Segment, err error) {
	finished = e.begin(s.At, s.Offset, s.Began)
	bytes, records := len(e.out.b), e.records
	if s.Left {
		e.record(tagLeft, s.At)
		e.string(s.Namespace)
		delete(e.told, s.Namespace)
	} else if err := fits(&s.Tallies); err != nil {
		return finished, err
	} else {
		e.step(&s)
	}
	return e.end(finished, bytes, records)
}

// Flush finishes the segment under way; nil when there is none.
func (e *Encoder) Flush() *Segment {
	if e.records == 0 {
		return nil
	}
	out := &Segment{From: e.first.Add(e.offset), To: e.at.Add(e.offset)}
	out.Data = e.seal.seal(e.out.b, out.From, out.To, e.records)
	e.forget()
	return out
}

// forget begins a segment in which nothing is known.
func (e *Encoder) forget() {
	e.out.b, e.records, e.numbers, e.memory = e.out.b[:0], 0, 0, 0
	clear(e.strings)
	clear(e.scopes)
	e.socket = tcp.Socket{}
	for key, s := range e.streams {
		if s.number < 0 {
			if s.idle++; s.idle > 3 {
				delete(e.streams, key) // its namespace has gone
			}
			continue
		}
		for i := range s.tallies {
			s.tallies[i].forget()
		}
		*s = encoded{number: -1, tallies: s.tallies[:0]}
	}
	for _, t := range e.told {
		t.inSegment = false
	}
}

// begin makes room for a record at that time, and returns the segment that was
// finished for it.
func (e *Encoder) begin(at time.Time, offset time.Duration, began time.Time) *Segment {
	var finished *Segment
	if e.records > 0 && (len(e.out.b) >= e.limits.Size || e.memory > maxMemory/2 || e.numbers == maxStreams || at.Sub(e.first) >= e.limits.Span || offset != e.offset || !began.Equal(e.began)) {
		finished = e.Flush()
	}
	if e.records == 0 {
		e.out.b = e.out.b[:0]
		e.first, e.at, e.offset, e.began = at, at, offset, began
		e.out.time(at, time.Unix(0, 0))
		e.out.varint(int64(offset))
		e.out.time(began, time.Unix(0, 0))
	}
	return finished
}

// record begins a record.
func (e *Encoder) record(tag byte, at time.Time) {
	e.out.byte(tag)
	e.out.time(at, e.at)
	e.at = at
	e.records++
}

// end refuses what makes a segment larger than one may be: alone, or behind
// others, which then are finished without it. The segment had so many bytes and
// records before.
func (e *Encoder) end(finished *Segment, bytes, records int) (*Segment, error) {
	if len(e.out.b) <= maxRaw {
		return finished, nil
	}
	size := len(e.out.b) - bytes
	e.out.b, e.records = e.out.b[:bytes], records
	if e.records > 0 {
		finished = e.Flush() // there was none before: this one would have begun anew
	} else {
		e.forget()
	}
	return finished, fmt.Errorf("record a step: it takes %d bytes, and a segment holds %d at most: it was left out", size, maxRaw)
}

// fits reports what of a step a segment cannot hold.
func fits(t *measure.Tallies) error {
	if most := max(len(t.Opinions), len(t.Norms), len(t.Answers)); most > maxMany {
		return fmt.Errorf("record a step: it has %d opinions or norms, and at most %d are recorded: it was left out", most, maxMany)
	}
	memory := len(t.Scopes) * tallyMemory
	for i := range t.Scopes {
		y := &t.Scopes[i]
		most := max(len(y.Behind), len(y.Prefixes), len(y.Examples), len(y.Destinations))
		if most > maxList {
			return fmt.Errorf("record a step: %s has a list of %d, and at most %d are recorded: the step was left out", y.Scope, most, maxList)
		}
		memory += most * listMemory
	}
	if memory > maxMemory/2 {
		return fmt.Errorf("record a step: its %d scopes are more than a segment holds: it was left out", len(t.Scopes))
	}
	return nil
}

// string writes a string: its number in the segment's table, and where it is
// new the string.
func (e *Encoder) string(s string) {
	n, known := e.strings[s]
	if !known {
		n = len(e.strings)
		e.strings[s] = n
	}
	e.out.uvarint(uint64(n))
	if !known {
		e.out.bytes([]byte(s))
	}
}

// scope returns the number of a scope in the segment's table, and whether it is
// new there.
func (e *Encoder) scope(key named) (number int, isNew bool) {
	n, known := e.scopes[key]
	if !known {
		n = len(e.scopes)
		e.scopes[key] = n
	}
	return n, !known
}

// putScope writes a scope: how far its number is from the one before, and where
// it is new what it is.
func (e *Encoder) putScope(key named, before int) (number int) {
	number, isNew := e.scope(key)
	e.out.varint(int64(number - before))
	if isNew {
		e.out.byte(byte(key.id.Kind))
		e.string(key.id.Name)
		e.string(key.id.Namespace)
		e.string(key.group)
	}
	return number
}

// stream writes which stream a look is of, and returns what is remembered of it.
func (e *Encoder) stream(key stream) *encoded {
	s := e.streams[key]
	if s == nil {
		s = &encoded{number: -1}
		e.streams[key] = s
	}
	if s.number >= 0 {
		e.out.uvarint(uint64(s.number))
		return s
	}
	s.number, s.idle = e.numbers, 0
	e.numbers++
	e.out.uvarint(uint64(s.number))
	e.string(key.namespace)
	e.out.byte(byte(key.tier))
	return s
}

func (e *Encoder) step(s *measure.Step) {
	t := &s.Tallies
	e.record(tagStep, s.At)
	of := e.stream(stream{s.Namespace, t.Look.Request.Tier, tagStep})
	own := uint64(0)
	switch {
	case len(t.Scopes) == 0 && len(of.tallies) > 0:
		own |= headerNoScopes
	case !e.sameScopes(of.tallies, t.Scopes):
		own |= headerScopes
	}
	if len(t.Opinions) > 0 {
		own |= headerOpinions
	}
	if len(t.Norms) > 0 {
		own |= headerNorms
	}
	if len(t.Answers) > 0 {
		own |= headerAnswers
	}
	e.header(of, &t.Look, &t.Interval, own)
	if own&headerScopes != 0 {
		e.putScopes(of, t.Scopes)
	}
	if len(t.Scopes) > 0 {
		e.tallies(of, t.Scopes)
	}
	if own&headerOpinions != 0 {
		e.opinions(t.Opinions)
	}
	if own&headerNorms != 0 {
		e.norms(t.Norms)
	}
	if own&headerAnswers != 0 {
		e.answers(t.Answers)
	}
}

// header writes what changed in a look's header.
func (e *Encoder) header(of *encoded, l *tcp.Look, interval *time.Duration, own uint64) {
	if l.Reader != of.reader {
		own |= headerReader
	}
	filter := l.Request.Filter
	if !slices.Equal(filter.LocalPorts, of.filter.LocalPorts) || !slices.Equal(filter.RemotePorts, of.filter.RemotePorts) ||
		!slices.Equal(filter.RemotePrefixes, of.filter.RemotePrefixes) || !slices.Equal(filter.LocalPrefixes, of.filter.LocalPrefixes) {
		own |= headerFilter
	}
	var now [lookColumns]uint64
	x := columns{values: now[:]}
	x.look(l, interval, e.at)
	e.out.columns(of.values[:], now[:], 0, own, headerBits)
	if own&headerReader != 0 {
		of.reader = l.Reader
		e.string(l.Reader)
	}
	if own&headerFilter != 0 {
		of.filter = tcp.Filter{
			LocalPorts: slices.Clone(filter.LocalPorts), RemotePorts: slices.Clone(filter.RemotePorts),
			RemotePrefixes: slices.Clone(filter.RemotePrefixes), LocalPrefixes: slices.Clone(filter.LocalPrefixes),
		}
		e.ports(filter.LocalPorts)
		e.ports(filter.RemotePorts)
		e.prefixes(filter.RemotePrefixes)
		e.prefixes(filter.LocalPrefixes)
	}
}

func (e *Encoder) prefixes(prefixes []netip.Prefix) {
	e.out.uvarint(uint64(len(prefixes)))
	for _, p := range prefixes {
		e.prefix(p)
	}
}

func (e *Encoder) ports(ports []uint16) {
	e.out.uvarint(uint64(len(ports)))
	for _, p := range ports {
		e.out.uvarint(uint64(p))
	}
}

// sameScopes reports whether a look's tallies are of the scopes that the last
// one's were, in their order.
func (e *Encoder) sameScopes(before []last, now []measure.Tally) bool {
	if len(before) != len(now) {
		return false
	}
	for i := range now {
		number, known := e.scopes[named{now[i].Scope, now[i].Group}]
		if !known || number != before[i].scope {
			return false
		}
	}
	return true
}

func (e *Encoder) putScopes(of *encoded, tallies []measure.Tally) {
	e.out.uvarint(uint64(len(tallies)))
	e.list = e.list[:0]
	before := -1
	for i := range tallies {
		before = e.putScope(named{tallies[i].Scope, tallies[i].Group}, before)
		e.list = append(e.list, before)
	}
	var added int
	of.tallies, added = rearrange(of.tallies, e.list)
	e.memory += added * tallyMemory
}

// tallies writes what changed in each. The time between two looks is the same
// for all that have one, so it is written once.
func (e *Encoder) tallies(of *encoded, tallies []measure.Tally) {
	since := of.since
	for i := range tallies {
		if f := &tallies[i].Flows; f.Known {
			since = f.Since
			break
		}
	}
	e.out.varint(int64(since - of.since))
	of.since = since
	var now [tallyColumns]uint64
	for i := range tallies {
		y, before := &tallies[i], &of.tallies[i]
		x := columns{values: now[:]}
		x.tally(y)
		if y.Flows.Known {
			now[0] -= uint64(since)
		}
		own := uint64(0)
		if !slices.Equal(y.Behind, before.behind) {
			own |= listBehind
		}
		if !slices.Equal(y.Prefixes, before.prefixes) {
			own |= listPrefixes
		}
		if !slices.Equal(y.Examples, before.examples) {
			own |= listExamples
		}
		if y.Region != before.region {
			own |= listRegion
		}
		if !slices.Equal(y.Destinations, before.destinations) {
			own |= listDestinations
		}
		e.out.columns(before.values[:], now[:], tallyDurations, own, listBits)
		if own != 0 {
			e.lists(y, before, own)
		}
	}
}
