package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/foreshock/foreshock/internal/judge"
)

// What the API answers, call by call, where that has no file of its own.

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, s.report().status())
}

func (s *server) scopes(w http.ResponseWriter, _ *http.Request) {
	v := s.view()
	s.json(w, http.StatusOK, Scopes{At: v.time(v.s.At), Scopes: v.scopes()})
}

func (s *server) scope(w http.ResponseWriter, r *http.Request) {
	kind, name := r.PathValue("kind"), r.PathValue("name")
	for _, x := range s.view().scopes() {
		full := x.Name
		if x.Namespace != "" {
			full += "@" + x.Namespace
		}
		if x.Kind == kind && full == name {
			s.json(w, http.StatusOK, x)
			return
		}
	}
	s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no scope %.200q", kind+"/"+name), "GET /api/v1/scopes lists them")
}

func (s *server) incidents(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if !s.understands(w, query, "state", "severity", "since", "until", "before", "limit") {
		return
	}
	state, severity := query.Get("state"), query.Get("severity")
	states := []string{judge.Suspected.String(), judge.Open.String(), judge.Resolved.String()}
	severities := []string{judge.Watch.String(), judge.Warning.String(), judge.Critical.String()}
	if state != "" && !slices.Contains(states, state) {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("unknown state %.50q", state), "the states are "+strings.Join(states, ", "))
		return
	}
	if severity != "" && !slices.Contains(severities, severity) {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("unknown severity %.50q", severity), "the severities are "+strings.Join(severities, ", "))
		return
	}
	if query.Has("since") || query.Has("until") || query.Has("before") || query.Has("limit") {
		s.pastIncidents(w, r, PastQuery{State: state, Severity: severity})
		return
	}
	v := s.report()
	s.json(w, http.StatusOK, Incidents{At: v.time(v.s.At), Incidents: v.incidents(func(i *judge.Incident) bool {
		return (state == "" || i.State.String() == state) && (severity == "" || i.Finding.Severity.String() == severity)
	})})
}

// understands reports whether a query has no other parameters than these, and
// answers it when it has: a typing mistake would otherwise show everything.
func (s *server) understands(w http.ResponseWriter, query url.Values, known ...string) bool {
	for key := range query {
		if !slices.Contains(known, key) {
			hint := "it takes none"
			if last := len(known) - 1; last == 0 {
				hint = "the parameter is " + known[0]
			} else if last > 0 {
				hint = "the parameters are " + strings.Join(known[:last], ", ") + " and " + known[last]
			}
			s.problem(w, http.StatusBadRequest, fmt.Sprintf("unknown parameter %.50q", key), hint)
			return false
		}
	}
	return true
}

func (s *server) incidentID(w http.ResponseWriter, r *http.Request) (uint64, bool) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("%.50q is not an incident's number", r.PathValue("id")), "GET /api/v1/incidents lists them")
	}
	return id, err == nil
}

func (s *server) incident(w http.ResponseWriter, r *http.Request) {
	id, ok := s.incidentID(w, r)
	if !ok {
		return
	}
	if found, ok := s.findIncident(w, r, id); ok {
		s.json(w, http.StatusOK, found)
	}
}

// findIncident finds an incident of this run of the agent, or of an earlier one,
// or answers that there is none.
func (s *server) findIncident(w http.ResponseWriter, r *http.Request, id uint64) (Incident, bool) {
	if found := s.report().incidents(func(i *judge.Incident) bool { return i.ID == id }); len(found) > 0 {
		return found[0], true
	}
	return s.pastIncident(w, r, id)
}

func (s *server) looks(w http.ResponseWriter, _ *http.Request) {
	v := s.report()
	s.json(w, http.StatusOK, Looks{At: v.time(v.s.At), Reader: v.s.Reader, Looks: v.looks(), Budget: v.s.Budget, Namespaces: v.namespaces()})
}

func (s *server) namespaces(w http.ResponseWriter, _ *http.Request) {
	v := s.report()
	s.json(w, http.StatusOK, NamespaceList{At: v.time(v.s.At), Namespaces: v.eachNamespace()})
}

func (s *server) limits(w http.ResponseWriter, _ *http.Request) {
	v := s.report()
	s.json(w, http.StatusOK, Limits{At: v.time(v.s.At), Limits: listed(v.s.Limits)})
}

func (s *server) channels(w http.ResponseWriter, _ *http.Request) {
	v := s.report()
	s.json(w, http.StatusOK, Channels{At: v.time(v.s.At), Channels: v.channels()})
}

func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI)
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// healthz: the loop has published lately. The clock is the machine's: the
// snapshot's own is steady and may differ from it, by the offset it carries.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	if age := s.source.Status().Age(time.Now()); age > AliveWithin {
		s.json(w, http.StatusServiceUnavailable, Health{Reason: fmt.Sprintf("the agent has not looked for %s", age.Round(time.Second))})
		return
	}
	s.json(w, http.StatusOK, Health{OK: true})
}

func (s *server) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.source.Status().Ready {
		s.json(w, http.StatusServiceUnavailable, Health{Reason: "the agent has not looked with every tier yet"})
		return
	}
	s.json(w, http.StatusOK, Health{OK: true})
}

// Acknowledgement is the body of an acknowledge call.
type Acknowledgement struct {
	By string `json:"by"`
}

func decodeAcknowledgement(in io.Reader) (Acknowledgement, error) {
	var a Acknowledgement
	if err := decodeOne(in, &a); err != nil {
		return Acknowledgement{}, err
	}
	a.By = strings.TrimSpace(a.By)
	if !printable(a.By) {
		return Acknowledgement{}, fmt.Errorf("by is a name of 1 to %d printable characters", maxName)
	}
	return a, nil
}

// printable reports whether a text of somebody may stand in a log line and on the
// page.
func printable(text string) bool {
	return text != "" && utf8.RuneCountInString(text) <= maxName && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (s *server) acknowledge(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r) {
		return
	}
	id, ok := s.incidentID(w, r)
	if !ok {
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		s.problem(w, http.StatusUnsupportedMediaType, fmt.Sprintf("the body is of type %.50q", r.Header.Get("Content-Type")), `send Content-Type: application/json and {"by": "your name"}`)
		return
	}
	a, err := decodeAcknowledgement(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", large.Limit), `send {"by": "your name"}`)
		return
	case err != nil:
		s.problem(w, http.StatusBadRequest, err.Error(), `send {"by": "your name"}`)
		return
	}
	switch err := s.actor.Acknowledge(r.Context(), id, a.By); {
	case errors.Is(err, ErrNoIncident):
		s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no open incident %d", id), "GET /api/v1/incidents?state=open lists them")
	case err != nil:
		s.problem(w, http.StatusServiceUnavailable, err.Error(), "try again")
	default:
		s.log.Info("api: incident acknowledged", "id", id, "by", a.By, "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *server) reload(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r) {
		return
	}
	switch err := s.actor.Reload(r.Context()); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		s.problem(w, http.StatusServiceUnavailable, err.Error(), "try again")
		return
	case err != nil:
		s.problem(w, http.StatusConflict, err.Error(), "the old configuration keeps running; foreshock config check says what is wrong")
		return
	}
	s.log.Info("api: configuration reloaded", "remote", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}
