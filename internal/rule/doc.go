// Package rule evaluates what users say about signals in their own words.
//
// An [Expression] is compiled once, with every name, unit and bound checked,
// and evaluated at each view for one scope. A [Rule] adds for how long it must
// hold, and a [Follower] carries one rule for one scope through time:
//
//	when, err := rule.Compile("web-waits", `service.queue_wait_seconds > 0.5 && service.accepted >= 20`)
//	if err != nil {
//		return err // names the column, and what to write there
//	}
//	r := rule.Rule{Name: "web-waits", When: when, Hold: 10 * time.Second, Severity: rule.Warning}
//	f := rule.NewFollower(r)
//	outcome := f.Step(now, &view.Scopes[i], host)
//
// # Language
//
// Names are service.NAME, backend.NAME, region.NAME, address.NAME (one side of a
// switch) and host.NAME, where NAME is a signal's. A rule that names a service's
// signal is evaluated for each service, one that names a backend's, a region's or
// an address's for each of those, any other once, for the host; two kinds of them
// cannot stand in one rule. There are + - * /, comparisons (a < b < c too),
// && || ! with their words and, or, not, parentheses, min, max, abs, and
// functions over time whose last argument is a span: mean(x, "60s"), median,
// min_over, max_over, first (the oldest sample of the span) and rate (change per
// second). "250ms" is a number of seconds. Everything has a unit; a plain number
// takes the unit of what it stands beside.
//
// # Unknown
//
// What cannot be seen is neither true nor false, so conditions have three
// values: a && b is false when either is false, true when both are true, else
// unknown. A division by zero is unknown. A span is unknown while its number
// cannot be seen now, and until half of its samples were seen.
//
// That is why expr parses the text and nothing more: its machine knows two
// truths, and its type checker knows float64 but no units. The checked tree is
// ours, a few dozen plain nodes without calls back, loops or reflection, so
// that its cost and memory have a bound that can be read off the text.
//
// The package is pure: no clock, no goroutine, no file.
package rule
