package recording

import (
	"net/netip"
	"slices"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// What a segment can hold. An Encoder refuses more, and a Decoder takes it for
// damage: each bounds what hostile bytes can make of memory.
const (
	// maxRaw is how many bytes a segment may be before it is compressed. A
	// tally with 20 examples takes 1.2 KB.
	maxRaw = 4 << 20
	// maxMemory is about what one segment's tallies and sockets may take
	// decoded, in bytes.
	maxMemory = 64 << 20
	// tallyMemory is about what one tally takes with what is remembered of it,
	// listMemory what one entry of its lists does.
	tallyMemory = 1500
	listMemory  = 512
	// maxList is how long a list within a tally may be; measure keeps 20
	// examples and 5 prefixes.
	maxList = 1024
	// maxMany is how long any other list may be.
	maxMany = 1 << 16
	// maxStreams is how many streams a segment has: a host has three or four of
	// each namespace. Who is decoded looks for each among those of before.
	maxStreams = 4096
	// entryMemory is about what one entry of a record in JSON takes decoded,
	// however short it is there: a service.
	entryMemory = 256
)

// What records there are, by their first byte.
const (
	tagStep     = 1
	tagLeft     = 2
	tagScopes   = 3
	tagCapacity = 4
	tagPorts    = 5
	tagBegin    = 6
	tagBatch    = 7
	tagEnd      = 8
)

// The bits of a step's header that say what follows it.
const (
	headerReader   = 1 << iota // the reader's name
	headerFilter               // the ports and prefixes of the filter
	headerScopes               // the list of scopes, another than at the last look of the stream
	headerNoScopes             // no tally, though the last look had some
	headerOpinions             // opinions
	headerNorms                // norms
	headerAnswers              // what resolvers said; not in versions before versionSwitches
	headerBits     = 7
)

// The bits of a tally that say which of its lists follow, and those of a socket
// that say which ends do.
const (
	listBehind = 1 << iota
	listPrefixes
	listExamples
	listRegion // no list: the name of a backend's region
	listDestinations
	listBits = 5

	endLocal  = 1
	endRemote = 2
	endBits   = 2
)

// stream names what looks are told as changes of one another.
type stream struct {
	namespace string
	tier      tcp.Tier
	// of is the tag of the records: steps and frames are told apart.
	of byte
}

// named is one entry of a segment's table of scopes.
type named struct {
	id    scope.ID
	group string
}

// last is what both sides remember of a tally, to tell the next by.
type last struct {
	scope    int // its number in the segment's table
	values   [tallyColumns]uint64
	behind   []netip.AddrPort
	prefixes []measure.PrefixHeld
	examples []tcp.Socket
	region   string
	// destinations are a region's.
	destinations []measure.Destination
	// spare is the examples before these: a list is decoded beside the one that
	// it is told by.
	spare []tcp.Socket
	// most is the longest that one of the lists has been in this segment.
	most int
}

// grow returns the memory that a list of n entries takes beyond what those
// before it did. Both sides count it alike.
func (l *last) grow(n int) int {
	more := max(0, n-l.most)
	l.most += more
	return more * listMemory
}

// forget empties what is remembered and keeps its memory.
func (l *last) forget() {
	*l = last{prefixes: l.prefixes[:0], examples: l.examples[:0], spare: l.spare[:0], destinations: l.destinations[:0]}
}

// match says for each scope of the next list where in the last one it was, or
// -1. No place is given twice.
func match(before []last, next []int) []int {
	at := make(map[int][]int, len(before))
	for i := range before {
		at[before[i].scope] = append(at[before[i].scope], i)
	}
	out := make([]int, len(next))
	for i, number := range next {
		out[i] = -1
		if places := at[number]; len(places) > 0 {
			out[i], at[number] = places[0], places[1:]
		}
	}
	return out
}

// rearrange returns what is remembered in the order of the next list, and how
// much of it is new.
func rearrange(before []last, next []int) (after []last, added int) {
	if len(before) == 0 && cap(before) >= len(next) { // of an earlier segment, and forgotten
		after = before[:len(next)]
		for i := range after {
			after[i].scope = next[i]
		}
		return after, len(after)
	}
	after = make([]last, len(next))
	for i, from := range match(before, next) {
		if from >= 0 {
			after[i] = before[from]
		} else {
			added++
		}
		after[i].scope = next[i]
	}
	return after, added
}

// sameSocket returns where in list the socket is that s was at the last look,
// or -1; most are where they were.
func sameSocket(list []tcp.Socket, s *tcp.Socket, at int) int {
	is := func(o tcp.Socket) bool { return o.Cookie == s.Cookie && o.Remote == s.Remote && o.Local == s.Local }
	if at < len(list) && is(list[at]) {
		return at
	}
	return slices.IndexFunc(list, is)
}
