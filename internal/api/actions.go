package api

import (
	"encoding/json"
	"time"
)

// Action is one thing that the response to an incident does: what is planned,
// what runs, and what came of it. A reader shows the words that it does not know
// as they are.
type Action struct {
	// At is when it began, or is to begin; on the wall's clock, UTC.
	At time.Time `json:"at"`
	// Kind is notify, gather, hook, follow_up or escalate.
	Kind string `json:"kind"`
	// State is planned, running, done, failed, dry_run, skipped or interrupted.
	State string `json:"state"`
	What  string `json:"what"` // for a person
	// Detail is JSON, whatever shape it has for its kind; nil for none.
	Detail json.RawMessage `json:"detail,omitempty"`
}
