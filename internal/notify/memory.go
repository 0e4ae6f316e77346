package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/scope"
)

// MemoryKind is the kind of a Planner's memories.
const MemoryKind = "told"

// Memory is what a Planner must still know after a restart: what one channel was
// told of one thread. It has the shape of the history's.
type Memory struct {
	Kind string // MemoryKind
	Key  string
	Data []byte // JSON; nil forgets it
}

// memoryVersion rises when memories of before cannot be read any more.
const memoryVersion = 1

type memoryKey struct {
	channel identity
	subject subject
}

// String is unique: names may have any character.
func (k memoryKey) String() string {
	raw, _ := json.Marshal([]string{k.channel.kind, k.channel.name, k.subject.scope.String(), k.subject.cause.String(), k.subject.rule}) // texts always can
	return string(raw)
}

// memory is what is kept of told, as JSON. Times are the wall's.
type memory struct {
	Version  int         `json:"version"`
	Kind     string      `json:"kind"`
	Channel  string      `json:"channel"`
	Scope    string      `json:"scope"`
	Cause    string      `json:"cause"`
	Rule     string      `json:"rule,omitempty"`
	Open     bool        `json:"open"`
	Severity string      `json:"severity"`
	Earlier  []Told      `json:"earlier,omitempty"`
	Sequence int         `json:"sequence"`
	ToldAt   time.Time   `json:"told_at"`
	OpenedAt time.Time   `json:"opened_at"` // as it was told
	Opened   time.Time   `json:"opened"`    // the pipeline's, for keys
	EndedAt  time.Time   `json:"ended_at,omitzero"`
	MovedAt  time.Time   `json:"moved_at,omitzero"`
	Openings []time.Time `json:"openings,omitempty"`
	Flapping bool        `json:"flapping,omitempty"`
	Incident uint64      `json:"incident"`
	// What an end needs where nobody sees it any more.
	Certainty string `json:"certainty"`
	Basis     string `json:"basis"`
	Sentence  string `json:"sentence"`
	Trigger   string `json:"trigger"`
}

// touch notes that what a channel knows of a thread is to be kept anew.
func (p *Planner) touch(c identity, t *thread) { p.changed[memoryKey{c, t.subject}] = true }

// Renew has Changed return everything, for a history that has lost it.
func (p *Planner) Renew() {
	for _, t := range p.order {
		for c, x := range t.told {
			if x != nil && x.sequence > 0 {
				p.touch(p.cfg.Channels[c].id(), t)
			}
		}
	}
}

// Changed returns what is to be kept anew since it was asked last, in no order;
// nil where that is nothing.
func (p *Planner) Changed() []Memory {
	if len(p.changed) == 0 {
		return nil
	}
	out := make([]Memory, 0, len(p.changed))
	for k := range p.changed {
		m := Memory{Kind: MemoryKind, Key: k.String()}
		c := p.position(k.channel)
		if t := p.threads[k.subject]; t != nil && c >= 0 && t.told[c] != nil && t.told[c].sequence > 0 {
			m.Data = p.encode(t, c)
		}
		out = append(out, m)
	}
	clear(p.changed)
	return out
}

func (p *Planner) position(channel identity) int {
	return slices.IndexFunc(p.cfg.Channels, func(c Channel) bool { return c.id() == channel })
}

func (p *Planner) encode(t *thread, c int) []byte {
	x, id := t.told[c], p.cfg.Channels[c].id()
	at := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return wall(t, p.offset)
	}
	m := memory{
		Version: memoryVersion, Kind: id.kind, Channel: id.name, Scope: t.scope.String(), Cause: t.cause.String(), Rule: t.rule,
		Open: x.open, Severity: x.severity.String(), Earlier: x.earlier, Sequence: x.sequence, ToldAt: at(x.last), OpenedAt: x.openedAt, Opened: x.opened,
		EndedAt: at(x.endedAt), MovedAt: at(x.movedAt), Flapping: x.flapping, Incident: x.item.Incident,
		Certainty: x.item.Certainty, Basis: x.item.Basis, Sentence: x.item.Sentence, Trigger: x.item.Trigger,
	}
	for _, o := range x.openings {
		m.Openings = append(m.Openings, at(o))
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil // a year beyond 9999: forgotten
	}
	return raw
}

// Restore takes what was kept before a restart; what was told since stays. now
// is the pipeline's time, offset what leads to the wall's. What belongs to a
// channel that is no more is forgotten. The error names what could not be read,
// as of a newer program, which stays as it is; the rest is taken.
func (p *Planner) Restore(now time.Time, offset time.Duration, memories []Memory) error {
	p.offset, p.awaitedSince = offset, time.Time{}
	var errs []error
	for _, raw := range memories {
		m, err := decode(raw.Data)
		if err != nil {
			errs = append(errs, fmt.Errorf("what was told, %.100q: %w", raw.Key, err))
			continue
		}
		c := p.position(identity{m.Kind, m.Channel})
		if c < 0 {
			p.changed[memoryKey{identity{m.Kind, m.Channel}, m.subject}] = true
			continue
		}
		t := p.threads[m.subject]
		if t == nil {
			t = p.thread(m.subject)
		}
		if t.told[c] == nil || t.told[c].sequence == 0 { // what only waits is no news to who knows of it
			t.told[c] = m.told(now, offset)
		}
	}
	return errors.Join(errs...)
}

// remembered is a memory that can be used.
type remembered struct {
	memory
	subject  subject
	severity judge.Severity
}

var errUnreadable = errors.New("it cannot be read")

func decode(data []byte) (remembered, error) {
	var m remembered
	if err := json.Unmarshal(data, &m.memory); err != nil {
		return remembered{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	id, ok := scope.Parse(m.Scope)
	cause := slices.IndexFunc(judge.Causes(), func(c judge.Cause) bool { return c.String() == m.Cause })
	severities := []judge.Severity{judge.Watch, judge.Warning, judge.Critical}
	severity := slices.IndexFunc(severities, func(s judge.Severity) bool { return s.String() == m.Severity })
	switch {
	case m.Version != memoryVersion:
		return remembered{}, fmt.Errorf("%w: it is of version %d, this agent reads %d", errUnreadable, m.Version, memoryVersion)
	case !ok || cause < 0 || severity < 0 || m.Sequence < 1:
		return remembered{}, fmt.Errorf("%w: %.80q, %.80q, %.80q, %d", errUnreadable, m.Scope, m.Cause, m.Severity, m.Sequence)
	}
	m.subject, m.severity = subject{id, judge.Causes()[cause], m.Rule}, severities[severity]
	return m, nil
}

// told is the memory as of now. A time ahead of now, of a clock that was wrong,
// is now.
func (m *remembered) told(now time.Time, offset time.Duration) *told {
	at := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		if t = t.Add(-offset); t.After(now) {
			return now
		}
		return t
	}
	x := &told{
		open: m.Open, severity: m.severity, earlier: m.Earlier, sequence: m.Sequence, last: at(m.ToldAt), openedAt: m.OpenedAt, opened: m.Opened,
		endedAt: at(m.EndedAt), movedAt: at(m.MovedAt), flapping: m.Flapping, awaited: m.Open,
		item: Item{
			Incident: m.Incident, Scope: m.Scope, Cause: m.Cause, Rule: m.Rule, Certainty: m.Certainty, Basis: m.Basis, Sentence: m.Sentence, Trigger: m.Trigger,
			Evidence: []Evidence{}, Advice: []string{}, Prefixes: []Prefix{}, UpdatedAt: m.ToldAt,
		},
	}
	for _, o := range m.Openings {
		x.openings = append(x.openings, at(o))
	}
	if len(x.openings) > FlapOpenings {
		x.openings = x.openings[len(x.openings)-FlapOpenings:]
	}
	return x
}
