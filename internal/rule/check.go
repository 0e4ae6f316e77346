package rule

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/spelling"
)

// Spans of the functions over time.
const (
	MinSpan = 2 * time.Second // two samples
	MaxSpan = 24 * time.Hour
)

// problem is what is wrong at one character of the text.
type problem struct {
	at            int
	problem, hint string
}

// checker turns the parser's tree into ours and refuses what has no meaning.
type checker struct {
	nodes  int
	inSpan bool
	spans  map[string]*node // by how they are written
	order  []*node
	seen   []Term     // each once, in the order of the text
	kind   scope.Kind // of the first signal that is not the host's
}

var binary = map[string]op{
	"+": opAdd, "-": opSubtract, "*": opMultiply, "/": opDivide,
	"<": opLess, "<=": opAtMost, ">": opMore, ">=": opAtLeast, "==": opEqual, "!=": opUnequal,
	"&&": opAnd, "and": opAnd, "||": opOr, "or": opOr,
}

var functions = map[string]op{
	"abs": opAbs, "min": opMin, "max": opMax,
	"mean": opMean, "median": opMedian, "min_over": opMinOver, "max_over": opMaxOver, "first": opFirst, "rate": opRate,
}

const functionList = `the functions are min(a, b), max(a, b), abs(a), and over time mean(a, "60s"), median, min_over, max_over, first, rate`

func (c *checker) check(n ast.Node) (*node, *problem) {
	if n == nil { // the parser leaves some out where it stopped early
		return nil, &problem{0, "a part of the expression is missing", "finish it"}
	}
	at := n.Location().From
	if c.nodes++; c.nodes > MaxNodes {
		return nil, &problem{at, fmt.Sprintf("the expression has more than %d parts", MaxNodes), "make several rules of it"}
	}
	switch n := n.(type) {
	case *ast.IntegerNode:
		return &node{op: opNumber, unit: unitNumber, number: float64(n.Value), at: at}, nil
	case *ast.FloatNode:
		if math.IsInf(n.Value, 0) || math.IsNaN(n.Value) {
			return nil, &problem{at, "the number is too large", "write a smaller one"}
		}
		return &node{op: opNumber, unit: unitNumber, number: n.Value, at: at}, nil
	case *ast.BoolNode:
		out := &node{op: opTruth, unit: unitCondition, at: at}
		if n.Value {
			out.number = 1
		}
		return out, nil
	case *ast.StringNode:
		d, p := duration(n.Value, at)
		if p != nil {
			return nil, p
		}
		return &node{op: opNumber, unit: measure.UnitSeconds, number: d.Seconds(), span: d, at: at}, nil
	case *ast.MemberNode:
		return c.signal(n)
	case *ast.IdentifierNode:
		return nil, unknownName(n.Value, at)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.BuiltinNode:
		return c.call(n.Name, n.Arguments, at)
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok {
			return c.call(callee.Value, n.Arguments, at)
		}
		return nil, &problem{at, "a call of something that is no function", functionList}
	case *ast.ConditionalNode:
		return nil, &problem{at, "if and ?: have no place in a rule", "write two rules, or join conditions with && and ||"}
	}
	return nil, &problem{at, "this has no meaning in a rule", "use signals, numbers, durations in quotes, + - * /, comparisons, && || ! and parentheses; " + functionList}
}

// unknownName explains a name that no scope stands before.
func unknownName(name string, at int) *problem {
	for _, kind := range scopes {
		if name == kind.String() {
			return &problem{at, name + " alone is no number", "name a signal of it, as " + name + "." + names(kind)[0]}
		}
		if slices.Contains(names(kind), name) {
			return &problem{at, fmt.Sprintf("unknown name %q", name), fmt.Sprintf("write %s.%s", kind, name)}
		}
	}
	return &problem{at, fmt.Sprintf("unknown name %q", name), "signals are written " + scopeList + "; durations in quotes"}
}

// scopes are the kinds that a rule may look at; their names begin its signals.
var scopes = []scope.Kind{scope.KindService, scope.KindBackend, scope.KindRegion, scope.KindAddress, scope.KindHost}

const scopeList = "service.NAME, backend.NAME, region.NAME, address.NAME or host.NAME"

// names are the signals that a kind of scope has.
func names(kind scope.Kind) []string {
	var out []string
	for _, s := range measure.Signals() {
		if s.AppliesTo(kind) {
			out = append(out, s.String())
		}
	}
	return out
}

// one names a scope of that kind.
func one(kind scope.Kind) string {
	if kind == scope.KindAddress {
		return "an address"
	}
	return "a " + kind.String()
}

// signal checks service.NAME, backend.NAME, region.NAME, address.NAME and host.NAME.
func (c *checker) signal(n *ast.MemberNode) (*node, *problem) {
	at := n.Location().From
	base, isName := n.Node.(*ast.IdentifierNode)
	property, isText := n.Property.(*ast.StringNode)
	if !isName || !isText {
		return nil, &problem{at, "this is no signal", "write " + scopeList}
	}
	i := slices.IndexFunc(scopes, func(k scope.Kind) bool { return k.String() == base.Value })
	if i < 0 {
		hint := "rules look at " + scopeList
		if near, ok := spelling.Nearest(base.Value, []string{"service", "backend", "region", "address", "host"}); ok {
			hint = fmt.Sprintf("did you mean %s.%s?", near, property.Value)
		}
		return nil, &problem{base.Location().From, fmt.Sprintf("unknown scope %q", base.Value), hint}
	}
	at = base.Location().From
	kind := scopes[i]
	for _, s := range measure.Signals() {
		if s.String() != property.Value {
			continue
		}
		if s.AppliesTo(kind) {
			if kind != scope.KindHost && c.kind != scope.KindNone && c.kind != kind {
				return nil, &problem{at, fmt.Sprintf("the rule looks at %s here and at %s before, which are not each other's", one(kind), one(c.kind)), "make two rules of it; only host.NAME stands beside either"}
			}
			if kind != scope.KindHost {
				c.kind = kind
			}
			term := Term{kind, s}
			if !slices.Contains(c.seen, term) {
				c.seen = append(c.seen, term)
			}
			return &node{op: opSignal, unit: s.Definition().Unit, term: term, at: at}, nil
		}
		var others []string
		for _, other := range scopes {
			if s.AppliesTo(other) {
				others = append(others, fmt.Sprintf("%s.%s", other, s))
			}
		}
		hint := "it is of what no scope claims, which no rule looks at"
		if len(others) > 0 {
			hint = "write " + strings.Join(others, " or ")
		}
		return nil, &problem{at, fmt.Sprintf("%s has no signal %s", one(kind), s), hint}
	}
	hint := "foreshock rule signals lists them"
	if near, ok := spelling.Nearest(property.Value, names(kind)); ok {
		hint = fmt.Sprintf("did you mean %s.%s? %s", base.Value, near, hint)
	}
	return nil, &problem{property.Location().From, fmt.Sprintf("unknown signal %q", base.Value+"."+property.Value), hint}
}

func (c *checker) unary(n *ast.UnaryNode) (*node, *problem) {
	at := n.Location().From
	arg, p := c.check(n.Node)
	if p != nil {
		return nil, p
	}
	switch n.Operator {
	case "!", "not":
		if p := condition(arg, n.Operator); p != nil {
			if p.hint == conditionHint {
				p.hint = "put what it turns round in parentheses: !(a > b)"
			}
			return nil, p
		}
		return &node{op: opNot, unit: unitCondition, args: []*node{arg}, at: at}, nil
	case "-":
		if p := quantity(arg, "-"); p != nil {
			return nil, p
		}
		if plain(arg) && arg.op == opNumber {
			arg.number, arg.at = -arg.number, at
			return arg, nil
		}
		return &node{op: opNegate, unit: arg.unit, args: []*node{arg}, at: at}, nil
	}
	return arg, quantity(arg, n.Operator)
}

const conditionHint = "compare it with something, as > 0.5"

// condition refuses what is neither true nor false.
func condition(n *node, whose string) *problem {
	if n.unit == unitCondition {
		return nil
	}
	return &problem{n.at, fmt.Sprintf("%s takes a condition, and %s is %s", whose, n, article(n.unit)), conditionHint}
}

// quantity refuses what is no number.
func quantity(n *node, whose string) *problem {
	if n.unit != unitCondition {
		return nil
	}
	return &problem{n.at, fmt.Sprintf("%s takes numbers, and %s is a condition", whose, n), "join conditions with && and ||"}
}

func (c *checker) binary(n *ast.BinaryNode) (*node, *problem) {
	at := n.Location().From
	o, known := binary[n.Operator]
	if !known {
		hint := "use + - * /, comparisons, && and ||"
		if n.Operator == "%" {
			hint = "write a share as 0.15"
		}
		return nil, &problem{at, fmt.Sprintf("the operator %s has no place in a rule", n.Operator), hint}
	}
	left, p := c.check(n.Left)
	if p != nil {
		return nil, p
	}
	right, p := c.check(n.Right)
	if p != nil {
		return nil, p
	}
	out := &node{op: o, unit: unitCondition, args: []*node{left, right}, at: left.at}
	for _, side := range out.args {
		check := quantity
		if o == opAnd || o == opOr {
			check = condition
		}
		if p := check(side, n.Operator); p != nil {
			return nil, p
		}
	}
	switch o {
	case opAnd, opOr:
		return out, nil
	case opMultiply:
		out.unit, p = product(left, right, at)
	case opDivide:
		out.unit, p = quotient(left, right, at)
	default:
		var unit measure.Unit
		unit, p = same(left, right, n.Operator, at)
		if !o.comparison() {
			out.unit = unit
		}
	}
	if p != nil {
		return nil, p
	}
	return out, nil
}

// call checks a function.
func (c *checker) call(name string, args []ast.Node, at int) (*node, *problem) {
	o, known := functions[name]
	if !known {
		hint := functionList
		if near, ok := spelling.Nearest(name, slices.Sorted(maps.Keys(functions))); ok {
			hint = fmt.Sprintf("did you mean %s? %s", near, hint)
		}
		return nil, &problem{at, fmt.Sprintf("unknown function %q", name), hint}
	}
	if o.overTime() {
		return c.overTime(o, args, at)
	}
	want := 2
	if o == opAbs {
		want = 1
	}
	if len(args) != want {
		return nil, &problem{at, fmt.Sprintf("%s takes %d numbers, not %d", name, want, len(args)), functionList}
	}
	out := &node{op: o, at: at}
	for _, a := range args {
		arg, p := c.check(a)
		if p == nil {
			p = quantity(arg, name)
		}
		if p != nil {
			return nil, p
		}
		out.args = append(out.args, arg)
	}
	out.unit = out.args[0].unit
	if want == 2 {
		unit, p := same(out.args[0], out.args[1], name, at)
		if p != nil {
			return nil, p
		}
		out.unit = unit
	}
	return out, nil
}

// overTime checks a function over time: a number and a span.
func (c *checker) overTime(o op, args []ast.Node, at int) (*node, *problem) {
	name := symbols[o]
	usage := fmt.Sprintf(`write %s(service.sockets, "60s")`, name)
	if len(args) != 2 {
		return nil, &problem{at, fmt.Sprintf("%s takes a number and a span, not %d arguments", name, len(args)), usage}
	}
	if c.inSpan {
		return nil, &problem{at, name + " stands inside another function over time", "take one of them out: a span is over what is seen, not over other spans"}
	}
	text, ok := args[1].(*ast.StringNode)
	if !ok {
		return nil, &problem{at, "the span of " + name + " is no duration in quotes", usage}
	}
	span, p := duration(text.Value, text.Location().From)
	if p != nil {
		return nil, p
	}
	if span < MinSpan || span > MaxSpan {
		return nil, &problem{text.Location().From, fmt.Sprintf("the span %s is not between %s and %s", span, MinSpan, MaxSpan), "choose one within"}
	}
	c.nodes++ // the span
	c.inSpan = true
	arg, p := c.check(args[0])
	c.inSpan = false
	if p == nil {
		p = quantity(arg, name)
	}
	if p != nil {
		return nil, p
	}
	out := &node{op: o, unit: arg.unit, args: []*node{arg}, span: span, at: at}
	if o == opRate {
		if arg.unit != measure.UnitCount && arg.unit != unitNumber {
			return nil, &problem{at, fmt.Sprintf("rate takes a count, and %s is %s", arg, article(arg.unit)), "compare it with first, the oldest value of the span"}
		}
		out.unit = measure.UnitPerSecond
	}
	key := out.String()
	if twin := c.spans[key]; twin != nil {
		out.index = twin.index
		return out, nil
	}
	if len(c.order) == MaxSpans {
		return nil, &problem{at, fmt.Sprintf("the expression has more than %d functions over time", MaxSpans), "make several rules of it"}
	}
	out.index = len(c.order)
	c.spans[key] = out
	c.order = append(c.order, out)
	return out, nil
}

// duration reads "250ms" or "5m"; days are not among Go's units.
func duration(text string, at int) (time.Duration, *problem) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return 0, &problem{at, fmt.Sprintf("%.40q is no duration", text), `text in quotes is a duration with its unit: "250ms", "30s", "5m", "1h"`}
	}
	return d, nil
}
