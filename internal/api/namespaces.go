package api

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// maxOldest is how many namespaces the summary names, maxPictured how many
	// services of other namespaces the picture holds: it goes out each second.
	maxOldest   = 10
	maxPictured = 50
)

// namespaces is how the other namespaces are read, in short.
func (v viewer) namespaces() Namespaces {
	n := &v.s.Namespaces
	out := Namespaces{Read: n.Read, Idle: n.Idle, Waiting: n.Waiting, Refused: n.Refused, Over: n.Over, Oldest: []Namespace{}}
	for _, x := range n.Each {
		out.PulseAgeSeconds = greater(out.PulseAgeSeconds, v.age(x.PulseSeen))
		if !x.Idle {
			out.WholeAgeSeconds = greater(out.WholeAgeSeconds, v.age(x.WholeSeen))
		}
	}
	each := oldestFirst(n.Each)
	for _, x := range each[:min(len(each), maxOldest)] {
		if !x.Idle {
			out.Oldest = append(out.Oldest, v.namespace(x))
		}
	}
	return out
}

// eachNamespace is how every one of them is read.
func (v viewer) eachNamespace() []Namespace {
	out := make([]Namespace, 0, len(v.s.Namespaces.Each))
	for _, x := range oldestFirst(v.s.Namespaces.Each) {
		out = append(out, v.namespace(x))
	}
	return out
}

// oldestFirst sorts by when all sockets were seen, never coming first. Idle ones,
// which have none, come last.
func oldestFirst(each []NamespaceStatus) []NamespaceStatus {
	return slices.SortedStableFunc(slices.Values(each), func(a, b NamespaceStatus) int {
		if a.Idle != b.Idle {
			if b.Idle {
				return -1
			}
			return 1
		}
		return cmp.Or(a.WholeSeen.Compare(b.WholeSeen), cmp.Compare(a.Name, b.Name))
	})
}

func (v viewer) namespace(x NamespaceStatus) Namespace {
	return Namespace{
		Name: x.Name, ID: uint64(x.ID), Process: x.Process, PID: x.PID, Services: x.Services, Idle: x.Idle, Reader: x.Reader,
		PulseAgeSeconds: v.age(x.PulseSeen), WholeAgeSeconds: v.age(x.WholeSeen),
		PulseIntervalSeconds: x.PulseInterval.Seconds(), WholeIntervalSeconds: x.WholeInterval.Seconds(),
	}
}

// age is how old something was when the snapshot was made; nil when it was
// never seen.
func (v viewer) age(seen time.Time) *float64 {
	if seen.IsZero() {
		return nil
	}
	return new(max(0, v.s.At.Sub(seen).Seconds()))
}

func greater(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// pictured are the scopes that go out each second: all of our own namespace;
// of the others those with an incident that is not over, and services up to
// maxPictured. leftOut counts the others.
func (v viewer) pictured() (scopes []measure.ScopeSignals, leftOut int) {
	troubled := map[scope.ID]bool{}
	for i := range v.s.Incidents {
		if inc := &v.s.Incidents[i]; inc.State != judge.Resolved {
			troubled[inc.Finding.Scope] = true
		}
	}
	others := 0
	for _, s := range v.signals() {
		if s.Scope.Namespace != "" && troubled[s.Scope] {
			others++
		}
	}
	room := max(0, maxPictured-others)
	for _, s := range v.signals() {
		switch {
		case s.Scope.Namespace == "", troubled[s.Scope]:
		case s.Scope.Kind == scope.KindService && room > 0:
			room--
		default:
			leftOut++
			continue
		}
		scopes = append(scopes, s)
	}
	return scopes, leftOut
}
