package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Past gives incidents of the history, as the JSON that [Document] made of
// them.
type Past interface {
	// PastIncidents returns a page of incidents, the newest first, and what to
	// ask for with Before to have the next one; 0 when there is none.
	PastIncidents(ctx context.Context, q PastQuery) (documents [][]byte, next int64, err error)
	// PastIncident returns the newest incident of that number; nil when there
	// is none.
	PastIncident(ctx context.Context, id uint64) ([]byte, error)
}

// PastQuery chooses incidents of the history; zero values choose all.
type PastQuery struct {
	Since, Until    time.Time
	State, Severity string
	Before          int64
	Limit           int // at least 1
}

// ErrNoHistory says that nothing is kept, as the configuration has it.
var ErrNoHistory = errors.New("this agent keeps no history")

// The states of a history.
const (
	HistoryOff     = "off" // nothing is kept, as configured
	HistoryOpening = "opening"
	HistoryWorking = "working"
	HistoryFailing = "failing"
)

// History is how the history does. Counts are since the agent's start; the
// zero value is one that is off.
type History struct {
	State string `json:"state"`
	// Reason says why it is not working; empty while it is.
	Reason    string `json:"reason"`
	Directory string `json:"directory"`
	// Bytes is how large the file is, as of the last minute; UsedBytes of
	// these hold something.
	Bytes     int64 `json:"bytes"`
	UsedBytes int64 `json:"used_bytes"`
	// Waiting is what is not yet written, Dropped what was lost for that.
	Waiting  int    `json:"waiting"`
	Written  uint64 `json:"written"`
	Dropped  uint64 `json:"dropped"`
	Failures uint64 `json:"failures"`
	// SetAside is where the last corrupt file is now.
	SetAside string `json:"set_aside,omitempty"`
}

func (h History) shown() History {
	if h.State == "" {
		h.State = HistoryOff
	}
	return h
}

const (
	defaultPage = 100
	mostPage    = 500 // some kilobytes each
)

// Document is the JSON of an incident as the API shows it, for the history. all
// are those that it is one of, offset is what its times differ from the wall's.
func Document(i *judge.Incident, all []judge.Incident, offset time.Duration) ([]byte, error) {
	v := viewer{&Snapshot{ClockOffset: offset, Incidents: all}}
	raw, err := json.Marshal(v.incident(i))
	if err != nil {
		return nil, fmt.Errorf("encode incident %d: %w", i.ID, err)
	}
	return raw, nil
}

// Ended rewrites the document of an incident that was open when its agent
// ended: it is over, and not shown as recovered. Fields that this program does
// not know stay.
func Ended(document []byte, at time.Time) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(document, &all); err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	if all == nil {
		return nil, errors.New("read an incident: it is null")
	}
	var timeline []json.RawMessage
	if err := json.Unmarshal(all["timeline"], &timeline); all["timeline"] != nil && err != nil {
		return nil, fmt.Errorf("read an incident's timeline: %w", err)
	}
	step, err := json.Marshal(Step{At: at.UTC(), What: "the agent stopped while this was open: whether it recovered is not known"})
	if err != nil {
		return nil, fmt.Errorf("encode a step: %w", err)
	}
	for key, value := range map[string]any{
		"state": judge.Resolved.String(), "end": judge.AgentStopped.String(), "resolved_at": at.UTC(), "timeline": append(timeline, step),
	} {
		if all[key], err = json.Marshal(value); err != nil {
			return nil, fmt.Errorf("encode %s: %w", key, err)
		}
	}
	return json.Marshal(all)
}

// pastQuery reads the parameters that ask for the history.
func pastQuery(query url.Values, q PastQuery) (PastQuery, error) {
	for key, at := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := query.Get(key); text != "" {
			var err error
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return q, fmt.Errorf("%s %.50q is not a time: write it as 2026-03-02T10:00:00Z", key, text)
			}
		}
	}
	q.Limit = defaultPage
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostPage {
			return q, fmt.Errorf("limit %.50q is not a number from 1 to %d", text, mostPage)
		}
		q.Limit = n
	}
	if text := query.Get("before"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return q, fmt.Errorf("before %.50q is not what next_before of a page said", text)
		}
		q.Before = n
	}
	return q, nil
}

func (s *server) pastIncidents(w http.ResponseWriter, r *http.Request, q PastQuery) {
	q, err := pastQuery(r.URL.Query(), q)
	if err != nil {
		s.problem(w, http.StatusBadRequest, err.Error(), "GET /api/v1/openapi.yaml says what is understood")
		return
	}
	if s.past == nil {
		s.noPast(w, ErrNoHistory)
		return
	}
	documents, next, err := s.past.PastIncidents(r.Context(), q)
	if err != nil {
		s.noPast(w, err)
		return
	}
	v := s.report()
	answer := Incidents{At: v.time(v.s.At), Incidents: []Incident{}, NextBefore: next}
	for _, d := range documents {
		i, err := ParseIncident(d)
		if err != nil { // the others are as good as they were
			s.log.Error("api: an incident of the history cannot be read", "error", err.Error())
			continue
		}
		answer.Incidents = append(answer.Incidents, i)
	}
	s.json(w, http.StatusOK, answer)
}

func (s *server) noPast(w http.ResponseWriter, err error) {
	hint := "GET /api/v1/status says how the history does"
	if errors.Is(err, ErrNoHistory) {
		hint = "give it a directory with state_dir: in its configuration"
	}
	s.problem(w, http.StatusServiceUnavailable, err.Error(), hint)
}

// pastIncident finds an incident that the agent does not know by itself, or
// answers that there is none.
func (s *server) pastIncident(w http.ResponseWriter, r *http.Request, id uint64) (Incident, bool) {
	what, hint := fmt.Sprintf("there is no incident %d", id), "GET /api/v1/incidents lists them"
	if s.past != nil {
		document, err := s.past.PastIncident(r.Context(), id)
		switch {
		case err != nil:
			what += " of this run of the agent, and its history cannot be asked: " + err.Error()
		case document != nil:
			i, err := ParseIncident(document)
			if err == nil {
				return i, true
			}
			what = fmt.Sprintf("incident %d of the history cannot be read: %s", id, err)
		}
	}
	s.problem(w, http.StatusNotFound, what, hint)
	return Incident{}, false
}

// ParseIncident reads the JSON of an incident. What was not yet there when it was
// written is empty; what this program does not know is passed over.
func ParseIncident(document []byte) (Incident, error) {
	var i Incident
	if err := json.Unmarshal(document, &i); err != nil {
		return Incident{}, fmt.Errorf("read an incident: %w", err)
	}
	i.Evidence, i.Considered, i.Advice, i.Timeline = listed(i.Evidence), listed(i.Considered), listed(i.Advice), listed(i.Timeline)
	i.Examples, i.Prefixes, i.Actions = listed(i.Examples), listed(i.Prefixes), listed(i.Actions)
	return i, nil
}
