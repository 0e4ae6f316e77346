package baseline

import (
	"math"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
)

// Accuracy is how far a quantile of a Sketch may be from the exact one, as a
// share of it.
const Accuracy = 0.01

// bins maps values to bins and back, as a DDSketch does: each bin is as wide as
// Accuracy, and an estimate lies within its bin.
var bins = func() *mapping.LogarithmicMapping {
	m, err := mapping.NewLogarithmicMappingWithGamma(1+Accuracy, 0)
	if err != nil {
		panic(err) // a bug here: the base is a constant above 1
	}
	return m
}()

// leastValue and mostValue are the range that is told apart, in any unit: a
// nanosecond, and more sockets than there can be. What lies beyond counts as the
// bound.
const (
	leastValue = 1e-9
	mostValue  = 1e15
)

var leastBin, mostBin = int32(bins.Index(leastValue)), int32(bins.Index(mostValue))

// Sketch is how often each value came, up to Accuracy: a DDSketch whose bins are
// a sorted list, for most signals have a handful of values. Exact zeros are
// counted apart. Two can be added up, in any order. The zero value is empty.
type Sketch struct {
	Zeros uint32
	Bins  []Bin // by Index, each once, with a Count
}

// Bin counts the values within one bin.
type Bin struct {
	Index int32
	Count uint32
}

// Add counts a value. One that is negative or no number is not counted.
func (s *Sketch) Add(value float64) {
	switch {
	case value == 0:
		s.Zeros = plus(s.Zeros, 1)
	case value > 0 && !math.IsInf(value, 1):
		s.count(int32(bins.Index(min(max(value, leastValue), mostValue))), 1)
	}
}

func (s *Sketch) count(index int32, times uint32) {
	at, found := slices.BinarySearchFunc(s.Bins, index, func(b Bin, index int32) int { return int(b.Index) - int(index) })
	if found {
		s.Bins[at].Count = plus(s.Bins[at].Count, times)
		return
	}
	s.Bins = slices.Insert(s.Bins, at, Bin{index, times})
}

// plus adds two counts and stays at the most there is.
func plus(a, b uint32) uint32 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint32
}

// Merge adds what other counted.
func (s *Sketch) Merge(other *Sketch) {
	s.Zeros = plus(s.Zeros, other.Zeros)
	missing := 0
	for i, j := 0, 0; j < len(other.Bins); {
		switch {
		case i == len(s.Bins) || s.Bins[i].Index > other.Bins[j].Index:
			missing, j = missing+1, j+1
		case s.Bins[i].Index < other.Bins[j].Index:
			i++
		default:
			i, j = i+1, j+1
		}
	}
	// From the end, so that what is there moves once.
	i, j := len(s.Bins)-1, len(other.Bins)-1
	s.Bins = slices.Grow(s.Bins, missing)[:len(s.Bins)+missing]
	for to := len(s.Bins) - 1; j >= 0; to-- {
		switch {
		case i < 0 || s.Bins[i].Index < other.Bins[j].Index:
			s.Bins[to], j = other.Bins[j], j-1
		case s.Bins[i].Index > other.Bins[j].Index:
			s.Bins[to], i = s.Bins[i], i-1
		default:
			s.Bins[to] = Bin{s.Bins[i].Index, plus(s.Bins[i].Count, other.Bins[j].Count)}
			i, j = i-1, j-1
		}
	}
}

func (s *Sketch) isEmpty() bool { return s.Zeros == 0 && len(s.Bins) == 0 }

// Count is how many values were counted.
func (s *Sketch) Count() uint64 {
	n := uint64(s.Zeros)
	for _, b := range s.Bins {
		n += uint64(b.Count)
	}
	return n
}

// Quantile is the value that the share q of all does not exceed, q from 0 to 1;
// zero for an empty sketch. Zero is exact. Any other value lies in the bin of
// the exact one, where its place among the bin's says, so that a few values more
// or less do not move it by a whole bin.
func (s *Sketch) Quantile(q float64) float64 {
	n := s.Count()
	if n == 0 {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(n-1)
	below := float64(s.Zeros)
	if rank < below {
		return 0
	}
	for i, b := range s.Bins {
		if rank < below+float64(b.Count) || i == len(s.Bins)-1 {
			within := min(1, (rank-below+0.5)/float64(b.Count))
			return bins.LowerBound(int(b.Index)) * math.Pow(1+Accuracy, within)
		}
		below += float64(b.Count)
	}
	return 0 // nothing but zeros
}

// clear forgets every value and keeps the room.
func (s *Sketch) clear() { s.Zeros, s.Bins = 0, s.Bins[:0] }

// copyTo makes to the same, in the room that it has.
func (s *Sketch) copyTo(to *Sketch) {
	to.Zeros, to.Bins = s.Zeros, append(to.Bins[:0], s.Bins...)
}
