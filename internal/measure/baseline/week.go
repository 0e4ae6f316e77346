package baseline

import (
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// HourNorm is the norm that holds in one hour of the week; what it rests on is in
// the norm.
type HourNorm struct {
	Of measure.Hours
	measure.Norm
}

// Week returns the norms of every hour of the week for the rows that keep wants:
// a few, as all of a host's would be held at once. For the others see Learn.
func Week(c Config, now time.Time, hours Source, recent *Hour, keep func(scope.ID, measure.Signal) bool) []HourNorm {
	c = c.filled()
	var kept []*Hour
	hours(func(start time.Time) bool { return within(now, start, c.Learn) }, keep, func(h *Hour) bool {
		if len(h.Rows) > 0 {
			kept = append(kept, h)
		}
		return true
	})
	if recent != nil {
		recent = recent.Filter(func(row *HourRow) bool { return keep(row.Scope, row.Signal) })
	}
	var out []HourNorm
	for of := measure.Hours(1); of <= measure.NumHours; of++ {
		for _, n := range Learn(c, now, of, Held(kept), recent) {
			out = append(out, HourNorm{of, n})
		}
	}
	return out
}

// Held is a Source of hours that are in memory.
func Held(hours []*Hour) Source {
	return func(wanted func(time.Time) bool, keep func(scope.ID, measure.Signal) bool, yield func(*Hour) bool) {
		for _, h := range hours {
			if !wanted(h.Start) {
				continue
			}
			if keep != nil {
				h = h.Filter(func(row *HourRow) bool { return keep(row.Scope, row.Signal) })
			}
			if !yield(h) {
				return
			}
		}
	}
}

// Collect adds up hours that are of the same hour of the week, as an export has
// them. start is the hour that the sum is to have.
func Collect(start time.Time, hours func(yield func(*Hour) bool)) *Hour {
	rows := make(map[key]*HourRow)
	hours(func(h *Hour) bool {
		for i := range h.Rows {
			from := &h.Rows[i]
			k := key{from.Scope, from.Signal}
			to := rows[k]
			if to == nil {
				to = &HourRow{Scope: from.Scope, Signal: from.Signal}
				rows[k] = to
			}
			to.Minutes, to.Days = min(to.Minutes+from.Minutes, 60*mostDays), min(to.Days+from.Days, mostDays)
			to.Sketch.Merge(&from.Sketch)
		}
		return true
	})
	out := &Hour{Start: start.UTC()}
	for _, row := range rows {
		out.Rows = append(out.Rows, *row)
	}
	out.sort()
	return out
}

// Without returns the hour without the scopes that drop names, and whether that
// took anything away.
func (h *Hour) Without(drop func(scope.ID) bool) (*Hour, bool) {
	out := h.Filter(func(row *HourRow) bool { return !drop(row.Scope) })
	return out, len(out.Rows) < len(h.Rows)
}

// With returns the hour with the rows of other beside its own; the two have no
// scope in common.
func (h *Hour) With(other *Hour) *Hour {
	out := &Hour{Start: h.Start, Rows: append(slices.Clip(h.Rows), other.Rows...)}
	out.sort()
	return out
}

// Covers reports whether the interval leaves out that scope; siblings are for
// HourOf to see.
func (x *Interval) Covers(id scope.ID) bool {
	switch {
	case x.Some != nil:
		return x.Some(id)
	case x.Scope == scope.ID{}:
		return true
	case x.Scope.Kind == scope.KindHost:
		return x.Scope.Namespace == id.Namespace
	}
	return x.Scope == id
}
