package api

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// apart is a picture of two regions: east is lost, west has not been looked at.
func apart() *Snapshot {
	s := sample(now)
	prefix := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s.Regions = []scope.Region{
		{Name: "east", Prefixes: prefix, Source: "configured"},
		{Name: "west", Prefixes: prefix, Source: "ip-ranges.json (AWS), eu-west-1", Limit: "the ranges that it had before stay"},
	}
	east := measure.ScopeSignals{Scope: s.Regions[0].ID(), Group: scope.RegionGroup}
	east.Readings[measure.Established], east.Readings[measure.Connections] = seen(160), seen(170)
	east.Readings[measure.RetransmittingShare], east.Readings[measure.DestinationsUnanswered] = seen(0.5), seen(4)
	rest := measure.ScopeSignals{Scope: scope.Rest}
	rest.Readings[measure.Outgoing], rest.Readings[measure.UnclassifiedShare] = seen(200), seen(0.15)
	s.View.Scopes = append(s.View.Scopes, east)
	for i := range s.View.Scopes {
		if s.View.Scopes[i].Scope == scope.Rest {
			s.View.Scopes[i] = rest
			return lost(s)
		}
	}
	s.View.Scopes = append(s.View.Scopes, rest)
	return lost(s)
}

func lost(s *Snapshot) *Snapshot {
	s.Incidents = append([]judge.Incident{{ID: 12, State: judge.Open, Peak: judge.Critical, Finding: judge.Finding{
		Scope: s.Regions[0].ID(), Cause: judge.PathLost, Severity: judge.Critical, Sentence: "The region east is out of reach."}}}, s.Incidents...)
	return s
}

func TestRegions(t *testing.T) {
	serve := handler(t, newFake(apart()), token)
	rec := httptest.NewRecorder()
	serve.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/regions", nil))
	var got Regions
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	if len(got.Regions) != 2 {
		t.Fatalf("regions %+v, want two", got.Regions)
	}
	east, west := got.Regions[0], got.Regions[1]
	if diff := cmp.Diff(Verdict{State: StateFailing, Cause: "path_lost", Severity: "critical", Incident: new(uint64(12)), Sentence: "The region east is out of reach."}, east.Verdict); diff != "" {
		t.Errorf("verdict of east (-want +got):\n%s", diff)
	}
	if east.ID != "region/east" || *east.RetransmittingShare.Value != 0.5 || *east.DestinationsUnanswered.Value != 4 || east.Prefixes != 1 {
		t.Errorf("east is %+v", east)
	}
	if west.Verdict.State != StateUnknown || west.Connections.Value != nil || west.Connections.Unknown != "never_seen" || west.Limit == "" {
		t.Errorf("west is %+v", west)
	}
	if *got.Outgoing.Value != 200 || *got.UnclassifiedShare.Value != 0.15 {
		t.Errorf("%+v outgoing, %+v in no region", got.Outgoing, got.UnclassifiedShare)
	}
	rec = httptest.NewRecorder()
	serve.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/regions?region=east", nil))
	if rec.Code != 400 {
		t.Errorf("an unknown parameter: %d %s", rec.Code, rec.Body)
	}
	scopes, _ := Views(apart())
	for _, s := range scopes {
		if s.ID == "region/west" && (s.Region == nil || s.Region.Source != west.Source || len(s.Signals) == 0) {
			t.Errorf("the scope of west is %+v", s)
		}
	}
}
