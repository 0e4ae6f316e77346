package recording

import (
	"slices"
	"time"
)

// Ring keeps the last segments in memory: a flight recorder. It is not safe for
// concurrent use; the segments' data is never changed.
type Ring struct {
	span     time.Duration
	bytes    int
	segments []Segment
	size     int
}

// NewRing returns a Ring of that span, in at most so many bytes of data.
func NewRing(span time.Duration, bytes int) *Ring { return &Ring{span: span, bytes: bytes} }

// Add takes a segment, and lets the oldest go that are too many, or ended more
// than the span before it began.
func (r *Ring) Add(s Segment) {
	r.segments = append(r.segments, s)
	r.size += len(s.Data)
	drop := 0
	for drop < len(r.segments)-1 && (r.size > r.bytes || s.From.Sub(r.segments[drop].To) > r.span) {
		r.size -= len(r.segments[drop].Data)
		drop++
	}
	r.segments = slices.Delete(r.segments, 0, drop)
}

// Segments returns those with a step between from and to, oldest first.
func (r *Ring) Segments(from, to time.Time) []Segment {
	var out []Segment
	for _, s := range r.segments {
		if !s.To.Before(from) && !s.From.After(to) {
			out = append(out, s)
		}
	}
	return out
}

// Size is how many bytes the data takes.
func (r *Ring) Size() int { return r.size }
