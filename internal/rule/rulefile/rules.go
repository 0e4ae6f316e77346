package rulefile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/presets"
	"github.com/foreshock/foreshock/internal/yamlfile"
)

// reader reads a file of rules or of tests.
type reader struct{ *yamlfile.Reader }

// File is the rules of one file.
type File struct {
	Rules []rule.Rule
	// Warnings name, by file and line, the rules that can never match or
	// never end.
	Warnings []string
}

// configurationKeys are the other keys of a configuration: its rules can be
// read as they are, and what else it says is checked where it is used.
var configurationKeys = []string{"name", "labels", "listen", "tls", "read_token", "behind_proxy", "token", "observe", "services", "backends", "regions", "drain", "asn_database", "baseline", "state_dir", "history", "public_url", "presets", "heartbeat", "notify", "maintenance", "respond"}

// Rules reads a file of rules, or the rules of a configuration. name is for
// messages. The error joins one for each problem, and the File is empty then.
func Rules(name string, data []byte) (File, error) {
	r := &reader{yamlfile.New(name)}
	root := r.Root(data, "rules: and a list of them")
	var out File
	if root != nil {
		r.Mapping(root, "the file", "rules", func(key string, n ast.Node) bool {
			if key == "rules" {
				r.rules(n, &out)
			}
			return key == "rules" || slices.Contains(configurationKeys, key)
		})
	}
	if err := r.Err(); err != nil {
		return File{}, err
	}
	return out, nil
}

// Preset reads the rules of a preset by its name.
func Preset(name string) (File, error) {
	data, err := presets.Source(name)
	if err != nil {
		return File{}, err
	}
	return Rules("preset "+name, data)
}

const ruleKeys = "name, when, hold, every, in_a_row, severity, advice"

func (r *reader) rules(n ast.Node, out *File) {
	r.List(n, "rules", func(n ast.Node) {
		var one rule.Rule
		var when ast.Node
		given := map[string]bool{}
		r.Mapping(n, "a rule", ruleKeys, func(key string, v ast.Node) bool {
			given[key] = true
			switch key {
			case "name":
				one.Name = r.Text(v, key)
			case "when":
				when = v
			case "hold":
				one.Hold = r.Duration(v, key)
			case "every":
				one.Every = r.Duration(v, key)
			case "in_a_row":
				text := r.Text(v, key)
				count, err := strconv.Atoi(text)
				if err != nil || count < 1 {
					r.Add(v, "in_a_row %.40q is no number from 1; write it as 2", text)
				}
				one.InARow = count
			case "severity":
				var err error
				if one.Severity, err = rule.ParseSeverity(r.Text(v, key)); err != nil {
					r.Add(v, "%v", err)
					one.Severity = rule.Watch // not reported as missing too
				}
			case "advice":
				one.Advice = r.Text(v, key)
			default:
				return false
			}
			return true
		})
		if when != nil {
			one.When = r.when(when, one.Name, out)
		}
		if !given["severity"] {
			one.Severity = rule.DefaultSeverity
		}
		if !given["hold"] && !given["every"] && !given["in_a_row"] {
			one.Hold = rule.DefaultHold
		}
		for _, err := range one.Validate() {
			if one.When == nil && given["when"] && strings.HasPrefix(err.Error(), "when is missing") {
				continue // refused, not missing
			}
			r.Add(n, "rule %s: %v", one.Name, err)
		}
		for _, other := range out.Rules {
			if other.Name == one.Name && one.Name != "" {
				r.Add(n, "two rules are called %s; rename one", one.Name)
			}
		}
		out.Rules = append(out.Rules, one)
	})
}

// when compiles a rule's expression; nil after a problem.
func (r *reader) when(n ast.Node, name string, out *File) *rule.Expression {
	text := r.Text(n, "when")
	e, err := rule.Compile(name, text)
	at := *yamlfile.Start(n).Position
	if p, ok := errors.AsType[*rule.Error](err); ok {
		within := ""
		if column := r.ColumnIn(n, text, p.Column); column > 0 {
			at.Column = column
		} else {
			within = fmt.Sprintf(" (line %d, column %d of the expression)", p.Line, p.Column)
		}
		r.AddAt(at.Line, at.Column, "rule %s%s: %s; %s", name, within, p.Problem, p.Hint)
		return nil
	}
	for _, w := range e.Warnings() {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s:%d:%d: rule %s: %s", r.File(), at.Line, at.Column, name, w))
	}
	return e
}
