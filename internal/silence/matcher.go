package silence

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/foreshock/foreshock/internal/spelling"
)

// Subject is what a Matcher sees of an incident, each as the API spells it.
type Subject struct {
	Scope     string `json:"scope"`               // "service/web", "backend/shop/s1@pod"
	Namespace string `json:"namespace,omitempty"` // empty: the agent's own
	Cause     string `json:"cause"`               // "workers_full"
	Rule      string `json:"rule,omitempty"`      // the user's rule; empty for any other cause
	Severity  string `json:"severity,omitempty"`
}

// Matcher chooses incidents: all that is given must match. Scope, Cause,
// Namespace and Rule are patterns in which * stands for any text, also for
// none and for one with slashes.
type Matcher struct {
	Scope     string `json:"scope,omitempty"`
	Cause     string `json:"cause,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Rule      string `json:"rule,omitempty"`
	// Severity is the worst that matches: "warning" is watch and warning.
	Severity string `json:"severity,omitempty"`
	// Everything matches every incident; nothing else may be given then.
	Everything bool `json:"everything,omitempty"`
}

// MaxPattern is how long a pattern may be, in characters.
const MaxPattern = 256

// severities in rising order, as rule.Severity has them.
var severities = []string{"watch", "warning", "critical"}

// Problem is what is wrong with a matcher, a window or a silence, and the way
// out.
type Problem struct {
	// Key is the key that is wrong, "match.scope"; empty where it is the whole.
	Key  string
	Text string // what was written there
	What string
	Hint string
}

// Error implements error.
func (p *Problem) Error() string { return p.What + "; " + p.Hint }

// Check says what is wrong with a matcher. causes are the names of all causes:
// a pattern that no cause matches is a slip.
func (m Matcher) Check(causes []string) error {
	patterns := []struct{ key, text string }{{"scope", m.Scope}, {"cause", m.Cause}, {"namespace", m.Namespace}, {"rule", m.Rule}}
	for _, p := range patterns {
		if n := utf8.RuneCountInString(p.text); n > MaxPattern {
			return &Problem{p.key, p.text, fmt.Sprintf("%s is longer than %d characters", p.key, MaxPattern), "use * for a part of it"}
		}
		if !printable(p.text) {
			return &Problem{p.key, p.text, fmt.Sprintf("%s %.80q has a character that cannot be printed", p.key, p.text), "use printable characters"}
		}
	}
	given := Matcher{Everything: m.Everything} != m
	switch {
	case m.Everything && given:
		return &Problem{"everything", "true", "everything is given beside something else", "keep one of them"}
	case !m.Everything && !given:
		return &Problem{What: "nothing says which incidents are meant", Hint: "name a scope, a cause, a severity, a namespace or a rule, or write everything: true"}
	case m.Severity != "" && !slices.Contains(severities, m.Severity):
		return &Problem{"severity", m.Severity, fmt.Sprintf("severity %.80q is none", m.Severity), "write one of " + strings.Join(severities, ", ")}
	case m.Cause != "" && !slices.ContainsFunc(causes, func(c string) bool { return glob(m.Cause, c) }):
		hint := "the causes are " + strings.Join(causes, ", ")
		if near, ok := spelling.Nearest(m.Cause, causes); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return &Problem{"cause", m.Cause, fmt.Sprintf("no cause is called %.80q", m.Cause), hint}
	case m.Scope != "" && !scopeLike(m.Scope):
		return &Problem{"scope", m.Scope, fmt.Sprintf("scope %.80q is none", m.Scope), "write it as service/web, backend/shop*, region/east, host, or with a * in it"}
	}
	return nil
}

// scopeLike reports whether a pattern may match a scope: it begins with a kind
// and a slash, is the host's, or has a *.
func scopeLike(pattern string) bool {
	kind, name, slash := strings.Cut(pattern, "/")
	if strings.Contains(kind, "*") {
		return true
	}
	if !slash {
		kind, _, _ = strings.Cut(kind, "@")
		return kind == "host" || kind == "rest"
	}
	return name != "" && slices.Contains([]string{"service", "backend", "region", "address", "host", "agent"}, kind)
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Matches reports whether an incident is meant.
func (m *Matcher) Matches(s *Subject) bool {
	return m.Everything ||
		(m.Severity == "" || slices.Index(severities, s.Severity) <= slices.Index(severities, m.Severity)) &&
			(m.Cause == "" || glob(m.Cause, s.Cause)) &&
			(m.Rule == "" || glob(m.Rule, s.Rule)) &&
			m.matchesScope(s.Scope, s.Namespace)
}

// Covers reports whether all of a scope is meant by its name, whatever is wrong
// with it: what a matcher of causes alone never says.
func (m *Matcher) Covers(scope, namespace string) bool {
	return m.Everything || (m.Scope != "" || m.Namespace != "") && m.matchesScope(scope, namespace)
}

func (m *Matcher) matchesScope(scope, namespace string) bool {
	return (m.Scope == "" || glob(m.Scope, scope)) && (m.Namespace == "" || glob(m.Namespace, namespace))
}

// glob reports whether text is what pattern says, in time that grows with the
// product of their lengths at most.
func glob(pattern, text string) bool {
	star, mark := -1, 0 // the last *, and where the text behind it may begin
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// String is the matcher on one line: "scope backend/shop*, cause path_lost".
func (m Matcher) String() string {
	if m.Everything {
		return "everything"
	}
	var parts []string
	for _, p := range []struct{ key, text string }{{"scope", m.Scope}, {"cause", m.Cause}, {"severity up to", m.Severity}, {"namespace", m.Namespace}, {"rule", m.Rule}} {
		if p.text != "" {
			parts = append(parts, p.key+" "+p.text)
		}
	}
	return strings.Join(parts, ", ")
}
