package api

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

func backendID(name string) scope.ID { return scope.ID{Kind: scope.KindBackend, Name: name} }

func seen(v float64) measure.Reading {
	return measure.Reading{Value: v, Samples: 4, Seen: now, Validity: measure.Known}
}

// behind is a balancer's picture: s1 fails and is called up, s2 answers, s3 is
// asked for nothing, and a database that has been found and not looked at.
func behind(at time.Time) *Snapshot {
	s := sample(at)
	for i, name := range []string{"shop/s2", "shop/s1", "shop/s3", "db/192.0.2.20:5432"} {
		group, _, _ := strings.Cut(name, "/")
		s.Backends = append(s.Backends, scope.Backend{
			Name: name, Group: group, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), 8080),
			Process: "haproxy", PIDs: []int{40}, Source: "haproxy /run/haproxy/admin.sock",
		})
	}
	s.Backends[1].Also, s.Backends[1].Limit = []string{"static/s1"}, "varnish talks to the same address"
	for _, name := range []string{"shop/s1", "shop/s2", "shop/s3"} {
		sig := measure.ScopeSignals{Scope: backendID(name), Group: "shop"}
		sig.Readings[measure.Established] = seen(12)
		sig.Readings[measure.BalancerUp] = seen(1)
		sig.Readings[measure.HeardAgo] = seen(0.2)
		sig.Readings[measure.Silent] = measure.Reading{Validity: measure.NoTraffic}
		s.View.Scopes = append(s.View.Scopes, sig)
	}
	s.View.Scopes[3].Readings[measure.Pending] = seen(11)
	s.View.Scopes[3].Readings[measure.PendingLongest] = seen(7.5)
	s.View.Scopes[5].Readings[measure.HeardAgo] = seen(300)
	frozen := judge.Incident{ID: 9, State: judge.Open, Peak: judge.Critical, SuspectedAt: at.Add(-9 * time.Second), OpenedAt: at.Add(-8 * time.Second), BalancerDownAt: at.Add(-time.Second),
		Finding: judge.Finding{Scope: backendID("shop/s1"), Cause: judge.PeerFrozen, Severity: judge.Critical, Sentence: "shop/s1 does not answer.", Siblings: "the 2 others carry 24 connections"}}
	slow := frozen
	slow.ID, slow.Finding.Cause, slow.Finding.Severity, slow.Because = 8, judge.PeerSlow, judge.Warning, judge.LocalFault
	over := frozen
	over.ID, over.State, over.End, over.Finding.Scope = 5, judge.Resolved, judge.Superseded, backendID("shop/s2")
	s.Incidents = append([]judge.Incident{frozen, slow, over}, s.Incidents...)
	return s
}

func TestVerdicts(t *testing.T) {
	open := func(s judge.Severity) judge.Incident {
		return judge.Incident{ID: 4, State: judge.Open, Finding: judge.Finding{Scope: backendID("b"), Cause: judge.LazyPool, Severity: s, Sentence: "it lingers"}}
	}
	readings := func(r map[measure.Signal]measure.Reading) map[measure.Signal]measure.Reading { return r }
	well := readings(map[measure.Signal]measure.Reading{measure.Established: seen(2), measure.HeardAgo: seen(3)})
	up := readings(map[measure.Signal]measure.Reading{measure.Established: seen(2), measure.HeardAgo: seen(3), measure.BalancerUp: seen(1)})
	four := new(uint64(4))
	blind, suspected, resolved, explained := open(judge.Critical), open(judge.Critical), open(judge.Critical), open(judge.Critical)
	old := open(judge.Critical)
	old.SuspectedAt = now.Add(time.Second)
	blind.BlindSince, suspected.State, resolved.State, explained.Because = now, judge.Suspected, judge.Resolved, judge.LocalFault
	tests := []struct {
		name      string
		readings  map[measure.Signal]measure.Reading
		incidents []judge.Incident
		want      Verdict
	}{
		{"nobody has looked", nil, nil, Verdict{State: StateUnknown, Reason: "never_seen"}},
		{"it answers", well, nil, Verdict{State: StateOK}},
		{"suspicion is no verdict", well, []judge.Incident{suspected}, Verdict{State: StateOK}},
		{"it is over", well, []judge.Incident{resolved}, Verdict{State: StateOK}},
		{"stale", map[measure.Signal]measure.Reading{measure.Established: {Value: 2, Validity: measure.Stale}, measure.HeardAgo: seen(1)}, nil, Verdict{State: StateUnknown, Reason: "stale"}},
		{"a reader without answers", map[measure.Signal]measure.Reading{measure.Established: seen(2), measure.HeardAgo: {Validity: measure.NoAbility}}, nil, Verdict{State: StateUnknown, Reason: "no_ability"}},
		{"idle", map[measure.Signal]measure.Reading{measure.Established: seen(2), measure.HeardAgo: seen(61), measure.Silent: {Validity: measure.NoTraffic}}, nil, Verdict{State: StateUnknown, Reason: "no_traffic"}},
		{"a long question", map[measure.Signal]measure.Reading{measure.Established: seen(2), measure.HeardAgo: seen(61), measure.Silent: seen(61)}, nil, Verdict{State: StateUnknown, Reason: "not_answered"}},
		{"watch is not disputed", up, []judge.Incident{open(judge.Watch)}, Verdict{State: StateWatch, Cause: "lazy_pool", Severity: "watch", Incident: four, Sentence: "it lingers"}},
		{"fails", well, []judge.Incident{open(judge.Warning)}, Verdict{State: StateFailing, Cause: "lazy_pool", Severity: "warning", Incident: four, Sentence: "it lingers"}},
		{"fails and is called up", up, []judge.Incident{open(judge.Critical)}, Verdict{State: StateFailing, Cause: "lazy_pool", Severity: "critical", Incident: four, Sentence: "it lingers", Disputed: true}},
		{"what it said before is no dispute", up, []judge.Incident{old}, Verdict{State: StateFailing, Cause: "lazy_pool", Severity: "critical", Incident: four, Sentence: "it lingers"}},
		{"nothing shows any more", well, []judge.Incident{blind}, Verdict{State: StateUnknown, Reason: "no_evidence", Cause: "lazy_pool", Severity: "critical", Incident: four, Sentence: "it lingers"}},
		{"it is us", well, []judge.Incident{explained}, Verdict{State: StateFailing, Cause: "lazy_pool", Severity: "critical", Incident: four, Sentence: "it lingers", Because: "local_fault"}},
		{"the worst counts", well, []judge.Incident{open(judge.Watch), {ID: 3, State: judge.Open, Finding: judge.Finding{Scope: backendID("b"), Cause: judge.PathLost, Severity: judge.Critical}}, open(judge.Warning)},
			Verdict{State: StateFailing, Cause: "path_lost", Severity: "critical", Incident: new(uint64(3))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sig := measure.ScopeSignals{Scope: backendID("b")}
			for s, r := range tt.readings {
				sig.Readings[s] = r
			}
			v := viewer{&Snapshot{Incidents: tt.incidents}}
			if diff := cmp.Diff(tt.want, v.verdicts().of(&sig)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBackendsByGroup: the groups and their backends are in order, and a
// question for some still counts all.
func TestBackendsByGroup(t *testing.T) {
	type group struct {
		Group          string
		Total, Failing int
		Backends       []string
	}
	for _, tt := range []struct {
		query string
		want  []group
	}{
		{"", []group{{"db", 1, 0, []string{"db/192.0.2.20:5432 unknown"}}, {"shop", 3, 1, []string{"shop/s1 failing", "shop/s2 ok", "shop/s3 unknown"}}}},
		{"?group=shop", []group{{"shop", 3, 1, []string{"shop/s1 failing", "shop/s2 ok", "shop/s3 unknown"}}}},
		{"?failing=true", []group{{"shop", 3, 1, []string{"shop/s1 failing"}}}},
		{"?failing=true&group=db", []group{}},
		{"?failing=false&group=db", []group{{"db", 1, 0, []string{"db/192.0.2.20:5432 unknown"}}}},
	} {
		rec := httptest.NewRecorder()
		handler(t, newFake(behind(now)), token).ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/backends"+tt.query, nil))
		var answer Backends
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v: %s", tt.query, err, rec.Body)
		}
		got := []group{}
		for _, g := range answer.Groups {
			x := group{Group: g.Group, Total: g.Total, Failing: g.Failing}
			for _, b := range g.Backends {
				x.Backends = append(x.Backends, b.Name+" "+b.Verdict.State)
			}
			got = append(got, x)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
}

// TestNamesWithSlashes: a backend's name is found as people type it, and as
// programs escape it.
func TestNamesWithSlashes(t *testing.T) {
	for path, want := range map[string]int{
		"shop/s1": 200, "shop%2Fs1": 200, "db/192.0.2.20:5432": 200, "shop": 404, "shop/s9": 404, "": 404,
	} {
		rec := httptest.NewRecorder()
		handler(t, newFake(behind(now)), token).ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/scopes/backend/"+path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d: %s", path, rec.Code, want, rec.Body)
		}
	}
}

// TestContractKnowsEveryWord holds the enums of openapi.yaml against the lists
// they were written from.
func TestContractKnowsEveryWord(t *testing.T) {
	doc, _ := contract(t)
	var causes, reasons, ends []string
	for _, c := range judge.Causes() {
		causes = append(causes, c.String())
	}
	for v := measure.Validity(0); !strings.HasPrefix(v.String(), "validity_"); v++ {
		if v != measure.Known {
			reasons = append(reasons, v.String())
		}
	}
	for e := judge.NotEnded + 1; !strings.HasPrefix(e.String(), "end_"); e++ {
		ends = append(ends, e.String())
	}
	for _, tt := range []struct {
		schema, property string
		want             []string
	}{
		{"Incident", "cause", causes},
		{"Incident", "end", ends},
		{"Value", "unknown", append(slices.Clip(reasons), "not_a_number")},
		{"Verdict", "reason", append(slices.Clip(reasons), ReasonNotAnswered, ReasonNoEvidence)},
		{"Verdict", "state", []string{StateFailing, StateWatch, StateOK, StateUnknown}},
	} {
		var got []string
		for _, word := range doc.Components.Schemas[tt.schema].Value.Properties[tt.property].Value.Enum {
			got = append(got, word.(string))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s.%s (-want +got):\n%s", tt.schema, tt.property, diff)
		}
	}
}

// TestNote: a backend that only its balancer checks says so.
func TestNote(t *testing.T) {
	sig := measure.ScopeSignals{Scope: backendID("b")}
	sig.Readings[measure.ChecksEvery].Validity = measure.NotSuch
	if got := note(&sig); got != "" {
		t.Errorf("with other traffic: %q", got)
	}
	sig.Readings[measure.ChecksEvery] = seen(30)
	if got, want := note(&sig), "only its balancer's health checks, it seems: one exchange every 30 s and nothing else"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
}
