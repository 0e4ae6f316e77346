package api

import (
	"context"
	"errors"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/silence"
)

// quieted is a Silencer that has one silence, 3fa90c.
type quieted struct{}

func (quieted) Silence(_ context.Context, in SilenceRequest) (Silence, error) {
	switch in.UntilResolved {
	case 99:
		return Silence{}, ErrNoIncident
	case 503:
		return Silence{}, errors.New("the agent is stopping")
	}
	s := Silence{Silence: silence.Silence{
		ID: "3fa90c", Match: in.Match, From: now, Until: now.Add(time.Hour), Weekly: in.Weekly, Why: in.Why, By: in.By,
	}}
	return s, s.Check(now, []string{"workers_full"})
}

func (quieted) Unsilence(_ context.Context, id string) error {
	switch id {
	case "3fa90c":
		return nil
	case "maintenance/backups":
		return &Refusal{What: "it is configured", Hint: "take it out and reload"}
	}
	return ErrNoSilence
}

// quiet is a sample with a silence until an incident is over, and a maintenance
// window.
func quiet() *Snapshot {
	s := sample(now)
	window, err := silence.ParseWeekly("sat,sun 02:00-04:00 Europe/Dublin")
	if err != nil {
		panic(err)
	}
	s.Silences = []silence.Silence{
		{ID: "maintenance/backups", Match: silence.Matcher{Scope: "backend/db*"}, Weekly: []silence.Window{window}, Why: "backups", By: "the configuration"},
		{
			ID: "3fa90c", Match: silence.Matcher{Scope: "service/nginx:80"}, From: now.Add(-time.Hour), Until: now.Add(24 * time.Hour), UntilResolved: 7,
			Of: &silence.Subject{Scope: "service/nginx:80", Cause: judge.WorkersFull.String()}, Why: "ada works on it", By: "ada",
		},
	}
	for i := range s.Incidents {
		if s.Incidents[i].ID == 7 {
			s.Incidents[i].SilencedBy = "3fa90c"
		}
	}
	return s
}
