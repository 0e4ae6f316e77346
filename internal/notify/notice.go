package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Version is the version of a notice's JSON. It rises when a key goes or
// changes its meaning; new keys come without a rise.
const Version = 2

// Step is what happened to an incident since the channel was told of it last.
type Step string

// The steps.
const (
	Opened   Step = "opened"   // the channel's first word of the incident
	Worse    Step = "worse"    // its severity is above what the channel was told
	Lasting  Step = "lasting"  // nothing new: a reminder, or for receivers that forget what is not repeated
	Flapping Step = "flapping" // it opens and ends again and again: no more of it until it is calm, or worse
	Resolved Step = "resolved" // it is over; End says how
)

// Reason is why a notice is sent.
type Reason string

// The reasons.
const (
	News       Reason = "incidents"  // its incidents opened, got worse, or are over
	Escalation Reason = "escalation" // nobody took them in time, or what was done did not help
	FollowUp   Reason = "follow_up"  // what a later look said of them
	Test       Reason = "test"       // somebody tries the channel; its incidents are made up
)

// MostItems is how many incidents one notice describes; of the rest it says how
// many there are.
const MostItems = 50

// Notice is what one channel is told at one time, of one incident or several.
// It is a plain value, and its JSON is what webhooks get: keys carry their
// units, times are RFC 3339 in UTC on the wall's clock.
type Notice struct {
	Version int `json:"version"`
	// Key names this notice for ever: the same for each attempt to deliver it,
	// and different for every other notice of every host. 32 hex digits.
	Key     string    `json:"key"`
	Channel string    `json:"channel"`
	Reason  Reason    `json:"reason"`
	At      time.Time `json:"at"` // when it was decided
	// Says is one sentence for the whole; empty where its one incident says it.
	Says string `json:"says,omitempty"`

	Host   string            `json:"host"`
	Labels map[string]string `json:"labels"`
	// Link is the page of all incidents; empty without a public address.
	Link string `json:"link,omitempty"`
	// Severity is the worst of what is not over; of all where everything is.
	Severity string `json:"severity"`
	// Incidents are the first MostItems, the worst first; More counts the rest.
	Incidents []Item `json:"incidents"`
	More      []More `json:"more"`
}

// More is so many incidents that a notice does not describe: the record has
// them.
type More struct {
	Step     Step   `json:"step"`
	Cause    string `json:"cause"`
	Severity string `json:"severity"`
	Count    int    `json:"count"`
}

// Item is one step of one incident.
type Item struct {
	Step Step `json:"step"`
	// Sequence counts what this channel was told of this incident, from 1; one
	// that opens again before its end was told, or after a restart, goes on.
	Sequence int `json:"sequence"`
	// Note is what else there is to say of this step, in a sentence.
	Note string `json:"note,omitempty"`
	Link string `json:"link,omitempty"`

	// Incident is its number, unique on its host where a history is kept, else
	// within one run of the agent.
	Incident uint64 `json:"incident"`
	Scope    string `json:"scope"` // "service/web"
	Cause    string `json:"cause"`
	// Rule is the name of the user's rule; empty for every other cause.
	Rule string `json:"rule,omitempty"`
	// Severity is the worst that the channel has been told, with this notice.
	Severity string `json:"severity"`
	// Certainty is "certain", "likely" or "unknown"; Basis what it rests on.
	Certainty string `json:"certainty"`
	Basis     string `json:"basis"`
	Sentence  string `json:"sentence"`
	// Hurt is who is hurt, as far as that is seen.
	Hurt     string     `json:"hurt"`
	Trigger  string     `json:"trigger"`
	Evidence []Evidence `json:"evidence"`
	Advice   []string   `json:"advice"`
	// Pattern is "gradual_saturation", "sudden_spike", "resource_leak", or
	// empty like the two below.
	Pattern         string   `json:"pattern"`
	PatternEvidence string   `json:"pattern_evidence"`
	Response        string   `json:"response"`
	Prefixes        []Prefix `json:"prefixes"`

	OpenedAt       time.Time  `json:"opened_at"`
	UpdatedAt      time.Time  `json:"updated_at"` // of the evidence
	BlindSince     *time.Time `json:"no_evidence_since"`
	AcknowledgedAt *time.Time `json:"acknowledged_at"`
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"`
	ResolvedAt     *time.Time `json:"resolved_at"`
	// End is how it ended, as docs/NOTICES.md lists them; empty while it lasts.
	End string `json:"end,omitempty"`
	// Earlier are the lower severities the channel was told before, the first
	// one first.
	Earlier []Told `json:"earlier"`
}

// Told is a severity that a channel was told, and until when it was the worst.
type Told struct {
	Severity string    `json:"severity"`
	Until    time.Time `json:"until"`
}

// Evidence is a number beside the level it is held against.
type Evidence struct {
	Signal string `json:"signal"`
	Unit   string `json:"unit"` // "count", "seconds", "per_second"
	// Value is nil when it is not known; Unknown says why then.
	Value     *float64 `json:"value"`
	Unknown   string   `json:"unknown,omitempty"`
	Threshold *float64 `json:"threshold"` // nil: a number for context
	Origin    string   `json:"threshold_origin,omitempty"`
}

// Prefix is how many workers the clients of one prefix hold.
type Prefix struct {
	Prefix string `json:"prefix"`
	Held   uint32 `json:"held"`
	Slow   uint32 `json:"slow"`
}

// JSON is the notice as webhooks get it, one line.
func (n *Notice) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the body is no part of a page, and people read it
	if err := e.Encode(n); err != nil {
		return nil, fmt.Errorf("encode notice %s: %w", n.Key, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// thread is the incident that a notice is about; 0 for one about none or
// several.
func (n *Notice) thread() uint64 {
	if len(n.Incidents) == 1 && len(n.More) == 0 {
		return n.Incidents[0].Incident
	}
	return 0
}

// Over reports whether a notice only says that incidents are over.
func (n *Notice) Over() bool { return n.only(Resolved) }

// Repeats reports whether a notice says nothing new.
func (n *Notice) Repeats() bool { return n.only(Lasting) }

func (n *Notice) only(step Step) bool {
	return n.count() > 0 &&
		!slices.ContainsFunc(n.Incidents, func(i Item) bool { return i.Step != step }) &&
		!slices.ContainsFunc(n.More, func(m More) bool { return m.Step != step })
}

// about reports whether both notices are about one incident, the same.
func (n *Notice) about(o *Notice) bool { return n.thread() != 0 && n.thread() == o.thread() }

// part is what one item gives to the key of its notice. opened is on the
// pipeline's steady clock, which nobody can set, so that the key does not change
// with the wall's.
type part struct {
	incident uint64
	opened   time.Time
	step     Step
	sequence int
}

// key hashes what makes a notice the one it is; lengths keep the parts apart.
func key(host, channel string, parts []part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%s|%d:%s", len(host), host, len(channel), channel)
	for _, p := range parts {
		fmt.Fprintf(&b, "|%d|%d|%s|%d", p.incident, p.opened.UnixNano(), p.step, p.sequence)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// describe fills in what the incident says. offset leads from the pipeline's
// clock to the wall's.
func (n *Item) describe(inc *judge.Incident, offset time.Duration) {
	f := &inc.Finding
	n.Incident, n.Scope, n.Cause, n.Rule = inc.ID, f.Scope.String(), f.Cause.String(), f.Rule
	n.Certainty, n.Basis, n.Sentence, n.Hurt, n.Trigger = f.Certainty.String(), f.Basis, f.Sentence, f.Hurt, f.Trigger
	n.Pattern, n.PatternEvidence, n.Response = f.Pattern.String(), f.PatternEvidence, f.Response
	n.Advice = append([]string{}, f.Advice...)
	n.Evidence = make([]Evidence, 0, len(f.Evidence))
	for _, e := range f.Evidence {
		value, unknown := e.Reading.Shown()
		n.Evidence = append(n.Evidence, Evidence{e.Name(), string(e.Counts()), value, unknown, e.Level(), e.Origin})
	}
	n.Prefixes = make([]Prefix, 0, len(f.Prefixes))
	for _, p := range f.Prefixes {
		n.Prefixes = append(n.Prefixes, Prefix{p.Prefix.String(), p.Held, p.Slow})
	}
	n.UpdatedAt = wall(inc.UpdatedAt, offset)
	n.BlindSince = maybe(inc.BlindSince, offset)
	n.AcknowledgedAt, n.AcknowledgedBy = maybe(inc.AcknowledgedAt, offset), inc.AcknowledgedBy
	n.ResolvedAt, n.End = maybe(inc.ResolvedAt, offset), inc.End.String()
}

func wall(t time.Time, offset time.Duration) time.Time { return t.Add(offset).UTC() }

func maybe(t time.Time, offset time.Duration) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(wall(t, offset))
}
