package rule

import (
	"fmt"

	"github.com/foreshock/foreshock/internal/measure"
)

const unitList = "units are count, seconds, per_second and share; a plain number takes the unit of what it stands beside"

// article says what a unit is, in a sentence.
func article(u measure.Unit) string {
	switch u {
	case measure.UnitSeconds:
		return "a number of seconds"
	case measure.UnitPerSecond:
		return "a number per second"
	}
	return "a " + string(u)
}

// plain reports whether a plain number was written or computed.
func plain(n *node) bool { return n.unit == unitNumber }

// same is the unit of two numbers that are compared or added.
func same(a, b *node, operator string, at int) (measure.Unit, *problem) {
	switch {
	case a.unit == b.unit || plain(b):
		return a.unit, nil
	case plain(a):
		return b.unit, nil
	}
	hint := unitList
	if operator != "min" && operator != "max" && (a.unit == measure.UnitShare) != (b.unit == measure.UnitShare) {
		hint = "a share is compared with a plain number, as 0.15; " + unitList
	}
	return "", &problem{at, fmt.Sprintf("%s stands between %s, %s, and %s, %s", operator, a, article(a.unit), b, article(b.unit)), hint}
}

// product is the unit of a * b: a share or a plain number scales, and a rate
// over a time is a count.
func product(a, b *node, at int) (measure.Unit, *problem) {
	scales := func(n *node) bool { return plain(n) || n.unit == measure.UnitShare }
	switch {
	case plain(a):
		return b.unit, nil
	case plain(b):
		return a.unit, nil
	case scales(a):
		return b.unit, nil
	case scales(b):
		return a.unit, nil
	case a.unit == measure.UnitPerSecond && b.unit == measure.UnitSeconds, a.unit == measure.UnitSeconds && b.unit == measure.UnitPerSecond:
		return measure.UnitCount, nil
	}
	return "", &problem{at, fmt.Sprintf("%s times %s has no unit", article(a.unit), article(b.unit)), "multiply by a plain number, or a rate by a time; " + unitList}
}

// quotient is the unit of a / b: like by like is a share.
func quotient(a, b *node, at int) (measure.Unit, *problem) {
	switch {
	case plain(b) || b.unit == measure.UnitShare && !plain(a):
		return a.unit, nil
	case a.unit == b.unit:
		return measure.UnitShare, nil
	case a.unit == measure.UnitCount && b.unit == measure.UnitSeconds:
		return measure.UnitPerSecond, nil
	case a.unit == measure.UnitCount && b.unit == measure.UnitPerSecond:
		return measure.UnitSeconds, nil
	}
	return "", &problem{at, fmt.Sprintf("%s divided by %s has no unit", article(a.unit), article(b.unit)), "divide by a plain number or by its like; a count by a rate is a time, by a time a rate; " + unitList}
}
