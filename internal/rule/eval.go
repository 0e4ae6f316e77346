package rule

import (
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Result is what an expression said at one instant.
type Result struct {
	Truth Truth
	// Seen is when the least fresh signal that was known was seen: the answer
	// is as old as that. For an expression that names none it is now.
	Seen time.Time
	// Until is for how long the answer is good: until the first signal that was
	// known grows stale. An expression that names none is always good.
	Until time.Time
	// Values are the signals and then the functions over time that the
	// expression rests on. They are good until the next Eval of the Memory.
	Values []Value
}

// Value is one number that an expression rests on.
type Value struct {
	// Text is how the expression spells it, and Unit what it counts.
	Text string
	Unit measure.Unit
	// Term is the signal; its Scope is KindNone for a function over time.
	Term Term
	// Reading is its value, or why that is unknown.
	Reading measure.Reading
}

// Eval evaluates the expression at now. subject is the scope it is evaluated
// for, host the host; either may be nil, and its signals are unknown then.
// m must come from this expression's NewMemory, one for each scope. now must
// not go back.
func (e *Expression) Eval(m *Memory, now time.Time, subject, host *measure.ScopeSignals) Result {
	v := evaluation{m: m, subject: subject, host: host}
	if m.due(now) {
		for i, n := range e.spans {
			if value, known := v.number(n.args[0]); known {
				m.spans[i].add(now, value)
			}
			m.spans[i].settle(now)
		}
	}
	out := Result{Truth: v.truth(e.root)}
	out.Seen, out.Until = v.seen(e.terms, now)
	m.values = m.values[:0]
	for i, t := range e.terms {
		m.values = append(m.values, Value{Text: e.texts[i], Unit: t.Signal.Definition().Unit, Term: t, Reading: v.reading(t)})
	}
	for i, n := range e.spans {
		w := &m.spans[i]
		reading := measure.Reading{Samples: w.samples, Seen: w.lastAt, Validity: measure.NotEnough}
		if value, known := v.number(n); known {
			reading.Value, reading.Validity = value, measure.Known
		}
		m.values = append(m.values, Value{Text: e.texts[len(e.terms)+i], Unit: n.unit, Reading: reading})
	}
	out.Values = m.values
	return out
}

// evaluation is one evaluation under way.
type evaluation struct {
	m             *Memory
	subject, host *measure.ScopeSignals
}

func (v *evaluation) reading(t Term) measure.Reading {
	from := v.subject
	if t.Scope == scope.KindHost {
		from = v.host
	}
	if from == nil {
		return measure.Reading{}
	}
	return from.Get(t.Signal)
}

// alwaysGood is longer than the time between any two looks.
const alwaysGood = 24 * time.Hour

func (v *evaluation) seen(terms []Term, now time.Time) (seen, until time.Time) {
	seen, until = now, now.Add(alwaysGood)
	for _, t := range terms {
		r := v.reading(t)
		if r.Validity != measure.Known {
			continue
		}
		if r.Seen.Before(seen) {
			seen = r.Seen
		}
		if r.Until().Before(until) {
			until = r.Until()
		}
	}
	return seen, until
}

func (v *evaluation) truth(n *node) Truth {
	switch n.op {
	case opTruth:
		return TruthOf(n.number != 0)
	case opAnd:
		return v.truth(n.args[0]).And(v.truth(n.args[1]))
	case opOr:
		return v.truth(n.args[0]).Or(v.truth(n.args[1]))
	case opNot:
		return v.truth(n.args[0]).Not()
	}
	a, known := v.number(n.args[0])
	b, too := v.number(n.args[1])
	if !known || !too {
		return Unknown
	}
	return TruthOf(compare(n.op, a, b))
}

func compare(o op, a, b float64) bool {
	switch o {
	case opLess:
		return a < b
	case opAtMost:
		return a <= b
	case opMore:
		return a > b
	case opAtLeast:
		return a >= b
	case opEqual:
		return a == b
	default:
		return a != b
	}
}

// number is the value of a number, and whether it is known. What is not
// finite is not.
func (v *evaluation) number(n *node) (value float64, known bool) {
	switch {
	case n.op == opNumber:
		return n.number, true
	case n.op == opSignal:
		value, known = v.reading(n.term).Get()
		return value, known && finite(value)
	case n.op.overTime():
		if _, known := v.number(n.args[0]); !known {
			return 0, false
		}
		w := &v.m.spans[n.index]
		return w.value, w.known
	}
	a, known := v.number(n.args[0])
	if !known {
		return 0, false
	}
	b := 0.0
	if len(n.args) == 2 {
		if b, known = v.number(n.args[1]); !known {
			return 0, false
		}
	}
	value = calculate(n.op, a, b)
	return value, finite(value)
}

func calculate(o op, a, b float64) float64 {
	switch o {
	case opAdd:
		return a + b
	case opSubtract:
		return a - b
	case opMultiply:
		return a * b
	case opDivide:
		return a / b
	case opNegate:
		return -a
	case opAbs:
		return math.Abs(a)
	case opMin:
		return min(a, b)
	default:
		return max(a, b)
	}
}
