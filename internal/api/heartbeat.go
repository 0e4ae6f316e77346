package api

import "time"

// Heartbeat is how telling a dead man's switch does. Counts are since the agent's
// start; times are the wall's, zero for what has not happened. The zero value is
// one that is off.
type Heartbeat struct {
	State string // one of the States below
	Every time.Duration
	// Sent were taken, Failures attempts that were not. Withheld is how often it
	// began that nobody was told as no look succeeded.
	Sent, Failures, Withheld uint64
	LastSentAt, LastErrorAt  time.Time
	LastError                string // names the host at most, never the address
}

// The states of a heartbeat.
const (
	HeartbeatOff      = "off"      // the configuration has none
	HeartbeatWaiting  = "waiting"  // it has not been tried yet
	HeartbeatWorking  = "working"  // the last attempt was taken
	HeartbeatFailing  = "failing"  // it was not
	HeartbeatWithheld = "withheld" // no look has succeeded lately: nobody is told
)

// HeartbeatView is a heartbeat as the API shows it.
type HeartbeatView struct {
	State        string     `json:"state"`
	EverySeconds float64    `json:"every_seconds"`
	Sent         uint64     `json:"sent"`
	Failures     uint64     `json:"failures"`
	Withheld     uint64     `json:"withheld"`
	LastSentAt   *time.Time `json:"last_sent_at"`
	LastError    string     `json:"last_error"`
	LastErrorAt  *time.Time `json:"last_error_at"`
}

func (h *Heartbeat) shown() HeartbeatView {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return new(t.UTC())
	}
	out := HeartbeatView{h.State, h.Every.Seconds(), h.Sent, h.Failures, h.Withheld, at(h.LastSentAt), h.LastError, at(h.LastErrorAt)}
	if out.State == "" {
		out.State = HeartbeatOff
	}
	return out
}
