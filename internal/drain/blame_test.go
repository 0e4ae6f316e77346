package drain

import (
	"strings"
	"testing"
)

// TestBlameElsewhere: what the host's resolvers answer says nothing of a process
// that has others.
func TestBlameElsewhere(t *testing.T) {
	ttl := 10.0
	for namespace, want := range map[string][2]string{
		"":     {placeProcess, "its resolvers answer with the new addresses"},
		"shop": {"", "app is in a network namespace of its own, whose resolvers are not asked"},
	} {
		r := Report{Name: "shop.example", SwitchedAt: start, SinceSeconds: 60, TTLSeconds: &ttl, Old: addrs("192.0.2.10"), New: addrs("198.51.100.7"),
			Resolvers: []Resolver{{Role: "system", Server: "192.0.2.53:53", Class: ClassNew}},
			Laggards:  []Laggard{{Vantage: asked, Old: addrs("192.0.2.10")[0], Process: "app", Namespace: namespace, Connections: 2, NewAfterTTL: 2}}}
		Blame(&r)
		if l := r.Laggards[0]; l.Cause != causeStale || l.Place != want[0] || !strings.HasPrefix(l.Advice, want[1]) {
			t.Errorf("in %q: %s %q: %s", namespace, l.Cause, l.Place, l.Advice)
		}
	}
}
