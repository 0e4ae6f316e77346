package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Units that only expressions have, beside those of signals.
const (
	unitCondition measure.Unit = "condition"    // true, false or unknown
	unitNumber    measure.Unit = "plain number" // takes the unit it stands beside
)

// op is what a node does.
type op uint8

const (
	opNumber op = iota
	opTruth     // true or false
	opSignal
	opAdd
	opSubtract
	opMultiply
	opDivide
	opNegate
	opAbs
	opMin
	opMax
	opLess
	opAtMost
	opMore
	opAtLeast
	opEqual
	opUnequal
	opAnd
	opOr
	opNot
	opMean // the functions over time from here
	opMedian
	opMinOver
	opMaxOver
	opFirst
	opRate
)

// symbols are the operators' and functions' names.
var symbols = [...]string{
	opAdd: "+", opSubtract: "-", opMultiply: "*", opDivide: "/", opNegate: "-", opAbs: "abs", opMin: "min", opMax: "max",
	opLess: "<", opAtMost: "<=", opMore: ">", opAtLeast: ">=", opEqual: "==", opUnequal: "!=", opAnd: "&&", opOr: "||", opNot: "!",
	opMean: "mean", opMedian: "median", opMinOver: "min_over", opMaxOver: "max_over", opFirst: "first", opRate: "rate",
}

func (o op) comparison() bool { return o >= opLess && o <= opUnequal }
func (o op) overTime() bool   { return o >= opMean }

// node is one part of a checked expression.
type node struct {
	op     op
	unit   measure.Unit
	args   []*node
	number float64       // of opNumber; 1 or 0 of opTruth
	term   Term          // of opSignal
	span   time.Duration // of the functions over time, and of a duration in quotes
	index  int           // of the functions over time: which window of the memory
	at     int           // the character where it begins in the text
}

// Term is a signal as an expression names it.
type Term struct {
	// Scope is KindService for service.NAME, and so on for backend.NAME,
	// region.NAME, address.NAME and host.NAME.
	Scope  scope.Kind
	Signal measure.Signal
}

// String is how the expression spells it: "service.queue_wait_seconds".
func (t Term) String() string { return t.Scope.String() + "." + t.Signal.String() }

// String writes the node so that it compiles to the same.
func (n *node) String() string {
	switch {
	case n.op == opNumber && n.unit == measure.UnitSeconds:
		return strconv.Quote(n.span.String())
	case n.op == opNumber:
		return strconv.FormatFloat(n.number, 'g', -1, 64)
	case n.op == opTruth:
		return strconv.FormatBool(n.number != 0)
	case n.op == opSignal:
		return n.term.String()
	case n.op == opNegate || n.op == opNot:
		return "(" + symbols[n.op] + n.args[0].String() + ")"
	case n.op == opAbs || n.op == opMin || n.op == opMax || n.op.overTime():
		args := make([]string, 0, len(n.args)+1)
		for _, a := range n.args {
			args = append(args, a.String())
		}
		if n.op.overTime() {
			args = append(args, strconv.Quote(n.span.String()))
		}
		return symbols[n.op] + "(" + strings.Join(args, ", ") + ")"
	}
	return fmt.Sprintf("(%s %s %s)", n.args[0], symbols[n.op], n.args[1])
}
