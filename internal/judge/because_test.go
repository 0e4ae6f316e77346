package judge

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/scope"
)

// TestExplains: what comes of what, in time, at which place, and how grave.
func TestExplains(t *testing.T) {
	at := func(seconds float64) time.Time {
		return scenarioStart.Add(time.Duration(seconds * float64(time.Second)))
	}
	region := func(c Cause, peak Severity) Source {
		return Source{ID: 1, Scope: scope.ID{Kind: scope.KindRegion, Name: "east"}, Cause: c, Peak: peak, OpenedAt: at(60)}
	}
	us := Source{ID: 1, Scope: scope.Host, Cause: LocalFault, Peak: Critical, OpenedAt: at(60)}
	backend := &caseFile{scope: scope.ID{Kind: scope.KindBackend, Name: "shop/s1"}, region: "east"}
	inPod := &caseFile{scope: backend.scope.In("pod"), region: "east"}
	elsewhere := &caseFile{scope: backend.scope, region: "west"}
	nowhere := &caseFile{scope: backend.scope}
	east := &caseFile{scope: scope.ID{Kind: scope.KindRegion, Name: "east"}, region: "east"}
	eastOfPod := &caseFile{scope: east.scope.In("pod"), region: "east"}
	service := &caseFile{scope: scope.ID{Kind: scope.KindService, Name: "web"}}
	old := &caseFile{scope: shop.ID(scope.OldSide, "")}
	opened := func(c Cause, peak Severity, seconds float64) Incident {
		return Incident{ID: 2, State: Open, Peak: peak, OpenedAt: at(seconds), Finding: Finding{Cause: c, Severity: peak}}
	}
	suspected := func(c Cause, severity Severity) Incident {
		return Incident{ID: 2, State: Suspected, Finding: Finding{Cause: c, Severity: severity}}
	}
	tests := []struct {
		name   string
		source Source
		file   *caseFile
		inc    Incident
		want   bool
	}{
		{"a backend of a lost region", region(PathLost, Critical), backend, opened(PathLost, Critical, 58), true},
		{"suspected", region(PathLost, Critical), backend, suspected(PeerFrozen, Critical), true},
		{"later, as long as the region lasts", region(PathLost, Critical), backend, opened(GreenButFailing, Warning, 90), true},
		{"graver than the region, both are told of", region(PathLost, Warning), backend, opened(PathLost, Critical, 60), true},
		{"long before", region(PathLost, Critical), backend, opened(PathLost, Critical, 54), false},
		{"long before, and slow as the region is now", region(PeerSlow, Warning), backend, opened(PeerSlow, Warning, 41), true},
		{"in another region", region(PathLost, Critical), elsewhere, opened(PathLost, Critical, 60), false},
		{"in none", region(PathLost, Critical), nowhere, opened(PathLost, Critical, 60), false},
		{"its own fault", region(PathLost, Critical), backend, opened(PortExhaustion, Warning, 60), false},
		{"refused where the region is slow", region(PeerSlow, Warning), backend, opened(PeerRefusing, Critical, 60), false},
		{"refused where the region stops", region(OrderlyStop, Watch), backend, opened(PeerRefusing, Warning, 60), false},
		{"a stop where the region stops", region(OrderlyStop, Watch), backend, opened(OrderlyStop, Watch, 60), true},
		{"a warning by a watch", region(PeerSlow, Watch), backend, opened(PeerSlow, Warning, 60), false},
		{"suspected to be a warning by a watch", region(PeerSlow, Watch), backend, suspected(PeerSlow, Warning), false},
		{"in another namespace", region(PathLost, Critical), inPod, opened(PathLost, Critical, 60), true},
		{"itself", region(PathLost, Critical), east, opened(PathLost, Critical, 60), false},
		{"the same region in another namespace", region(PathLost, Critical), eastOfPod, opened(PathLost, Critical, 60), true},
		{"a service", us, service, opened(WorkersFull, Critical, 60), false},
		{"a region by us", us, east, opened(PathLost, Critical, 59), true},
		{"a region by us, long before", us, east, opened(PathLost, Critical, 57), false},
		{"an old address by us", us, old, opened(UsersFailingOnOld, Critical, 59), true},
		{"that it is asked for", us, old, opened(StaleDNS, Warning, 60), false},
		{"an old address by a region", region(PathLost, Critical), old, opened(UsersFailingOnOld, Critical, 60), false},
		{"us by us", us, &caseFile{scope: scope.Host}, opened(LocalFault, Critical, 60), false},
		{"a namespace's way by ours", us, &caseFile{scope: scope.Host.In("pod")}, opened(LocalFault, Critical, 61), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.source.explains(tt.file, &tt.inc); got != tt.want {
				t.Errorf("explains: %v, want %v", got, tt.want)
			}
		})
	}
}

// TestAttributed follows the mark of one incident: local fault goes before the
// region, the mark outlasts its source for a while, and goes at once where the
// incident is more than the source explains.
func TestAttributed(t *testing.T) {
	at := func(seconds float64) time.Time {
		return scenarioStart.Add(time.Duration(seconds * float64(time.Second)))
	}
	region := Source{ID: 7, Scope: scope.ID{Kind: scope.KindRegion, Name: "east"}, Cause: PeerSlow, Peak: Watch, OpenedAt: at(1)}
	us := Source{ID: 8, Scope: scope.Host, Cause: LocalFault, Peak: Critical, OpenedAt: at(2)}
	f := &caseFile{scope: scope.ID{Kind: scope.KindBackend, Name: "shop/s1"}, region: "east"}
	d := &dossier{incident: Incident{ID: 9, State: Open, Peak: Watch, OpenedAt: at(0), Finding: Finding{Cause: PeerSlow, Severity: Watch}}}
	type mark struct {
		At      float64
		Because Cause
		Of      uint64
	}
	var got []mark
	for _, step := range []struct {
		at      float64
		sources []Source
		peak    Severity
	}{
		{0, nil, Watch},
		{1, []Source{region}, Watch},
		{2, []Source{us, region}, Watch},
		{3, []Source{region}, Watch},
		{4, []Source{region}, Warning},
		{5, []Source{us, region}, Warning},
		{6, nil, Warning},
		{20, nil, Warning},
		{21, nil, Warning},
	} {
		d.incident.Peak = step.peak
		d.attribute(at(step.at), f, step.sources)
		got = append(got, mark{step.at, d.incident.Because, d.incident.BecauseOf})
	}
	want := []mark{
		{0, NoCause, 0}, {1, PeerSlow, 7}, {2, LocalFault, 8}, {3, PeerSlow, 7}, {4, NoCause, 0},
		{5, LocalFault, 8}, {6, LocalFault, 8}, {20, LocalFault, 8}, {21, NoCause, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	var says []string
	for _, s := range d.incident.Timeline {
		says = append(says, s.What)
	}
	if diff := cmp.Diff([]string{
		"because of peer_slow of region/east", "because of local_fault", "because of peer_slow of region/east",
		"more than peer_slow of region/east explains", "because of local_fault", "goes on without local_fault",
	}, says); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}
