package rulefile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/yamlfile"
)

// Suite is a test file: rules, and tests of them.
type Suite struct {
	File
	// Interval is the time between two samples of a series.
	Interval time.Duration
	Tests    []Test
}

// Test is one timeline with what is expected of it.
type Test struct {
	Name   string
	Line   int // where the file has it
	Input  []Series
	Expect []Expectation
}

// Series is one signal of one scope through time, from zero.
type Series struct {
	Scope   scope.ID
	Signal  measure.Signal
	Samples []Sample
}

// Expectation is how far a rule is for a scope after the sample at At.
type Expectation struct {
	At    time.Duration
	Rule  string
	Scope scope.ID
	Phase rule.Phase
	Line  int
}

const (
	suiteKeys  = "rules, rule_files, presets, interval, tests"
	testKeys   = "name, input, expect"
	expectKeys = "at, rule, scope, state"
)

// ParseTests reads a test file. name is for messages; read opens the files
// that rule_files names, as they are written there.
func ParseTests(name string, data []byte, read func(path string) ([]byte, error)) (*Suite, error) {
	r := &reader{yamlfile.New(name)}
	s := &Suite{Interval: time.Second}
	root := r.Root(data, "rules: and a list of them")
	if root == nil {
		return nil, r.Err()
	}
	var tests ast.Node
	include := func(n ast.Node, f File, err error) {
		if err != nil {
			r.Add(n, "%v", err)
		}
		s.Rules = append(s.Rules, f.Rules...)
		s.Warnings = append(s.Warnings, f.Warnings...)
	}
	r.Mapping(root, "the file", suiteKeys, func(key string, n ast.Node) bool {
		switch key {
		case "rules":
			r.rules(n, &s.File)
		case "rule_files":
			r.List(n, key, func(n ast.Node) {
				path := r.Text(n, key)
				data, err := read(path)
				if err != nil {
					r.Add(n, "read the rules: %v; name a file of rules", err)
					return
				}
				f, err := Rules(path, data)
				include(n, f, err)
			})
		case "presets":
			r.List(n, key, func(n ast.Node) {
				f, err := Preset(r.Text(n, key))
				include(n, f, err)
			})
		case "interval":
			s.Interval = r.Duration(n, key)
			if s.Interval < time.Second || s.Interval > time.Hour {
				r.Add(n, "interval %s is not between 1s and 1h; choose one within", s.Interval)
			}
		case "tests":
			tests = n
		default:
			return false
		}
		return true
	})
	if err := r.Err(); err != nil { // tests of rules that are not there would say so again
		return nil, err
	}
	for i, one := range s.Rules {
		if slices.ContainsFunc(s.Rules[:i], func(other rule.Rule) bool { return other.Name == one.Name }) {
			r.Add(root, "two rules are called %s; rename one", one.Name)
		}
	}
	switch {
	case len(s.Rules) == 0:
		r.Add(nil, "there are no rules to test; add rules, rule_files or presets")
	case tests == nil:
		r.Add(nil, "there are no tests; add tests with name, input and expect")
	default:
		r.List(tests, "tests", func(n ast.Node) { s.Tests = append(s.Tests, r.test(n, s)) })
		if l, ok := tests.(*ast.SequenceNode); ok && len(l.Values) == 0 {
			r.Add(tests, "there are no tests; add one with name, input and expect")
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *reader) test(n ast.Node, s *Suite) Test {
	t := Test{Line: yamlfile.Start(n).Position.Line}
	var input, expect ast.Node
	r.Mapping(n, "a test", testKeys, func(key string, n ast.Node) bool {
		switch key {
		case "name":
			t.Name = r.Text(n, key)
		case "input":
			input = n
		case "expect":
			expect = n
		default:
			return false
		}
		return true
	})
	if t.Name == "" || input == nil || expect == nil {
		r.Add(n, "a test needs name, input and expect; add what is missing")
		return t
	}
	r.Mapping(input, "input", `as service/web queue_wait_seconds: "0x30"`, func(key string, n ast.Node) bool {
		return r.series(key, n, &t)
	})
	r.List(expect, "expect", func(n ast.Node) { t.Expect = append(t.Expect, r.expectation(n, s, &t)) })
	if len(t.Expect) == 0 {
		r.Add(expect, "the test expects nothing; add {at: 30s, rule: NAME, scope: service/web, state: open}")
	}
	return t
}

// series reads one series; false means that the key is none.
func (r *reader) series(key string, n ast.Node, t *Test) bool {
	where, name, found := strings.Cut(key, " ")
	id, ok := parseScope(where)
	if !found || !ok {
		return false
	}
	name = strings.TrimSpace(name)
	for _, s := range measure.Signals() {
		if s.String() != name || !s.AppliesTo(id.Kind) {
			continue
		}
		samples, err := ParseSeries(r.Text(n, key))
		if err != nil {
			r.Add(n, "%v", err)
		}
		t.Input = append(t.Input, Series{Scope: id, Signal: s, Samples: samples})
		return true
	}
	r.Add(n, "%s has no signal %.60q; foreshock rule signals lists what it has", id, name)
	return true
}

// parseScope reads "host", "service/NAME", "backend/NAME", "region/NAME" or
// "address/NAME/old".
func parseScope(text string) (scope.ID, bool) {
	if text == scope.Host.String() {
		return scope.Host, true
	}
	for _, kind := range []scope.Kind{scope.KindService, scope.KindBackend, scope.KindRegion, scope.KindAddress} {
		if name, ok := strings.CutPrefix(text, kind.String()+"/"); ok && name != "" {
			return scope.ID{Kind: kind, Name: name}, true
		}
	}
	return scope.ID{}, false
}

func (r *reader) expectation(n ast.Node, s *Suite, t *Test) Expectation {
	e := Expectation{Line: yamlfile.Start(n).Position.Line}
	given := map[string]bool{}
	r.Mapping(n, "an expectation", expectKeys, func(key string, v ast.Node) bool {
		given[key] = true
		switch key {
		case "at":
			e.At = r.Duration(v, key)
			if e.At/max(s.Interval, 1) > MaxSamples {
				r.Add(v, "at %s is more than %d intervals away; lengthen the interval", e.At, MaxSamples)
			}
		case "rule":
			e.Rule = r.Text(v, key)
		case "scope":
			var ok bool
			if e.Scope, ok = parseScope(r.Text(v, key)); !ok {
				r.Add(v, "the scope is none of host, service/NAME, backend/NAME, region/NAME and address/NAME/old; write it as in input")
			}
		case "state":
			var ok bool
			if e.Phase, ok = rule.ParsePhase(r.Text(v, key)); !ok {
				r.Add(v, "unknown state %.40q; use none, suspect or open", r.Text(v, key))
			}
		default:
			return false
		}
		return true
	})
	for key := range strings.SplitSeq(expectKeys, ", ") {
		if !given[key] {
			r.Add(n, "the expectation has no %s; it needs %s", key, expectKeys)
			return e
		}
	}
	i := slices.IndexFunc(s.Rules, func(one rule.Rule) bool { return one.Name == e.Rule })
	switch {
	case i < 0:
		var names []string
		for _, one := range s.Rules {
			names = append(names, one.Name)
		}
		r.Add(n, "there is no rule %.60q; the rules are %s", e.Rule, strings.Join(names, ", "))
	case e.Scope.Kind != s.Rules[i].When.Kind():
		r.Add(n, "rule %s is evaluated for each %s, not for %s; mend the scope", e.Rule, s.Rules[i].When.Kind(), e.Scope)
	case e.Scope != scope.Host && !slices.ContainsFunc(t.Input, func(in Series) bool { return in.Scope == e.Scope }):
		r.Add(n, "%s has no series in input; add one or mend the scope", e.Scope)
	}
	return e
}

// values says what a condition rested on, for a person.
func values(vs []rule.Value) string {
	var parts []string
	for _, v := range vs {
		if value, known := v.Reading.Get(); known {
			parts = append(parts, fmt.Sprintf("%s = %.6g", v.Text, value))
		} else {
			parts = append(parts, fmt.Sprintf("%s is %s", v.Text, v.Reading.Validity.Words()))
		}
	}
	return strings.Join(parts, ", ")
}
