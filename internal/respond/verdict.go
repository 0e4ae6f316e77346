package respond

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/enum"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
)

// Result is what a follow-up look says.
type Result uint8

// The results. Zero is none.
const (
	NoResult   Result = iota
	Resolved          // nothing is open, and there is evidence that it recovered
	Better            // it moved by a fifth of the way back, or is less severe
	NotBetter         // it did not
	CannotTell        // there is no fresh evidence
)

var resultNames = [...]string{"", "resolved", "better", "not_better", "cannot_tell"}

// String names it as the API does: "not_better".
func (r Result) String() string { return enum.Name(r, "result", resultNames[:]) }

// Verdict is what a follow-up look found.
type Verdict struct {
	Result Result
	Says   string // with the numbers, for a person
	// Before are the numbers at the start of the hook, or without one of the
	// workflow, and Now the same ones now, where they are known.
	Before, Now []Number
}

// json is the detail of its action.
func (v *Verdict) json() []byte {
	detail, err := json.Marshal(struct {
		Result string   `json:"result"`
		Before []Number `json:"before"`
		Now    []Number `json:"now"`
	}{v.Result.String(), listed(v.Before), listed(v.Now)})
	if err != nil {
		return nil // numbers that are finite always can be
	}
	return detail
}

func listed(n []Number) []Number {
	if n == nil {
		return []Number{}
	}
	return n
}

// conditionOf is how bad incidents are: the worst severity, and of each the
// number that decides.
func (t *turn) conditionOf(incidents []*judge.Incident) condition {
	var c condition
	for _, inc := range incidents {
		c.Severity = max(c.Severity, inc.Finding.Severity)
		if n, ok := decides(&inc.Finding); ok {
			c.Numbers = append(c.Numbers, n)
		}
	}
	return c
}

// conditionAgain is conditionOf at a later time of the same: where a number is on the
// good side of its level by then, which side that is must not be taken from it.
func (t *turn) conditionAgain(before condition, incidents []*judge.Incident) condition {
	c := t.conditionOf(incidents)
	for i := range c.Numbers {
		n := &c.Numbers[i]
		if at := slices.IndexFunc(before.Numbers, n.same); at >= 0 {
			n.Bad = before.Numbers[at].Bad
		}
	}
	return c
}

// same reports whether both are the same number, at two times.
func (n *Number) same(o Number) bool { return n.Cause == o.Cause && n.Signal == o.Signal }

// decides is the first number of a finding that is held against a level.
func decides(f *judge.Finding) (Number, bool) {
	for i := range f.Evidence {
		e := &f.Evidence[i]
		value, _ := e.Reading.Shown()
		if level := e.Level(); level != nil && value != nil {
			n := Number{f.Cause.String(), e.Name(), string(e.Counts()), *value, *level, above}
			if n.Value < n.Level {
				n.Bad = below
			}
			return n, true
		}
	}
	return Number{}, false
}

// verdict looks again.
func (t *turn) verdict(w *workflow, open []*judge.Incident) Verdict {
	v := Verdict{Before: w.before.Numbers}
	for _, n := range w.before.Numbers {
		if now, known := t.again(w, n, open); known {
			n.Value = now
			v.Now = append(v.Now, n)
		}
	}
	v.Result = t.result(w, open, &v)
	v.Says = t.says(w, open, &v)
	return v
}

func (t *turn) result(w *workflow, open []*judge.Incident, v *Verdict) Result {
	blind := !slices.ContainsFunc(open, func(i *judge.Incident) bool { return i.BlindSince.IsZero() })
	recovered, lost := w.ended()
	switch {
	case len(open) == 0 && (recovered && !lost || v.passed()):
		return Resolved
	case len(open) == 0 || blind:
		return CannotTell
	case open[0].Finding.Severity < w.before.Severity && !lost || v.moved():
		return Better
	}
	return NotBetter
}

// ended says how that ended which was open last: recovered, some of it by
// positive evidence; lost, some of it went out of sight.
func (w *workflow) ended() (recovered, lost bool) {
	for _, inc := range w.now {
		if inc.State != judge.Resolved || inc.ResolvedAt.Before(w.since) {
			continue
		}
		switch inc.End {
		case judge.Recovered:
			recovered = true
		case judge.CameTrue, judge.Superseded: // it goes on as another one
		default:
			lost = true
		}
	}
	return recovered, lost
}

// again is a number as it is now: as the incident that it decides has it, or as
// it is measured.
func (t *turn) again(w *workflow, n Number, open []*judge.Incident) (float64, bool) {
	if t.Signals != nil {
		if scope := t.Signals(w.Scope); scope != nil {
			for _, sig := range measure.Signals() {
				if sig.String() == n.Signal {
					reading := scope.Get(sig)
					value, unknown := reading.Shown()
					if unknown != "" || value == nil || reading.Good > 0 && reading.Until().Before(t.Now) { // nobody looks any more
						return 0, false
					}
					return *value, true
				}
			}
		}
	}
	for _, inc := range open { // what is worked out from signals
		if now, ok := decides(&inc.Finding); ok && inc.BlindSince.IsZero() && now.Cause == n.Cause && now.Signal == n.Signal {
			return now.Value, true
		}
	}
	return 0, false
}

// moved reports whether a number came back by betterShare of the way to its
// level, or to nothing where it began at the level, and by more than noise.
func (v *Verdict) moved() bool {
	return slices.ContainsFunc(v.Now, func(now Number) bool {
		at := slices.IndexFunc(v.Before, now.same)
		if at < 0 {
			return false
		}
		before := v.Before[at]
		way := before.gap()
		if math.Abs(way) < 1e-9 {
			way = math.Abs(before.Value)
		}
		return way > 0 && before.gap()-now.gap() >= max(betterShare*way, min(noiseShare*math.Abs(before.Value), way))
	})
}

// passed reports whether each number is known, and on the good side of its
// level.
func (v *Verdict) passed() bool {
	return len(v.Now) > 0 && len(v.Now) == len(v.Before) && !slices.ContainsFunc(v.Now, func(n Number) bool { return n.gap() >= 0 })
}

func (t *turn) says(w *workflow, open []*judge.Incident, v *Verdict) string {
	var b strings.Builder
	switch v.Result {
	case Resolved:
		fmt.Fprintf(&b, "resolved: nothing has been open for %s", inWords(t.Now.Sub(w.OverSince)))
	case Better:
		b.WriteString("better, and not over")
	case NotBetter:
		b.WriteString("not better")
	case CannotTell:
		b.WriteString("cannot tell: there is no fresh evidence")
	}
	if len(open) > 0 && v.Result != CannotTell {
		fmt.Fprintf(&b, " (%s, was %s)", open[0].Finding.Severity, w.before.Severity)
	}
	for _, n := range v.Before {
		now := "not known"
		if at := slices.IndexFunc(v.Now, n.same); at >= 0 {
			now = value(v.Now[at].Value, n.Unit)
		}
		fmt.Fprintf(&b, "; %s %s now, %s before", n.Signal, now, value(n.Value, n.Unit))
	}
	return b.String()
}

// value writes a number with its unit as people do.
func value(v float64, unit string) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	switch measure.Unit(unit) {
	case measure.UnitSeconds:
		return text + " s"
	case measure.UnitPerSecond:
		return text + "/s"
	}
	return text
}
