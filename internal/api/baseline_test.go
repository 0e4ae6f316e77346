package api

import (
	"context"
	"testing"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestStateOfANorm: what is sampled hourly has one norm for all hours, which is no
// makeshift.
func TestStateOfANorm(t *testing.T) {
	for _, tt := range []struct {
		norm measure.Norm
		want string
	}{
		{measure.Norm{Signal: measure.NewFlowsRate, Learning: true}, "learning"},
		{measure.Norm{Signal: measure.NewFlowsRate}, "other_hours"},
		{measure.Norm{Signal: measure.NewFlowsRate, Hours: 13}, "known"},
		{measure.Norm{Signal: measure.SynSentTotalShare, Learning: true}, "learning"},
		{measure.Norm{Signal: measure.SynSentTotalShare}, "known"},
	} {
		n := HourNorm{13, tt.norm}
		if got := n.shown(13).State; got != tt.want {
			t.Errorf("%+v is %s, want %s", tt.norm, got, tt.want)
		}
	}
}

// taught is a Learner that knows one thing.
type taught struct{}

func (taught) Baseline(_ context.Context, _ scope.ID) (Learned, error) {
	noon := measure.Hours(13)
	return Learned{
		At: now, Hours: noon, InMemory: true,
		Norms: []HourNorm{{noon, measure.Norm{
			Scope: scope.ID{Kind: scope.KindService, Name: "web"}, Signal: measure.NewFlowsRate,
			Low: 20, Usual: 40, High: 80, Minutes: 300, Days: 5, Hours: noon,
		}}},
		LeftOut: []LeaveOut{{From: now, To: now, Why: "a move"}},
	}, nil
}

func (taught) ExportBaseline(context.Context) (BaselineFile, error) {
	return BaselineFile{Format: BaselineFormat, Version: BaselineVersion, Host: "web03", ExportedAt: now, Hours: []BaselineHour{{"weekday", 12, []byte{1}}}}, nil
}

func (taught) ImportBaseline(_ context.Context, in BaselineImport) (BaselineImported, error) {
	if in.File.Host != "web03" {
		return BaselineImported{}, &Refusal{"the file is of " + in.File.Host, "say so"}
	}
	return BaselineImported{Scopes: []string{"service/old"}, Absent: []string{"service/old"}, LeftOut: []string{}}, nil
}

func (taught) LeaveOut(context.Context, LeaveOut) error { return nil }

func (taught) ResetBaseline(context.Context, scope.ID) error { return nil }
