package web

import (
	"encoding/json"
	"fmt"
	"time"
)

// picture is what the page reads of an event stream's `snapshot`: the shapes of
// api.Picture, less what the page does not show. words.js reads the same JSON.
// Keys that an older agent does not send stay zero, and the page says unknown.
type picture struct {
	Status    status     `json:"status"`
	Scopes    []scope    `json:"scopes"`
	Incidents []incident `json:"incidents"`
	Looks     []look     `json:"looks"`
	Limits    []limit    `json:"limits"`
}

type status struct {
	At      time.Time `json:"at"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	Ready   bool      `json:"ready"`
	Reader  string    `json:"reader"`
	Budget  struct {
		Allowed float64 `json:"allowed_ratio"`
		Used    float64 `json:"used_ratio"`
	} `json:"budget"`
}

// value is a number, or why there is none.
type value struct {
	Value   *float64 `json:"value"`
	Unknown string   `json:"unknown"`
}

type scope struct {
	ID      string           `json:"id"`
	Kind    string           `json:"kind"`
	Name    string           `json:"name"`
	Listen  []string         `json:"listen"`
	Process string           `json:"process"`
	Signals map[string]value `json:"signals"`
	Workers *workers         `json:"workers"`
	Backend *backendOfScope  `json:"backend"`
}

// backendOfScope is what the API says of a backend beside its signals.
type backendOfScope struct {
	Remote  string   `json:"remote"`
	Group   string   `json:"group"`
	Source  string   `json:"source"`
	Also    []string `json:"also"`
	Limit   string   `json:"limit"`
	Note    string   `json:"note"` // what kind of traffic there is; may be empty
	Verdict struct {
		State    string `json:"state"` // "failing", "watch", "ok" or "unknown"
		Reason   string `json:"reason"`
		Disputed bool   `json:"disputed"` // it fails, and is called up
	} `json:"verdict"`
}

type workers struct {
	Software string `json:"software"`
	Held     string `json:"held"` // "connection", "request" or "unknown"
	Limit    *int   `json:"limit"`
	Origin   string `json:"origin"`
	Problem  string `json:"problem"`
}

type incident struct {
	ID              uint64       `json:"id"`
	State           string       `json:"state"`
	Scope           string       `json:"scope"`
	Cause           string       `json:"cause"`
	Rule            string       `json:"rule"` // of a user's rule, its name
	Severity        string       `json:"severity"`
	Certainty       string       `json:"certainty"`
	Basis           string       `json:"basis"`
	Sentence        string       `json:"sentence"`
	OpenedAt        *time.Time   `json:"opened_at"`
	BlindSince      *time.Time   `json:"no_evidence_since"`
	AcknowledgedAt  *time.Time   `json:"acknowledged_at"`
	AcknowledgedBy  string       `json:"acknowledged_by"`
	Pattern         string       `json:"pattern"`
	PatternEvidence string       `json:"pattern_evidence"`
	Response        string       `json:"response"`
	Siblings        string       `json:"siblings"`
	Because         string       `json:"because"`
	BalancerDownAt  *time.Time   `json:"balancer_down_at"`
	BalancerLag     *float64     `json:"balancer_lag_seconds"`
	Prefixes        []prefix     `json:"prefixes"`
	Considered      []considered `json:"considered"`
	Advice          []string     `json:"advice"`
}

type prefix struct {
	Prefix string `json:"prefix"`
	Held   int    `json:"held"`
	Slow   int    `json:"slow"`
}

type considered struct {
	Cause string `json:"cause"`
	Why   string `json:"why"`
}

type look struct {
	Tier            string   `json:"tier"`
	IntervalSeconds float64  `json:"interval_seconds"`
	CostSeconds     float64  `json:"cost_seconds"`
	AgeSeconds      *float64 `json:"age_seconds"`
	Sockets         int      `json:"sockets"`
	Completeness    string   `json:"completeness"`
	LastError       string   `json:"last_error"`
	CoveredByFull   bool     `json:"covered_by_full"`
}

type limit struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
}

// read reads the JSON of a picture.
func read(raw []byte) (picture, error) {
	var p picture
	if err := json.Unmarshal(raw, &p); err != nil {
		return picture{}, fmt.Errorf("read the picture: %w", err)
	}
	return p, nil
}
