package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
)

// FollowedSwitch is a switch that is followed: what this agent knows of it, and
// what follows from that alone. Who asks several agents merges their reports.
type FollowedSwitch struct {
	Report drain.Report `json:"report"`
	Status drain.Status `json:"status"`
}

// Drains is the answer of GET /api/v1/drains. The reports and what follows from
// them are without curves.
type Drains struct {
	At     time.Time        `json:"at"`
	Drains []FollowedSwitch `json:"drains"`
}

// maxClosed is how many connections one call may ask to close.
const maxClosed = 100_000

const drainsHint = "GET /api/v1/drains lists those that are followed"

// drainer is who follows switches, or nil where that is answered already.
func (s *server) drainer(w http.ResponseWriter) Drainer {
	if s.drains == nil {
		s.problem(w, http.StatusNotFound, "no switch can be followed here", "GET /api/v1/openapi.yaml lists everything")
	}
	return s.drains
}

// changesDrains is drainer for a call that changes something.
func (s *server) changesDrains(w http.ResponseWriter, r *http.Request) Drainer {
	if !s.may(w, r) {
		return nil
	}
	return s.drainer(w)
}

// switchName is a DNS name as switches have it. DNS does not care for case, and
// the last dot is the root's: RFC 4343, RFC 1034 section 3.1.
func switchName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (s *server) listDrains(w http.ResponseWriter, r *http.Request) {
	if !s.understands(w, r.URL.Query()) {
		return
	}
	follows := s.drainer(w)
	if follows == nil {
		return
	}
	v := s.report()
	out := Drains{At: v.time(v.s.At), Drains: []FollowedSwitch{}}
	for _, short := range follows.Drains() {
		whole, err := follows.Drain(short.Name)
		if err != nil {
			continue // it was ended this moment
		}
		one := followed(whole)
		one.Report.Curve, one.Status.Curve = []drain.Point{}, []drain.Point{}
		out.Drains = append(out.Drains, one)
	}
	s.json(w, http.StatusOK, out)
}

func (s *server) oneDrain(w http.ResponseWriter, r *http.Request) {
	if !s.understands(w, r.URL.Query()) {
		return
	}
	follows := s.drainer(w)
	if follows == nil {
		return
	}
	report, err := follows.Drain(switchName(r.PathValue("drain")))
	if err != nil {
		s.notDrained(w, r, err)
		return
	}
	s.json(w, http.StatusOK, followed(report))
}

func (s *server) startDrain(w http.ResponseWriter, r *http.Request) {
	follows := s.changesDrains(w, r)
	if follows == nil {
		return
	}
	var in DrainRequest
	if !s.body(w, r, maxBody, &in) {
		return
	}
	if in.Name = switchName(in.Name); !printable(in.By) {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("by is a name of 1 to %d printable characters", maxName), "GET /api/v1/openapi.yaml says what to send")
		return
	}
	report, err := follows.StartDrain(r.Context(), in)
	switch {
	case errors.Is(err, ErrDrainThere):
		s.problem(w, http.StatusConflict, fmt.Sprintf("a switch of %s is followed already", in.Name), "end that one first: DELETE /api/v1/drains/"+in.Name)
		return
	case err != nil:
		s.notDone(w, err, http.StatusBadRequest, "GET /api/v1/openapi.yaml says what to send")
		return
	}
	s.log.Info("api: a switch is followed", "name", in.Name, "old", fmt.Sprint(in.Old), "new", fmt.Sprint(in.New), "by", in.By, "remote", r.RemoteAddr)
	s.json(w, http.StatusOK, followed(report))
}

func (s *server) stopDrain(w http.ResponseWriter, r *http.Request) {
	follows := s.changesDrains(w, r)
	if follows == nil {
		return
	}
	query := r.URL.Query()
	if !s.understands(w, query, "by") {
		return
	}
	name, by := switchName(r.PathValue("drain")), query.Get("by")
	if !printable(by) {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("by is a name of 1 to %d printable characters", maxName), "add ?by=YOUR-NAME")
		return
	}
	if err := follows.StopDrain(r.Context(), name, by); err != nil {
		s.notDrained(w, r, err)
		return
	}
	s.log.Info("api: a switch is followed no more", "name", name, "by", by, "remote", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) closeStale(w http.ResponseWriter, r *http.Request) {
	follows := s.changesDrains(w, r)
	if follows == nil {
		return
	}
	var in CloseRequest
	if !s.body(w, r, maxBody, &in) {
		return
	}
	if !printable(in.By) || in.Most < 0 || in.Most > maxClosed {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("by is a name of 1 to %d printable characters, and most from 0 to %d", maxName, maxClosed), `send {"by": "your name", "really": false, "most": 100}`)
		return
	}
	name := switchName(r.PathValue("drain"))
	result, err := follows.CloseStale(r.Context(), name, in)
	if err != nil {
		s.notDrained(w, r, err)
		return
	}
	result.Sockets = listed(result.Sockets)
	if in.Really {
		s.log.Info("api: connections to old addresses were closed", "name", name, "closed", result.Closed, "gone", result.Gone, "left", result.Left, "by", in.By, "remote", r.RemoteAddr)
	}
	s.json(w, http.StatusOK, result)
}

// notDrained answers what a Drainer could not do about a switch that is followed,
// or is not.
func (s *server) notDrained(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ErrNoDrain) {
		s.problem(w, http.StatusNotFound, fmt.Sprintf("no switch of %.253q is followed", r.PathValue("drain")), drainsHint)
		return
	}
	s.notDone(w, err, http.StatusConflict, "GET /api/v1/limits says what this agent cannot do")
}

// notDone answers an error: that there was no time as something to try again, any
// other by a code, and with the way out that a Refusal names or else this one.
func (s *server) notDone(w http.ResponseWriter, err error, code int, hint string) {
	what := err.Error()
	if refused, ok := errors.AsType[*Refusal](err); ok {
		what, hint = refused.What, refused.Hint
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		code, hint = http.StatusServiceUnavailable, "try again; the agent's log says more"
	}
	s.problem(w, code, what, hint)
}

// route answers for clients that go by it instead of DNS: what they may keep, and
// for how long, is in the header that HTTP caches go by.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	if !s.understands(w, r.URL.Query()) {
		return
	}
	follows := s.drainer(w)
	if follows == nil {
		return
	}
	to, err := follows.Route(switchName(r.PathValue("route")))
	switch {
	case errors.Is(err, ErrNoDrain):
		s.problem(w, http.StatusNotFound, fmt.Sprintf("this agent does not know the way to %.253q", r.PathValue("route")), "go by DNS; the names under drain: in the configuration are known, and the switches that are followed: GET /api/v1/drains")
		return
	case err != nil:
		s.notDone(w, err, http.StatusServiceUnavailable, "go by DNS")
		return
	case len(to.Addresses) == 0:
		s.problem(w, http.StatusServiceUnavailable, fmt.Sprintf("no address of %s is known to be good now", to.Name), "go by DNS")
		return
	}
	to.MaxAgeSeconds = max(0, to.MaxAgeSeconds)
	w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", to.MaxAgeSeconds))
	s.json(w, http.StatusOK, to)
}

// followed is a report with what follows from it, whole: no list of them is null.
func followed(r drain.Report) FollowedSwitch {
	return FollowedSwitch{Report: wholeReport(r), Status: wholeStatus(drain.Merge([]drain.Report{r}))}
}

func wholeReport(r drain.Report) drain.Report {
	r.Old, r.New, r.Kept, r.Ports = listed(r.Old), listed(r.New), listed(r.Kept), listed(r.Ports)
	r.Curve, r.Laggards, r.Resolvers = listed(r.Curve), wholeLaggards(r.Laggards), wholeResolvers(r.Resolvers)
	r.Probes, r.Limits = listed(r.Probes), listed(r.Limits)
	return r
}

func wholeStatus(s drain.Status) drain.Status {
	s.Agents, s.Why, s.Curve = listed(s.Agents), listed(s.Why), listed(s.Curve)
	s.Laggards, s.Resolvers = wholeLaggards(s.Laggards), wholeResolvers(s.Resolvers)
	s.Probes, s.Advice, s.Limits = listed(s.Probes), listed(s.Advice), listed(s.Limits)
	return s
}

func wholeLaggards(in []drain.Laggard) []drain.Laggard {
	out := listed(in)
	for i := range out {
		out[i].PIDs = listed(out[i].PIDs)
	}
	return out
}

func wholeResolvers(in []drain.Resolver) []drain.Resolver {
	out := listed(in)
	for i := range out {
		out[i].Addresses, out[i].CNAMEs, out[i].Extended = listed(out[i].Addresses), listed(out[i].CNAMEs), listed(out[i].Extended)
	}
	return out
}
