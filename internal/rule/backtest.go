package rule

import (
	"math"
	"slices"
	"time"
)

// minuteLength is what a minute row covers.
const minuteLength = time.Minute

// MinuteRange is what a signal was over one minute: its least, its mean and its
// greatest value, in the signal's unit.
type MinuteRange struct {
	Least, Mean, Greatest float64
	// MeanOff is by how much the mean over time may lie beside Mean.
	MeanOff float64
	// Looks is how many values it rests on; zero is one a second or more.
	Looks int
}

// Firing is a row of minutes in which a rule opened, or may have.
type Firing struct {
	// From and To are the first minute's start and the last one's end.
	From, To time.Time
	// Certain: it opened whatever the values within the minutes were. Else some
	// of the values that are possible open it, and some do not.
	Certain bool
}

// Backtest carries one rule for one scope through minutes, of which only the
// range of each signal is known, and so bounds how often the rule would have
// opened. Openings in an unbroken row of minutes in which the condition can
// hold count once: a minute's range does not tell how often a value crossed a
// level within it.
type Backtest struct {
	rule    Rule
	spans   []lookback // what the functions over time look back on, in their order
	last    time.Time  // the last minute's start
	run     run
	firings []parted
}

// parted is a firing, and whether the agent was not there between the one before
// and it: what was open then ended with the agent.
type parted struct {
	Firing
	away bool
}

// run is a row of minutes in which the condition can hold.
type run struct {
	away     bool
	from, to time.Time // zero: none
	// possible is for how long the condition can have held on end, and sure for
	// how long it has in any case.
	possible, sure time.Duration
	looks          int // that are sure to have seen it
	opens, may     bool
}

// NewBacktest returns a Backtest that has seen no minute. The rule must be
// valid.
func NewBacktest(r Rule) *Backtest {
	b := &Backtest{rule: r, spans: make([]lookback, len(r.When.spans))}
	for i, n := range r.When.spans {
		b.spans[i] = lookback{span: n.span}
	}
	return b
}

// Minute takes one minute; known is false for a signal that was not seen in
// it. Minutes must come in order of time; what is missing between two was not
// seen.
func (b *Backtest) Minute(start time.Time, of func(Term) (r MinuteRange, known bool)) {
	if !b.last.IsZero() && start.Sub(b.last) > minuteLength {
		b.end() // the agent was not there: what was held is not known to have lasted
		b.run.away = true
	}
	b.last = start
	looks := int(minuteLength / SamplePeriod)
	v := minuteEvaluation{of: func(t Term) (MinuteRange, bool) {
		r, known := of(t)
		if known && r.Looks > 0 {
			looks = min(looks, r.Looks)
		}
		return r, known
	}, spans: b.spans}
	for i, n := range b.rule.When.spans {
		values, known := v.number(n.args[0])
		mean := values
		if known && n.args[0].op == opSignal {
			signal, _ := of(n.args[0].term)
			mean = bounds{low: max(signal.Mean-signal.MeanOff, values.low), high: min(signal.Mean+signal.MeanOff, values.high)}
		}
		b.spans[i].add(pastMinute{start, values, mean, known})
	}
	b.take(start, v.truth(b.rule.When.root), looks)
}

// Firings are those so far, in order of time. The one under way is the last.
// Those that too short a time lies between to be sure that the rule cleared are
// one.
func (b *Backtest) Firings() []Firing {
	runs := b.firings
	if f, ok := b.run.firing(); ok {
		runs = append(slices.Clip(runs), f)
	}
	var out []Firing
	for _, f := range runs {
		if n := len(out); n > 0 && !f.away && !b.clears(f.From.Sub(out[n-1].To)) {
			out[n-1].To, out[n-1].Certain = f.To, out[n-1].Certain || f.Certain
			continue
		}
		out = append(out, f.Firing)
	}
	return out
}

// clears reports whether a condition that is false for so long is sure to be
// seen so for long enough.
func (b *Backtest) clears(gap time.Duration) bool {
	return gap-max(b.rule.Every, SamplePeriod) >= max(b.rule.Hold, minClear) && gap >= time.Duration(b.rule.InARow)*b.rule.Every
}

// take adds a minute with so many looks to the run. What cannot be told of a
// minute pauses: it neither adds to what was held nor takes from it.
func (b *Backtest) take(start time.Time, p possibly, looks int) {
	r := &b.run
	if !p.yes {
		if !p.unknown {
			b.end()
		}
		return
	}
	if r.from.IsZero() {
		r.from = start
	}
	r.to = start.Add(minuteLength)
	r.possible += minuteLength
	switch {
	case p.no:
		r.sure, r.looks = 0, 0
	case !p.unknown:
		r.sure += minuteLength
		r.looks += looks
	}
	// Samples so many in a row span one pause less than they are.
	r.may = r.may || r.possible >= b.rule.Hold && r.possible >= time.Duration(b.rule.InARow-1)*b.rule.Every
	r.opens = r.opens || b.opens(r, looks)
}

// opens reports whether what is sure of a run opens the rule.
func (b *Backtest) opens(r *run, looks int) bool {
	// Between the first and the last look there is less than a whole minute, and
	// less still where looks are few.
	seen := r.sure - max(b.rule.Every, SamplePeriod)
	if few := int(minuteLength / SamplePeriod); looks < few {
		seen = r.sure - max(b.rule.Every, 2*minuteLength/time.Duration(looks))
	}
	return seen > 0 && seen >= b.rule.Hold && seen >= time.Duration(b.rule.InARow)*b.rule.Every && r.looks >= b.rule.InARow
}

func (b *Backtest) end() {
	f, fired := b.run.firing()
	if fired {
		b.firings = append(b.firings, f)
	}
	b.run = run{away: b.run.away && !fired}
}

func (r *run) firing() (parted, bool) {
	return parted{Firing{r.from, r.to, r.opens}, r.away}, r.may
}

// possibly is what a condition can be within a minute; several at once where the
// ranges leave it open. unknown: a signal it takes was not seen.
type possibly struct{ yes, no, unknown bool }

func (p possibly) not() possibly { return possibly{yes: p.no, no: p.yes, unknown: p.unknown} }

// and is true when both are, false when either is not, else unknown.
func (p possibly) and(o possibly) possibly {
	return possibly{
		yes:     p.yes && o.yes,
		no:      p.no || o.no,
		unknown: p.unknown && (o.unknown || o.yes) || o.unknown && p.yes,
	}
}

// bounds is a closed range of numbers; its ends may be infinite. unsure: for a
// part of the minute the number may not be known.
type bounds struct {
	low, high float64
	unsure    bool
}

// minuteEvaluation evaluates an expression over the ranges of one minute. It
// errs on the wide side: that two parts of an expression move together is not
// known.
type minuteEvaluation struct {
	of    func(Term) (MinuteRange, bool)
	spans []lookback
}

// truth is what a condition can be within the minute.
func (v *minuteEvaluation) truth(n *node) possibly {
	switch n.op {
	case opTruth:
		return possibly{yes: n.number != 0, no: n.number == 0}
	case opNot:
		return v.truth(n.args[0]).not()
	case opAnd:
		return v.truth(n.args[0]).and(v.truth(n.args[1]))
	case opOr:
		return v.truth(n.args[0]).not().and(v.truth(n.args[1]).not()).not()
	}
	a, known := v.number(n.args[0])
	b, too := v.number(n.args[1])
	if !known || !too {
		return possibly{unknown: true}
	}
	out := compareBounds(n.op, a, b)
	out.unknown = a.unsure || b.unsure
	return out
}

// compareBounds says how a comparison can come out.
func compareBounds(o op, a, b bounds) possibly {
	switch o {
	case opLess:
		return possibly{yes: a.low < b.high, no: a.high >= b.low}
	case opAtMost:
		return possibly{yes: a.low <= b.high, no: a.high > b.low}
	case opMore:
		return possibly{yes: a.high > b.low, no: a.low <= b.high}
	case opAtLeast:
		return possibly{yes: a.high >= b.low, no: a.low < b.high}
	}
	equal := possibly{yes: a.low <= b.high && b.low <= a.high, no: a.low != a.high || a.low != b.low || a.high != b.high}
	if o == opEqual {
		return equal
	}
	return equal.not()
}

// number is the range that a number has within the minute, and whether it is
// known.
func (v *minuteEvaluation) number(n *node) (bounds, bool) {
	switch {
	case n.op == opNumber:
		return bounds{low: n.number, high: n.number}, true
	case n.op == opSignal:
		r, known := v.of(n.term)
		return bounds{low: r.Least, high: r.Greatest}, known
	case n.op.overTime():
		return v.spans[n.index].over(n.op)
	}
	a, known := v.number(n.args[0])
	if !known {
		return bounds{}, false
	}
	b := a
	if len(n.args) == 2 {
		if b, known = v.number(n.args[1]); !known {
			return bounds{}, false
		}
	}
	return combine(n.op, a, b)
}

// combine is the range of an operation; it is not known where it divides by
// nothing but zero.
func combine(o op, a, b bounds) (bounds, bool) {
	out := bounds{math.Inf(-1), math.Inf(1), a.unsure || b.unsure}
	switch o {
	case opAdd:
		out.low, out.high = a.low+b.low, a.high+b.high
	case opSubtract:
		out.low, out.high = a.low-b.high, a.high-b.low
	case opNegate:
		out.low, out.high = -a.high, -a.low
	case opMin:
		out.low, out.high = min(a.low, b.low), min(a.high, b.high)
	case opMax:
		out.low, out.high = max(a.low, b.low), max(a.high, b.high)
	case opAbs:
		out.low, out.high = max(0, a.low, -a.high), max(-a.low, a.high)
	case opMultiply:
		out.low, out.high = fourCorners(a, b, func(x, y float64) float64 { return x * y })
	case opDivide:
		switch {
		case b.low == 0 && b.high == 0:
			return bounds{}, false
		case b.low <= 0 && b.high >= 0:
			out.unsure = true // while it divides by zero
		default:
			out.low, out.high = fourCorners(a, b, func(x, y float64) float64 { return x / y })
		}
	}
	if math.IsNaN(out.low) || math.IsNaN(out.high) {
		out.low, out.high = math.Inf(-1), math.Inf(1)
	}
	return out, true
}

// fourCorners is the range of an operation that is monotonic in each argument.
func fourCorners(a, b bounds, f func(x, y float64) float64) (low, high float64) {
	w, x, y, z := f(a.low, b.low), f(a.low, b.high), f(a.high, b.low), f(a.high, b.high)
	return min(w, x, y, z), max(w, x, y, z) // of a NaN both are NaN
}
