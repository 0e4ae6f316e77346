package baseline

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Hour is what was learned in one hour, what was left out apart.
type Hour struct {
	// Start is the whole hour on the wall clock, UTC.
	Start time.Time
	Rows  []HourRow // by scope and signal
}

// HourRow is what one signal of one scope was in one hour.
type HourRow struct {
	Scope  scope.ID
	Signal measure.Signal
	// Minutes is how many minutes it rests on; Days is 1, and more of what was
	// imported: the same hour of so many days.
	Minutes, Days int
	Sketch        Sketch
}

// Interval is a span of time that is not learned, on the wall clock.
type Interval struct {
	From, To time.Time
	// Scope is of what it is left out: of every scope for the zero ID, of its
	// whole namespace for a host, else of that scope.
	Scope scope.ID
	// Siblings: of its siblings too. Who fails has others carry its load.
	Siblings bool
	// Some, where it is set, says of which scopes it is left out, and Scope says
	// nothing.
	Some func(scope.ID) bool
}

// left reports which rows of a minute are left out.
type left struct {
	all        bool
	namespaces []string
	scopes     []scope.ID
	groups     []scope.ID // the group as the name, in its namespace
	some       []func(scope.ID) bool
}

func (l *left) has(row *Row) bool {
	if l.all || slices.Contains(l.namespaces, row.Scope.Namespace) || slices.Contains(l.scopes, row.Scope) {
		return true
	}
	if slices.ContainsFunc(l.some, func(some func(scope.ID) bool) bool { return some(row.Scope) }) {
		return true
	}
	return row.Group != "" && slices.Contains(l.groups, groupOf(row))
}

func groupOf(row *Row) scope.ID {
	return scope.ID{Kind: row.Scope.Kind, Name: row.Group, Namespace: row.Scope.Namespace}
}

// leftIn is what of a minute the intervals leave out.
func leftIn(m *Minute, out []Interval) left {
	var l left
	var siblings []scope.ID
	for i := range out {
		x := &out[i]
		if !x.From.Before(m.Start.Add(time.Minute)) || !x.To.After(m.Start) {
			continue
		}
		switch {
		case x.Some != nil:
			l.some = append(l.some, x.Some)
		case x.Scope == scope.ID{}:
			l.all = true
		case x.Scope.Kind == scope.KindHost:
			l.namespaces = append(l.namespaces, x.Scope.Namespace)
		default:
			l.scopes = append(l.scopes, x.Scope)
			if x.Siblings {
				siblings = append(siblings, x.Scope)
			}
		}
	}
	for i := range m.Scopes {
		if row := &m.Scopes[i]; row.Group != "" && slices.Contains(siblings, row.Scope) {
			l.groups = append(l.groups, groupOf(row))
		}
	}
	return l
}

// HourOf adds up minutes, in any order, without what is left out. start is the
// hour's; the minutes may be fewer than it has, and none of another hour.
func HourOf(start time.Time, minutes func(yield func(*Minute) bool), out []Interval) *Hour {
	rows := make(map[key]*HourRow)
	minutes(func(m *Minute) bool {
		l := leftIn(m, out)
		for i := range m.Scopes {
			row := &m.Scopes[i]
			if l.has(row) {
				continue
			}
			for j := range row.Sketches {
				s := &row.Sketches[j]
				k := key{row.Scope, s.Signal}
				to := rows[k]
				if to == nil {
					to = &HourRow{Scope: row.Scope, Signal: s.Signal, Days: 1}
					rows[k] = to
				}
				to.Minutes++
				to.Sketch.Merge(&s.Sketch)
			}
		}
		return true
	})
	h := &Hour{Start: start.UTC()}
	for _, row := range rows {
		row.Minutes = min(row.Minutes, 60) // where the clock was set back a minute may come twice
		h.Rows = append(h.Rows, *row)
	}
	h.sort()
	return h
}

// key is one signal of one scope.
type key struct {
	scope  scope.ID
	signal measure.Signal
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.scope.Namespace, b.scope.Namespace), cmp.Compare(a.scope.Kind, b.scope.Kind),
		cmp.Compare(a.scope.Name, b.scope.Name), cmp.Compare(a.signal, b.signal))
}

func (h *Hour) sort() {
	slices.SortFunc(h.Rows, func(a, b HourRow) int { return compareKeys(key{a.Scope, a.Signal}, key{b.Scope, b.Signal}) })
}

// Filter returns the hour with those of its rows that keep wants; what it holds
// is shared.
func (h *Hour) Filter(keep func(*HourRow) bool) *Hour {
	out := &Hour{Start: h.Start}
	for i := range h.Rows {
		if keep(&h.Rows[i]) {
			out.Rows = append(out.Rows, h.Rows[i])
		}
	}
	return out
}

// The most that an imported hour may rest on: an hour of each of 400 days.
const mostDays = 400

// AppendHour writes an hour behind to.
//
// Version 1: the version, the hour since 1970, the number of rows; of each row
// its name, its signal, minutes, days and sketch.
func AppendHour(to []byte, h *Hour) []byte {
	to = append(to, wireVersion)
	to = binary.AppendVarint(to, h.Start.Unix()/3600)
	rows := h.Rows[:min(len(h.Rows), mostRows)]
	to = binary.AppendUvarint(to, uint64(len(rows)))
	var before named
	for i := range rows {
		row := &rows[i]
		to = before.append(to, 0, row.Scope, "")
		none := -1
		to = appendSignal(to, &none, row.Signal)
		to = binary.AppendUvarint(to, uint64(row.Minutes))
		to = binary.AppendUvarint(to, uint64(row.Days))
		to = row.Sketch.append(to)
	}
	return to
}

// DecodeHour reads what AppendHour wrote. Bytes of another version give
// ErrVersion; any that are not whole give an error and no hour.
func DecodeHour(data []byte) (*Hour, error) { return DecodeRows(data, nil) }

// DecodeRows is DecodeHour for the rows that keep wants, all of them where it is
// nil; it passes over the others, and does not see what is wrong within them.
func DecodeRows(data []byte, keep func(scope.ID, measure.Signal) bool) (*Hour, error) {
	r := &reader{data: data}
	n, start := r.begin()
	h := &Hour{Start: time.Unix(3600*start, 0).UTC()}
	var before named
	for range n {
		_, id, _ := before.read(r)
		none := -1
		row := HourRow{Scope: id, Signal: r.signal(&none)}
		row.Minutes = r.upTo(60*mostDays, "minutes")
		row.Days = r.upTo(mostDays, "days")
		if keep != nil && !keep(row.Scope, row.Signal) {
			r.skipSketch()
			continue
		}
		row.Sketch = r.sketch()
		if r.err == nil && (row.Minutes == 0 || row.Days == 0 || row.Sketch.Count() == 0) {
			r.fail(errors.New("a row of nothing"))
		}
		if r.err != nil {
			break
		}
		h.Rows = append(h.Rows, row)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("read an hour: %w", err)
	}
	return h, nil
}
