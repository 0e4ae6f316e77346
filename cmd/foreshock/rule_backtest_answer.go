package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/recording/backtest"
)

// backtestAnswer is the answer of rule backtest as JSON has it; keys only grow.
type backtestAnswer struct {
	// Since and Until are the span that was asked for; null for recordings.
	Since *time.Time `json:"since"`
	Until *time.Time `json:"until"`
	// From and To are the first and the last time that anything was seen; null
	// without.
	From  *time.Time     `json:"from"`
	To    *time.Time     `json:"to"`
	Rules []backtestRule `json:"rules"`
	list  bool
}

// backtestCount is how often a rule opened: over raw tallies, over minutes and
// together.
type backtestCount struct {
	Raw            int `json:"raw"`
	MinutesAtLeast int `json:"minutes_at_least"`
	MinutesAtMost  int `json:"minutes_at_most"`
	AtLeast        int `json:"at_least"`
	AtMost         int `json:"at_most"`
	// Inside is how many of raw and minutes_at_most overlap an incident or a
	// label.
	Inside int `json:"inside"`
}

type backtestRule struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	// RawSeconds and MinutesSeconds are how much of the past each answered.
	RawSeconds     float64 `json:"raw_seconds"`
	MinutesSeconds float64 `json:"minutes_seconds"`
	// Looked is how many scopes there were to ask it for.
	Looked int `json:"scopes_looked_at"`
	// Unseen are signals that it names and no minute holds.
	Unseen []string `json:"unseen_signals"`
	backtestCount
	Scopes []backtestScope `json:"scopes"`
}

type backtestScope struct {
	Scope string `json:"scope"`
	backtestCount
	Firings []backtestFiring `json:"firings,omitempty"`
}

type backtestFiring struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Source  string    `json:"source"` // "raw" or "minutes"
	Certain bool      `json:"certain"`
	Inside  []string  `json:"inside"`
}

// local is a time as it is printed.
func local(t time.Time) string { return t.Local().Format(time.RFC3339) }

// localOrNull is a time in JSON, to the second; null for none.
func localOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.Local().Truncate(time.Second))
}

func (b *backtesting) answer(verdicts []backtest.Verdict, known backtest.Known) backtestAnswer {
	out := backtestAnswer{
		Since: localOrNull(b.since), Until: localOrNull(b.until), From: localOrNull(known.From), To: localOrNull(known.To),
		Rules: make([]backtestRule, 0, len(verdicts)), list: b.list,
	}
	for i := range verdicts {
		v := &verdicts[i]
		one := backtestRule{
			Rule: v.Rule.Name, Severity: v.Rule.Severity.String(), RawSeconds: v.RawSpan.Seconds(), MinutesSeconds: v.MinutesSpan.Seconds(),
			Looked: v.Looked, Unseen: []string{}, backtestCount: countOf(v.Count), Scopes: make([]backtestScope, 0, len(v.Scopes)),
		}
		for _, t := range v.Unseen {
			one.Unseen = append(one.Unseen, t.String())
		}
		for j := range v.Scopes {
			s := &v.Scopes[j]
			row := backtestScope{Scope: s.Scope.String(), backtestCount: countOf(s.Count)}
			for k := range s.Firings {
				if b.list {
					row.Firings = append(row.Firings, fired(&s.Firings[k]))
				}
			}
			one.Scopes = append(one.Scopes, row)
		}
		out.Rules = append(out.Rules, one)
	}
	return out
}

func countOf(c backtest.Count) backtestCount {
	return backtestCount{Raw: c.Raw, MinutesAtLeast: c.Least, MinutesAtMost: c.Most, AtLeast: c.Raw + c.Least, AtMost: c.Raw + c.Most, Inside: c.Inside}
}

func fired(f *backtest.Firing) backtestFiring {
	out := backtestFiring{From: f.From.Local(), To: f.To.Local(), Source: "minutes", Certain: f.Certain, Inside: append([]string{}, f.Inside...)}
	if f.Exact {
		out.Source = "raw"
	}
	return out
}

// write prints the answer for a person.
func (a *backtestAnswer) write(out io.Writer) error {
	if a.From == nil {
		_, err := fmt.Fprintln(out, "nothing was seen in that span: foreshock history says what there is")
		return err
	}
	fmt.Fprintf(out, "seen from %s to %s\n\n", local(*a.From), local(*a.To))
	rows := [][]string{{"RULE", "SCOPE", "RAW", "MINUTES", "AT LEAST", "AT MOST", "INSIDE"}}
	row := func(rule, scope string, c *backtestCount) {
		minutes := strconv.Itoa(c.MinutesAtLeast)
		if c.MinutesAtMost > c.MinutesAtLeast {
			minutes += "-" + strconv.Itoa(c.MinutesAtMost)
		}
		rows = append(rows, []string{rule, scope, strconv.Itoa(c.Raw), minutes, strconv.Itoa(c.AtLeast), strconv.Itoa(c.AtMost), strconv.Itoa(c.Inside)})
	}
	for i := range a.Rules {
		r := &a.Rules[i]
		row(r.Rule, fmt.Sprintf("%d of %d", len(r.Scopes), r.Looked), &r.backtestCount)
		for j := range r.Scopes {
			row("", r.Scopes[j].Scope, &r.Scopes[j].backtestCount)
		}
	}
	if err := writeColumns(out, 2, rows); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for i := range a.Rules {
		if err := a.Rules[i].says(out); err != nil {
			return err
		}
	}
	if !a.list {
		return nil
	}
	rows = [][]string{{"FROM", "TO", "RULE", "SCOPE", "OPENED", "INSIDE"}}
	for i := range a.Rules {
		for _, s := range a.Rules[i].Scopes {
			for _, f := range s.Firings {
				rows = append(rows, []string{local(f.From), local(f.To), a.Rules[i].Rule, s.Scope, f.opened(), strings.Join(f.Inside, ", ")})
			}
		}
	}
	if len(rows) == 1 {
		return nil
	}
	fmt.Fprintln(out)
	return writeColumns(out, len(rows[0]), rows)
}

// says is a rule's answer in a sentence, and what it rests on.
func (r *backtestRule) says(out io.Writer) error {
	span := func(seconds float64) time.Duration {
		return time.Duration(seconds * float64(time.Second)).Round(time.Second)
	}
	if r.RawSeconds == 0 && r.MinutesSeconds == 0 {
		_, err := fmt.Fprintf(out, "%s: cannot be told: there are no minutes, and raw tallies of no more than an hour and what the rule looks back on\n", r.Rule)
		return err
	}
	times := fmt.Sprintf("%d times", r.AtLeast)
	switch {
	case r.AtMost > r.AtLeast:
		times = fmt.Sprintf("at least %d, at most %d times", r.AtLeast, r.AtMost)
	case r.AtLeast == 0:
		times = "never"
	case r.AtLeast == 1:
		times = "once"
	}
	_, err := fmt.Fprintf(out, "%s: %s, %d inside incidents or labels; raw tallies of %s, minutes of %s\n", r.Rule, times, r.Inside, span(r.RawSeconds), span(r.MinutesSeconds))
	if err == nil && r.Looked == 0 {
		_, err = fmt.Fprintf(out, "  there was no scope that it is about\n")
	}
	if err == nil && len(r.Unseen) > 0 {
		_, err = fmt.Fprintf(out, "  no minute holds %s: what depends on it cannot be told\n", strings.Join(r.Unseen, ", "))
	}
	return err
}

// opened says of a firing how sure it is.
func (f *backtestFiring) opened() string {
	switch {
	case f.Source == "raw":
		return "yes"
	case f.Certain:
		return "within"
	}
	return "perhaps"
}
