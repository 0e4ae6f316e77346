package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Line is a change as JSON: one line of `foreshock replay --output json`. Times
// are the wall's; keys only grow.
type Line struct {
	At     time.Time `json:"at"`
	Change Kind      `json:"change"`
	// Incident is its number, from 1 in each replay.
	Incident uint64 `json:"incident"`
	Scope    string `json:"scope"`
	Cause    string `json:"cause"`
	Rule     string `json:"rule,omitempty"`
	// Severity is the worst so far; "none" while it is only suspected.
	Severity  string         `json:"severity"`
	Certainty string         `json:"certainty"`
	Sentence  string         `json:"sentence"`
	Hurt      string         `json:"hurt"` // who is
	Trigger   string         `json:"trigger"`
	Basis     string         `json:"basis"`
	Evidence  []LineEvidence `json:"evidence"`
	Suspected time.Time      `json:"suspected_at"`
	Opened    *time.Time     `json:"opened_at"`
	Resolved  *time.Time     `json:"resolved_at"`
	End       string         `json:"end,omitempty"`
	Because   string         `json:"because,omitempty"` // the cause that explains it
	// BecauseIncident is the number of the incident that has it.
	BecauseIncident uint64 `json:"because_incident,omitempty"`
}

// LineEvidence is one number that the finding rests on; value is null where it
// is not known, threshold where there is none.
type LineEvidence struct {
	Signal    string   `json:"signal"`
	Unit      string   `json:"unit"`
	Value     *float64 `json:"value"`
	Threshold *float64 `json:"threshold"`
}

// Line is the change as JSON has it.
func (c *Change) Line() Line {
	inc := &c.Incident
	f := &inc.Finding
	out := Line{
		At: c.At, Change: c.Kind, Incident: inc.ID, Scope: f.Scope.String(), Cause: f.Cause.String(), Rule: f.Rule,
		Severity: inc.Peak.String(), Certainty: f.Certainty.String(), Sentence: f.Sentence, Hurt: f.Hurt, Trigger: f.Trigger, Basis: f.Basis,
		Evidence: make([]LineEvidence, 0, len(f.Evidence)), Suspected: *c.wall(inc.SuspectedAt),
		Opened: c.wall(inc.OpenedAt), Resolved: c.wall(inc.ResolvedAt), End: inc.End.String(),
	}
	if inc.Because != judge.NoCause {
		out.Because, out.BecauseIncident = inc.Because.String(), inc.BecauseOf
	}
	for i := range f.Evidence {
		e := &f.Evidence[i]
		value, _ := e.Reading.Shown()
		out.Evidence = append(out.Evidence, LineEvidence{e.Name(), string(e.Counts()), value, e.Level()})
	}
	return out
}

// wall is a time of the incident's on the wall's clock; nil for none.
func (c *Change) wall(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return new(at.Add(c.Offset).UTC())
}

// JSON is the change as one line of JSON, with its end of line.
func (c *Change) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read it
	if err := e.Encode(c.Line()); err != nil {
		return nil, fmt.Errorf("encode incident %d: %w", c.Incident.ID, err)
	}
	return b.Bytes(), nil
}
