package drains

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestEndsByItself: what has been over for a week ends, what is not over does
// not; and a month later it is forgotten, unless the configuration has it.
func TestEndsByItself(t *testing.T) {
	b := New()
	b.Configure(conf(t, "conf.example 192.0.2.1 192.0.2.2"))
	_, err := b.Begin(0, "conf.example", drain.Change{Before: addrs("192.0.2.1"), After: addrs("192.0.2.2"), At: start})
	need(t, err)
	for _, name := range []string{"busy.example", "moved.example", "nobody.example"} {
		_, err := b.Start(start, 0, request(name, "192.0.2.1", "192.0.2.2"))
		need(t, err)
	}
	ended := map[string]time.Duration{}
	for at := time.Duration(0); at < 40*24*time.Hour; at += time.Hour {
		now := start.Add(at)
		looks := []*measure.ScopeSignals{side("busy.example", scope.OldSide, 1, 0), side("busy.example", scope.NewSide, 9, 0), side("moved.example", scope.OldSide, 0, 0), side("moved.example", scope.NewSide, 9, 0)}
		for _, s := range looks {
			s.Readings[measure.Connections].Seen = now
		}
		b.Look(now, looks)
		for _, e := range b.Tidy(now, 0) {
			ended[e.Name] = at
		}
	}
	week := 7*24*time.Hour + 2*time.Hour // as it is looked for each hour here, and after the deadline
	if diff := cmp.Diff(map[string]time.Duration{"conf.example": week, "moved.example": week, "nobody.example": week}, ended); diff != "" {
		t.Errorf("ended, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"busy.example running by hand [192.0.2.1]>[192.0.2.2]", "conf.example stopped configured [192.0.2.1]>[192.0.2.2]"}, told(b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r := b.Entry("conf.example").Report(start, 0, Seen{}, true); !slices.ContainsFunc(r.Limits, func(s string) bool { return strings.Contains(s, "by itself") }) {
		t.Errorf("that it ended by itself is not said: %q", r.Limits)
	}
}
