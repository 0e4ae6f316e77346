package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Responses is the answer of /api/v1/responses.
type Responses struct {
	At time.Time `json:"at"`
	// Responses are the workflows under way, the first one first.
	Responses []Response `json:"responses"`
	Hooks     []HookRuns `json:"hooks"`
}

// Response is a workflow: what is done about what one scope suffers.
type Response struct {
	Scope string `json:"scope"`
	// Key is the response of the configuration: a cause, a pattern or default.
	Key     string    `json:"key"`
	BeganAt time.Time `json:"began_at"`
	// OverAt is since when none of its incidents is open; nil while one is.
	OverAt         *time.Time `json:"over_at"`
	Incidents      []uint64   `json:"incidents"`
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"`
	// Actions are what was done, in that order, and then what is planned.
	Actions []Action `json:"actions"`
}

// HookRuns counts how runs of one hook ended since the agent's start.
type HookRuns struct {
	Hook   string `json:"hook"`
	Result string `json:"result"` // done, failed, dry_run
	Runs   uint64 `json:"runs"`
}

// Gathered is the answer of /api/v1/incidents/{id}/evidence: what the actions
// of its response brought, the first one first.
type Gathered struct {
	Incident uint64       `json:"incident"`
	Evidence []Attachment `json:"evidence"`
}

// The kinds of attachments.
const (
	AttachedBundle = "bundle" // Data is a Bundle
	AttachedRun    = "run"    // Data is a HookRun
)

// Attachment is what one action brought.
type Attachment struct {
	At   time.Time       `json:"at"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// HookRun is one run of a hook, with all that it was given and said.
type HookRun struct {
	Hook   string `json:"hook"`
	DryRun bool   `json:"dry_run"`
	// Input is what it got, or would have got; Output what it said, its middle
	// left out where it is too long.
	Input       json.RawMessage `json:"input"`
	Output      string          `json:"output"`
	OutputBytes int64           `json:"output_bytes"`
}

// Bundle is the evidence gathered about a scope at one time.
type Bundle struct {
	Version     int       `json:"version"` // 1
	At          time.Time `json:"at"`
	TookSeconds float64   `json:"took_seconds"`
	Host        string    `json:"host"`
	// Scope is what is measured of it, with example sockets and the prefixes
	// that hold most workers; nil where it is not there any more.
	Scope *Scope `json:"scope"`
	// Siblings are the other backends of its group.
	Siblings  []Sibling `json:"siblings"`
	Processes []Process `json:"processes"`
	Load      Load      `json:"load"`
	// Incidents are those of the host within the last hour.
	Incidents []Brief   `json:"incidents"`
	Recording Recording `json:"recording"`
	// NotRead says what could not be read, and Cut what was left out so that
	// the bundle stays within its size.
	NotRead []string `json:"not_read"`
	Cut     []string `json:"cut"`
}

// Sibling is another backend of a group, in short.
type Sibling struct {
	ID      string  `json:"id"`
	Verdict Verdict `json:"verdict"`
}

// Process is one process that owns a service's listeners.
type Process struct {
	PID        int        `json:"pid"`
	Name       string     `json:"name"`
	Unit       string     `json:"unit,omitempty"`
	StartedAt  *time.Time `json:"started_at"`
	RSSBytes   *int64     `json:"rss_bytes"`
	CPUSeconds *float64   `json:"cpu_seconds"` // since its start
	Threads    *int       `json:"threads"`
	OpenFiles  *int       `json:"open_files"`
}

// Load is how busy the host is; what is nil could not be read.
type Load struct {
	Average1m  *float64 `json:"load_average_1m"`
	Average5m  *float64 `json:"load_average_5m"`
	Average15m *float64 `json:"load_average_15m"`
	// Pressure is the share of the last 10 s in which some task waited, by
	// resource: cpu, memory, io.
	Pressure         map[string]float64 `json:"pressure_some_10s_ratio"`
	MemoryBytes      *int64             `json:"memory_bytes"`
	MemoryAvailBytes *int64             `json:"memory_available_bytes"`
	SwapFreeBytes    *int64             `json:"swap_free_bytes"`
}

// Brief is an incident in short.
type Brief struct {
	ID         uint64     `json:"id"`
	Scope      string     `json:"scope"`
	Cause      string     `json:"cause"`
	Severity   string     `json:"severity"`
	State      string     `json:"state"`
	OpenedAt   *time.Time `json:"opened_at"`
	ResolvedAt *time.Time `json:"resolved_at"`
	Sentence   string     `json:"sentence"`
}

// Recording is which span of the flight recording is kept of it.
type Recording struct {
	From    *time.Time `json:"from"`
	To      *time.Time `json:"to"`
	Command string     `json:"command"` // that takes it out and plays it again
	Note    string     `json:"note"`    // for how long it is there
}

// Evidences gives what the actions about incidents brought.
type Evidences interface {
	// Attachments returns those of one incident, the first one first.
	Attachments(ctx context.Context, incident uint64) ([]Attachment, error)
}

func (s *server) responses(w http.ResponseWriter, _ *http.Request) {
	v := s.report()
	s.json(w, http.StatusOK, Responses{At: v.time(v.s.At), Responses: listed(v.s.Responses), Hooks: listed(v.s.Hooks)})
}

// evidence answers with what was gathered about an incident.
func (s *server) evidence(w http.ResponseWriter, r *http.Request) {
	id, ok := s.incidentID(w, r)
	if !ok {
		return
	}
	var found []Attachment
	if s.evidences != nil {
		var err error
		if found, err = s.evidences.Attachments(r.Context(), id); err != nil && !errors.Is(err, ErrNoHistory) {
			s.problem(w, http.StatusServiceUnavailable, err.Error(), "GET /api/v1/status says how the history does")
			return
		}
	}
	known := len(found) > 0 || len(s.report().incidents(func(i *judge.Incident) bool { return i.ID == id })) > 0
	if !known {
		s.problem(w, http.StatusNotFound, fmt.Sprintf("nothing was gathered about an incident %d", id), "GET /api/v1/incidents lists them; a response has gather: true")
		return
	}
	s.json(w, http.StatusOK, Gathered{Incident: id, Evidence: listed(found)})
}

// WithActions puts actions into the document of an incident, each as JSON. What
// this program does not know in either of them stays.
func WithActions(document []byte, actions [][]byte) ([]byte, error) {
	if len(actions) == 0 {
		return document, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(document, &all); err != nil || all == nil {
		return document, nil // who reads it says so
	}
	list := make([]json.RawMessage, len(actions))
	for i, a := range actions {
		list[i] = a
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("read the actions of an incident: %w", err)
	}
	all["actions"] = raw
	out, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode an incident: %w", err)
	}
	return out, nil
}
