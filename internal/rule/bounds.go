package rule

import (
	"fmt"
	"math"
	"strings"

	"github.com/foreshock/foreshock/internal/measure"
)

// warnings are what the text alone says about when a condition holds. They
// are certain, not complete: no warning is no promise.
func warnings(root *node) []string {
	why := reason(root)
	switch {
	case !possible(root, true):
		return []string{"it can never be true" + why + ": the rule never reports anything"}
	case !possible(root, false):
		return []string{"it can never be false" + why + ": the rule reports at once and never ends"}
	}
	return nil
}

// reason adds the fact behind the two commonest mistakes.
func reason(n *node) string {
	switch {
	case n.op == opTruth || n.op.comparison() && n.args[0].constant() && n.args[1].constant():
		return ", as it names no signal"
	case n.op.comparison() && (n.args[0].op == opSignal || n.args[1].op == opSignal):
		s := n.args[0]
		if s.op != opSignal {
			s = n.args[1]
		}
		if lowest(s.term.Signal) == 0 {
			return ", as " + article(s.unit) + " is never below 0"
		}
	}
	return ""
}

// constant reports whether the node is the same always.
func (n *node) constant() bool {
	for _, a := range n.args {
		if !a.constant() {
			return false
		}
	}
	return n.op != opSignal
}

// interval is a range of numbers; an open end is not in it.
type interval struct {
	low, high         float64
	lowOpen, highOpen bool
}

var everything = interval{low: math.Inf(-1), high: math.Inf(1)}

func (i interval) empty() bool {
	return i.low > i.high || i.low == i.high && (i.lowOpen || i.highOpen)
}

// and is what is in both.
func (i interval) and(o interval) interval {
	if o.low > i.low || o.low == i.low && o.lowOpen {
		i.low, i.lowOpen = o.low, o.lowOpen
	}
	if o.high < i.high || o.high == i.high && o.highOpen {
		i.high, i.highOpen = o.high, o.highOpen
	}
	return i
}

// lowest is the least value a signal can have. Only what is a difference, a
// slope or a growth, can be below zero.
func lowest(s measure.Signal) float64 {
	if name := s.String(); strings.Contains(name, "slope") || strings.Contains(name, "growth") {
		return math.Inf(-1)
	}
	return 0
}

// values is a range that the number n never leaves.
func values(n *node) interval {
	switch n.op {
	case opNumber:
		return interval{low: n.number, high: n.number}
	case opSignal:
		return interval{low: lowest(n.term.Signal), high: math.Inf(1)}
	case opMean, opMedian, opMinOver, opMaxOver, opFirst:
		// Their arithmetic rounds; a range from zero stands that, others by
		// chance only.
		if a := values(n.args[0]); a.low >= 0 {
			return interval{low: 0, high: math.Inf(1)}
		}
		return everything
	case opRate:
		return everything
	}
	a, b := values(n.args[0]), interval{}
	if len(n.args) == 2 {
		b = values(n.args[1])
	}
	switch n.op {
	case opAdd:
		return safe(a.low+b.low, a.high+b.high)
	case opSubtract:
		return safe(a.low-b.high, a.high-b.low)
	case opNegate:
		return safe(-a.high, -a.low)
	case opMultiply:
		return corners(a, b, func(x, y float64) float64 { return x * y })
	case opDivide:
		if b.low < 0 {
			return everything
		}
		return corners(a, b, func(x, y float64) float64 { return x / y })
	case opAbs:
		return safe(max(0, a.low, -a.high), max(-a.low, a.high))
	case opMin:
		return safe(min(a.low, b.low), min(a.high, b.high))
	case opMax:
		return safe(max(a.low, b.low), max(a.high, b.high))
	}
	return everything
}

// safe is a closed range; an end that is no number is no bound.
func safe(low, high float64) interval {
	if math.IsNaN(low) {
		low = math.Inf(-1)
	}
	if math.IsNaN(high) {
		high = math.Inf(1)
	}
	return interval{low: low, high: high}
}

// corners is the range of an operation that is monotonic in each argument.
// Only two ranges from zero up are told apart, besides constants: the others
// need a case for every sign.
func corners(a, b interval, f func(x, y float64) float64) interval {
	if a.low == a.high && b.low == b.high {
		if v := f(a.low, b.low); finite(v) {
			return interval{low: v, high: v}
		}
		return everything
	}
	if a.low >= 0 && b.low >= 0 {
		return interval{low: 0, high: math.Inf(1)}
	}
	return everything
}

// possible reports whether the condition can come out as want. It errs on the
// side of yes.
func possible(n *node, want bool) bool {
	switch n.op {
	case opTruth:
		return (n.number != 0) == want
	case opNot:
		return possible(n.args[0], !want)
	case opAnd, opOr:
		if (n.op == opAnd) != want { // one side is enough
			return possible(n.args[0], want) || possible(n.args[1], want)
		}
		return together(n, want)
	}
	o := n.op
	if !want {
		o = opposite[o]
	}
	a, b := values(n.args[0]), values(n.args[1])
	switch o {
	case opLess:
		return a.low < b.high
	case opAtMost:
		return a.low <= b.high
	case opMore:
		return a.high > b.low
	case opAtLeast:
		return a.high >= b.low
	case opEqual:
		return !a.and(b).empty()
	default:
		return a.low != a.high || b.low != b.high || a.low != b.low
	}
}

var opposite = map[op]op{
	opLess: opAtLeast, opAtLeast: opLess, opMore: opAtMost, opAtMost: opMore, opEqual: opUnequal, opUnequal: opEqual,
}

// together reports whether all parts of a && b && c can come out as want at
// once (of a || b || c, for false): each by itself, and those that compare the
// same number with constants, with each other.
func together(n *node, want bool) bool {
	ranges := map[string]interval{}
	var visit func(n *node, want bool) bool
	visit = func(n *node, want bool) bool {
		if n.op == opNot {
			return visit(n.args[0], !want)
		}
		if (n.op == opAnd && want) || (n.op == opOr && !want) {
			return visit(n.args[0], want) && visit(n.args[1], want)
		}
		if !possible(n, want) {
			return false
		}
		number, within, ok := bound(n, want)
		if !ok {
			return true
		}
		if before, seen := ranges[number]; seen {
			within = within.and(before)
		}
		ranges[number] = within
		return !within.empty()
	}
	return visit(n, want)
}

// bound is the range that a comparison with a constant leaves to a number.
func bound(n *node, want bool) (number string, within interval, ok bool) {
	if !n.op.comparison() {
		return "", interval{}, false
	}
	o, left, right := n.op, n.args[0], n.args[1]
	if !want {
		o = opposite[o]
	}
	if left.constant() {
		left, right, o = right, left, mirrored[o]
	}
	level := values(right)
	if left.constant() || !right.constant() || level.low != level.high {
		return "", interval{}, false
	}
	within = everything
	switch o {
	case opLess, opAtMost:
		within.high, within.highOpen = level.high, o == opLess
	case opMore, opAtLeast:
		within.low, within.lowOpen = level.low, o == opMore
	case opEqual:
		within = level
	default:
		return "", interval{}, false
	}
	return fmt.Sprint(left), within, true
}

var mirrored = map[op]op{
	opLess: opMore, opMore: opLess, opAtMost: opAtLeast, opAtLeast: opAtMost, opEqual: opEqual, opUnequal: opUnequal,
}
