package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Learner answers for what is usual here. The agent is one.
type Learner interface {
	// Baseline is what is usual of one scope at every hour of the week; of every
	// scope at this hour where it is the zero ID.
	Baseline(ctx context.Context, of scope.ID) (Learned, error)
	// ExportBaseline is everything learned, for another host.
	ExportBaseline(ctx context.Context) (BaselineFile, error)
	// ImportBaseline takes it in the place of what was learned of its scopes. A
	// *Refusal says why not; then nothing has changed.
	ImportBaseline(ctx context.Context, in BaselineImport) (BaselineImported, error)
	// LeaveOut takes a span out of what is learned.
	LeaveOut(ctx context.Context, in LeaveOut) error
	// ResetBaseline forgets what was learned of one scope, or everything for the
	// zero ID.
	ResetBaseline(ctx context.Context, of scope.ID) error
}

// Refusal is why something is not done, and the way out.
type Refusal struct{ What, Hint string }

func (r *Refusal) Error() string { return r.What + "; " + r.Hint }

// Learned is what is usual. Times are the wall clock's.
type Learned struct {
	At       time.Time
	Hours    measure.Hours // that it is
	Norms    []HourNorm
	LeftOut  []LeaveOut
	InMemory bool // learned anew after each restart
}

// HourNorm is a norm and the hour of the week in which it holds.
type HourNorm struct {
	Of   measure.Hours
	Norm measure.Norm
}

// Baseline is what is usual, as JSON.
type Baseline struct {
	At       time.Time      `json:"at"`
	InMemory bool           `json:"in_memory"`
	Norms    []BaselineNorm `json:"norms"`
	LeftOut  []LeaveOut     `json:"left_out"`
}

// BaselineNorm is what one signal of one scope is in one hour of the week.
type BaselineNorm struct {
	Scope  string `json:"scope"`
	Signal string `json:"signal"`
	Unit   string `json:"unit"`
	Days   string `json:"days"` // weekday or weekend
	Hour   int    `json:"hour"` // of the day, in the agent's time zone
	Now    bool   `json:"now"`  // it is that hour
	// State is learning (less than an hour of it, or 14 days of what is
	// sampled hourly: it decides nothing),
	// other_hours (the widest of what else is known), or known.
	State   string  `json:"state"`
	Low     float64 `json:"low"`
	Usual   float64 `json:"usual"`
	High    float64 `json:"high"`
	Minutes int     `json:"minutes"`
	OfDays  int     `json:"of_days"`
}

// LeaveOut is a span that is not learned.
type LeaveOut struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Scope string    `json:"scope,omitempty"` // every scope when empty
	Why   string    `json:"why"`
}

// BaselineFile is what was learned, to be taken elsewhere.
type BaselineFile struct {
	Format     string         `json:"format"` // BaselineFormat
	Version    int            `json:"version"`
	Host       string         `json:"host"`
	ExportedAt time.Time      `json:"exported_at"`
	Hours      []BaselineHour `json:"hours"`
}

// The format of a file, and the version that this program reads and writes.
const (
	BaselineFormat  = "foreshock-baseline"
	BaselineVersion = 1
)

// BaselineHour is one hour of the week.
type BaselineHour struct {
	Days string `json:"days"`
	Hour int    `json:"hour"`
	Data []byte `json:"data"`
}

// BaselineImport is a file and what to do with it.
type BaselineImport struct {
	File BaselineFile `json:"file"`
	// As is the name of the agent's own host, where the file is of another.
	As string `json:"as,omitempty"`
	// ScopeMap renames scopes of the file to scopes of this host. When it is
	// given, only those in it are taken.
	ScopeMap map[string]string `json:"scope_map,omitempty"`
}

// BaselineImported is what became of an import.
type BaselineImported struct {
	Scopes []string `json:"scopes"` // that were taken
	// Absent are those of them that this host does not have now, LeftOut those
	// of the file that were not asked for.
	Absent  []string `json:"absent"`
	LeftOut []string `json:"left_out"`
}

// BaselineReset names one scope, or none for all.
type BaselineReset struct {
	Scope string `json:"scope,omitempty"`
}

// maxBaseline bounds a file, in bytes: ten times what a hundred scopes take.
const maxBaseline = 32 << 20

// DaysOf names the kind of day of an hour of the week.
func DaysOf(h measure.Hours) string {
	if h.Weekend() {
		return "weekend"
	}
	return "weekday"
}

func (s *server) learner(w http.ResponseWriter) Learner {
	if s.learns == nil {
		s.problem(w, http.StatusNotFound, "this agent learns nothing", "ask one that runs on a host")
	}
	return s.learns
}

// scopeOf reads a scope's name; empty is the zero ID.
func (s *server) scopeOf(w http.ResponseWriter, name string) (scope.ID, bool) {
	if name == "" {
		return scope.ID{}, true
	}
	id, ok := scope.Parse(name)
	if !ok {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("%.200q is no scope", name), "write it as service/web or backend/shop/s1; GET /api/v1/scopes lists them")
	}
	return id, ok
}

func (s *server) baseline(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if !s.understands(w, query, "scope", "signal") {
		return
	}
	l := s.learner(w)
	if l == nil {
		return
	}
	id, ok := s.scopeOf(w, query.Get("scope"))
	if !ok {
		return
	}
	learned, err := l.Baseline(r.Context(), id)
	if err != nil {
		s.failed(w, err)
		return
	}
	out := Baseline{At: learned.At, InMemory: learned.InMemory, Norms: []BaselineNorm{}, LeftOut: append([]LeaveOut{}, learned.LeftOut...)}
	for _, n := range learned.Norms {
		if signal := query.Get("signal"); signal == "" || n.Norm.Signal.String() == signal {
			out.Norms = append(out.Norms, n.shown(learned.Hours))
		}
	}
	s.json(w, http.StatusOK, out)
}

func (n *HourNorm) shown(now measure.Hours) BaselineNorm {
	state := "known"
	switch {
	case n.Norm.Learning:
		state = "learning"
	case n.Norm.Hours == measure.AllHours && n.Norm.Signal.Sampled() == measure.EveryLook:
		state = "other_hours"
	}
	return BaselineNorm{
		Scope: n.Norm.Scope.String(), Signal: n.Norm.Signal.String(), Unit: string(n.Norm.Signal.Definition().Unit),
		Days: DaysOf(n.Of), Hour: n.Of.Hour(), Now: n.Of == now, State: state,
		Low: n.Norm.Low, Usual: n.Norm.Usual, High: n.Norm.High, Minutes: n.Norm.Minutes, OfDays: n.Norm.Days,
	}
}

func (s *server) exportBaseline(w http.ResponseWriter, r *http.Request) {
	l := s.learner(w)
	if l == nil {
		return
	}
	file, err := l.ExportBaseline(r.Context())
	if err != nil {
		s.failed(w, err)
		return
	}
	s.json(w, http.StatusOK, file)
}

// failed answers what a learner could not do.
func (s *server) failed(w http.ResponseWriter, err error) {
	if refused, ok := errors.AsType[*Refusal](err); ok {
		s.problem(w, http.StatusConflict, refused.What, refused.Hint)
		return
	}
	s.problem(w, http.StatusServiceUnavailable, err.Error(), "try again; the agent's log says more")
}

// changes reads the body of a changing call on what was learned; ok is false
// where it has been answered already.
func (s *server) changes(w http.ResponseWriter, r *http.Request, most int64, into any) (l Learner, ok bool) {
	if !s.may(w, r) {
		return nil, false
	}
	if l = s.learner(w); l == nil {
		return nil, false
	}
	return l, s.body(w, r, most, into)
}

// body reads the JSON of a changing call; it is false where that has been
// answered already.
func (s *server) body(w http.ResponseWriter, r *http.Request, most int64, into any) bool {
	const hint = "GET /api/v1/openapi.yaml says what to send"
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		s.problem(w, http.StatusUnsupportedMediaType, fmt.Sprintf("the body is of type %.50q", r.Header.Get("Content-Type")), "send Content-Type: application/json")
		return false
	}
	err := decodeOne(http.MaxBytesReader(w, r.Body, most), into)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", large.Limit), hint)
		return false
	case err != nil:
		s.problem(w, http.StatusBadRequest, err.Error(), hint)
		return false
	}
	return true
}

// decodeOne reads one JSON object and nothing behind it.
func decodeOne(in io.Reader, into any) error {
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read the body: something follows the JSON object")
	}
	return nil
}

func (s *server) importBaseline(w http.ResponseWriter, r *http.Request) {
	var in BaselineImport
	l, ok := s.changes(w, r, maxBaseline, &in)
	if !ok {
		return
	}
	out, err := l.ImportBaseline(r.Context(), in)
	if err != nil {
		s.failed(w, err)
		return
	}
	s.log.Info("api: baselines imported", "from", in.File.Host, "scopes", len(out.Scopes), "remote", r.RemoteAddr)
	s.json(w, http.StatusOK, out)
}

func (s *server) leaveOut(w http.ResponseWriter, r *http.Request) {
	var in LeaveOut
	l, ok := s.changes(w, r, maxBody, &in)
	if !ok {
		return
	}
	if _, ok := s.scopeOf(w, in.Scope); !ok {
		return
	}
	if in.From.IsZero() || !in.To.After(in.From) || !printable(in.Why) {
		s.problem(w, http.StatusBadRequest, "a span is from a time to a later one, and why it is left out in 1 to 128 printable characters", `send {"from": "2026-03-02T09:00:00Z", "to": "2026-03-02T15:00:00Z", "why": "the move of the database"}`)
		return
	}
	if err := l.LeaveOut(r.Context(), in); err != nil {
		s.failed(w, err)
		return
	}
	s.log.Info("api: a span is not learned", "from", in.From, "to", in.To, "scope", in.Scope, "why", in.Why, "remote", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) resetBaseline(w http.ResponseWriter, r *http.Request) {
	var in BaselineReset
	l, ok := s.changes(w, r, maxBody, &in)
	if !ok {
		return
	}
	id, ok := s.scopeOf(w, in.Scope)
	if !ok {
		return
	}
	if err := l.ResetBaseline(r.Context(), id); err != nil {
		s.failed(w, err)
		return
	}
	s.log.Info("api: baselines forgotten", "scope", in.Scope, "remote", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}
