package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/foreshock/foreshock/internal/silence"
)

// Silencer changes what nobody is told of. The agent is one.
type Silencer interface {
	// Silence begins one. The error is a *silence.Problem where it is not one that
	// may be, ErrNoIncident where the incident it waits for is not open.
	Silence(ctx context.Context, in SilenceRequest) (Silence, error)
	// Unsilence ends one. The error is ErrNoSilence, or a *Refusal for one of the
	// configuration.
	Unsilence(ctx context.Context, id string) error
}

// ErrNoSilence is what a Silencer answers for a silence that is not there.
var ErrNoSilence = errors.New("no silence of that ID")

// Silence is one that has not ended.
type Silence struct {
	silence.Silence
	Active     bool `json:"active"`     // it holds now
	Configured bool `json:"configured"` // a maintenance window of the configuration
}

// Silences is the answer of GET /api/v1/silences.
type Silences struct {
	At time.Time `json:"at"`
	// InMemory: those that are not configured are lost with a restart.
	InMemory bool      `json:"in_memory"`
	Silences []Silence `json:"silences"`
}

// SilenceRequest is the body of POST /api/v1/silences.
type SilenceRequest struct {
	// Match may be left out with UntilResolved: then it is that incident.
	Match silence.Matcher `json:"match,omitzero"`
	From  time.Time       `json:"from,omitzero"` // now where it is not given
	// One of these says when it ends; a year from then at the latest.
	Until         time.Time        `json:"until,omitzero"`
	ForSeconds    float64          `json:"for_seconds,omitempty"`
	UntilResolved uint64           `json:"until_resolved,omitempty"`
	Weekly        []silence.Window `json:"weekly,omitempty"`
	Why           string           `json:"why"`
	By            string           `json:"by"`
}

func (v viewer) silences() []Silence {
	now := v.time(v.s.At)
	out := make([]Silence, 0, len(v.s.Silences))
	for _, s := range v.s.Silences {
		out = append(out, Silence{Silence: s, Active: s.Active(now), Configured: s.IsConfigured()})
	}
	return out
}

func (s *server) silences(w http.ResponseWriter, r *http.Request) {
	if !s.understands(w, r.URL.Query()) {
		return
	}
	v := s.report()
	s.json(w, http.StatusOK, Silences{At: v.time(v.s.At), InMemory: v.s.History.State == HistoryOff, Silences: v.silences()})
}

// silencer is who changes silences, or nil where that is answered already.
func (s *server) silencer(w http.ResponseWriter, r *http.Request) Silencer {
	if !s.may(w, r) {
		return nil
	}
	if s.quiets == nil {
		s.problem(w, http.StatusNotFound, "nobody is told of anything here", "GET /api/v1/openapi.yaml lists everything")
	}
	return s.quiets
}

func (s *server) addSilence(w http.ResponseWriter, r *http.Request) {
	quiets := s.silencer(w, r)
	if quiets == nil {
		return
	}
	var in SilenceRequest
	if !s.body(w, r, maxBody, &in) {
		return
	}
	made, err := quiets.Silence(r.Context(), in)
	if err != nil {
		s.notSilenced(w, err)
		return
	}
	s.log.Info("api: silenced", "id", made.ID, "match", made.Match.String(), "why", made.Why, "by", made.By, "remote", r.RemoteAddr)
	s.json(w, http.StatusOK, made)
}

func (s *server) notSilenced(w http.ResponseWriter, err error) {
	if problem, ok := errors.AsType[*silence.Problem](err); ok {
		s.problem(w, http.StatusBadRequest, problem.What, problem.Hint)
		return
	}
	if errors.Is(err, ErrNoIncident) {
		s.problem(w, http.StatusNotFound, "the incident that it is to wait for is not open", "GET /api/v1/incidents?state=open lists those that are")
		return
	}
	s.failed(w, err)
}

func (s *server) removeSilence(w http.ResponseWriter, r *http.Request) {
	quiets := s.silencer(w, r)
	if quiets == nil {
		return
	}
	id := r.PathValue("id")
	switch err := quiets.Unsilence(r.Context(), id); {
	case errors.Is(err, ErrNoSilence):
		s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no silence %.50q", id), "GET /api/v1/silences lists them")
	case err != nil:
		s.failed(w, err)
	default:
		s.log.Info("api: a silence was removed", "id", id, "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusNoContent)
	}
}
