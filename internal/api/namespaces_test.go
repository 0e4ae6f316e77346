package api

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// crowded is a host of 200 namespaces with a service each.
func crowded(at time.Time) *Snapshot {
	s := &Snapshot{At: at, Namespaces: NamespacesStatus{Read: 200}}
	add := func(id scope.ID) { s.View.Scopes = append(s.View.Scopes, measure.ScopeSignals{Scope: id}) }
	add(scope.ID{Kind: scope.KindService, Name: "nginx:80"})
	add(scope.Rest)
	add(scope.Host)
	for i := range 200 {
		name := fmt.Sprintf("shop-%03d", i)
		add(scope.ID{Kind: scope.KindService, Name: "nginx:80", Namespace: name})
		add(scope.Rest.In(name))
		add(scope.Host.In(name))
		s.Namespaces.Each = append(s.Namespaces.Each, NamespaceStatus{
			Name: name, ID: tcp.Namespace(i + 1), Services: 1,
			PulseSeen: at.Add(-time.Duration(i) * 5 * time.Millisecond), WholeSeen: at.Add(-time.Duration(i) * time.Second),
		})
	}
	return s
}

// TestNamespacesInShort: the answer about looks stays small, and names the
// namespaces that were seen longest ago.
func TestNamespacesInShort(t *testing.T) {
	s := crowded(time.Unix(1_790_000_000, 0))
	s.Namespaces.Each[7].WholeSeen = time.Time{} // never
	s.Namespaces.Each[199].Idle = true           // has nothing to be seen
	got := viewer{s}.namespaces()
	if *got.PulseAgeSeconds != 0.995 || *got.WholeAgeSeconds != 198 {
		t.Errorf("ages %v and %v, want 0.995 and 198", *got.PulseAgeSeconds, *got.WholeAgeSeconds)
	}
	if len(got.Oldest) != maxOldest || got.Oldest[0].Name != "shop-007" || got.Oldest[0].WholeAgeSeconds != nil || got.Oldest[1].Name != "shop-198" {
		t.Errorf("oldest %+v", got.Oldest)
	}
	every := viewer{s}.eachNamespace()
	if len(every) != 200 || every[0].Name != "shop-007" || every[1].Name != "shop-198" || every[199].Name != "shop-199" || !every[199].Idle {
		t.Errorf("all of them: %d, first %s and %s, last %+v", len(every), every[0].Name, every[1].Name, every[len(every)-1])
	}
	raw, err := json.Marshal(got)
	if err != nil || len(raw) > 4<<10 {
		t.Errorf("%d bytes about 200 namespaces: %v", len(raw), err)
	}
}

// TestPictureStaysSmall: what goes out each second holds all of our own
// namespace, every scope with an incident, and some of the rest.
func TestPictureStaysSmall(t *testing.T) {
	s := crowded(time.Unix(1_790_000_000, 0))
	troubled := scope.ID{Kind: scope.KindService, Name: "nginx:80", Namespace: "shop-150"}
	s.Incidents = []judge.Incident{
		{ID: 1, State: judge.Open, Finding: judge.Finding{Scope: troubled}},
		{ID: 2, State: judge.Resolved, Finding: judge.Finding{Scope: scope.Host.In("shop-151")}},
	}
	p := viewer{s}.picture()
	if len(p.Scopes) != 3+maxPictured || p.ScopesLeftOut != 600-maxPictured {
		t.Errorf("%d scopes, %d left out; want %d and %d", len(p.Scopes), p.ScopesLeftOut, 3+maxPictured, 600-maxPictured)
	}
	there := map[string]string{}
	for _, x := range p.Scopes {
		there[x.ID] = x.Namespace
	}
	for _, want := range []scope.ID{{Kind: scope.KindService, Name: "nginx:80"}, scope.Host, scope.Rest, troubled} {
		if namespace, ok := there[want.String()]; !ok || namespace != want.Namespace {
			t.Errorf("%s is not in the picture", want)
		}
	}
	if got := len((viewer{s}).scopes()); got != 603 {
		t.Errorf("/api/v1/scopes has %d scopes, want all 603", got)
	}
	if p.Incidents[0].Namespace != "shop-150" {
		t.Errorf("the incident's namespace is %q", p.Incidents[0].Namespace)
	}
}
