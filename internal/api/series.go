package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Series is what the signals of an incident's evidence were, from before its
// suspicion until after its end.
type Series struct {
	Incident uint64 `json:"incident"`
	// From and To bound it; To is when it was asked for where the incident goes
	// on.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Sources say what answers for which time; what is missing was not kept, or
	// nobody looked.
	Sources []SeriesSource `json:"sources"`
	Signals []SignalSeries `json:"signals"`
	// Notes say what is missing, and why.
	Notes []string `json:"notes"`
}

// SeriesSource is a time that one source answers for.
type SeriesSource struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Source is "raw", each look, or "minutes", the least, the mean and the
	// greatest of each.
	Source string `json:"source"`
}

// SignalSeries is what one signal was.
type SignalSeries struct {
	Signal string `json:"signal"`
	// Scope is the incident's, or its host where only that has the signal.
	Scope string `json:"scope"`
	Unit  string `json:"unit"`
	Help  string `json:"help"` // what the signal is, for a person
	// Threshold is the level that it was held against last; nil for context.
	Threshold *float64 `json:"threshold"`
	// Points are in order of time, 600 at most. Where time is missing between
	// two of them nobody looked.
	Points []SeriesPoint `json:"points"`
}

// SeriesPoint is what a signal was for so many seconds: its least, its mean and
// its greatest value, or nil and why there is none.
type SeriesPoint struct {
	At       time.Time `json:"at"`
	Seconds  float64   `json:"seconds"`
	Least    *float64  `json:"least"`
	Mean     *float64  `json:"mean"`
	Greatest *float64  `json:"greatest"`
	Unknown  string    `json:"unknown,omitempty"`
}

// SeriesWithin is how long an agent works on a series at most.
const SeriesWithin = 2 * time.Second

// ErrSeriesBusy is what a Player answers while it makes another series.
var ErrSeriesBusy = errors.New("another series is being made")

// Player makes series of what was kept.
type Player interface {
	// Series plays what was kept of an incident again. The error is
	// ErrSeriesBusy, or that of ctx where there is more than can be played
	// within its time.
	Series(ctx context.Context, of *Incident) (Series, error)
}

// series answers for the graphs of an incident. Working them out costs what the
// agent's own looks of that span did, so it is bounded.
func (s *server) series(w http.ResponseWriter, r *http.Request) {
	id, ok := s.incidentID(w, r)
	if !ok {
		return
	}
	if s.plays == nil {
		s.unknown(w, r)
		return
	}
	of, ok := s.findIncident(w, r, id)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), SeriesWithin)
	defer cancel()
	switch answer, err := s.plays.Series(ctx, &of); {
	case err == nil:
		s.json(w, http.StatusOK, answer)
	case errors.Is(err, ErrSeriesBusy):
		s.problem(w, http.StatusServiceUnavailable, err.Error(), "ask again in a moment")
	case errors.Is(err, context.DeadlineExceeded):
		s.problem(w, http.StatusServiceUnavailable, fmt.Sprintf("more was kept of incident %d than can be played again within %s", id, SeriesWithin), "foreshock incident report --state-dir DIR reads the history itself, and takes its time")
	default:
		s.problem(w, http.StatusServiceUnavailable, err.Error(), "GET /api/v1/status says how the history does")
	}
}
