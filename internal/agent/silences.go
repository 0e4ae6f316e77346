package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/silence"
)

// silenceKind is the kind of their memories.
const silenceKind = "silence"

// silences mark the incidents that nobody is to be told of. They are the
// loop's.
type silences struct {
	list    silence.List
	marked  map[uint64]marked // by incident
	version uint64            // rises when others hold
	holds   []string          // the IDs of those that held at the last step
	stepped time.Time         // on the wall clock
}

// marked is what was found of an incident, and for what.
type marked struct {
	version  uint64
	severity judge.Severity
	by       string
}

// configuredSilences are the maintenance windows.
func configuredSilences(cfg config.Config) []silence.Silence {
	var out []silence.Silence
	for _, m := range cfg.Maintenance {
		out = append(out, silence.Silence{
			ID: silence.Configured + m.Name, Match: m.Match, Weekly: []silence.Window{m.Window}, Why: m.Why, By: "the configuration",
		})
	}
	return out
}

// configure takes over the maintenance windows. One of the same name may mean
// others now: all is marked anew.
func (s *silences) configure(cfg config.Config) {
	s.list.Configure(configuredSilences(cfg))
	s.stepped = time.Time{}
	s.version++
}

// step ends and forgets what is due, once a second, and returns what is to be
// kept of that.
func (s *silences) step(wall time.Time, incidents []judge.Incident) []history.Memory {
	if since := wall.Sub(s.stepped); since >= 0 && since < time.Second {
		return nil
	}
	s.stepped = wall
	var open map[silence.Subject]bool // of what is not over, without severities; made when it is first asked for
	changed := s.list.Step(wall, func(of *silence.Subject) bool {
		if open == nil {
			open = make(map[silence.Subject]bool, len(incidents))
			for i := range incidents {
				if incidents[i].State != judge.Resolved {
					open[threadOf(&incidents[i])] = true
				}
			}
		}
		return open[*of]
	})
	same := len(s.list.Active()) == len(s.holds)
	for i, x := range s.list.Active() {
		same = same && x.ID == s.holds[i]
	}
	if !same {
		s.version++
		s.holds = s.holds[:0]
		for _, x := range s.list.Active() {
			s.holds = append(s.holds, x.ID)
		}
	}
	return remembered(changed)
}

// mark writes into each incident what keeps it quiet. One that is over keeps
// what it had.
func (s *silences) mark(wall time.Time, incidents []judge.Incident) {
	if len(s.holds) == 0 && len(s.marked) == 0 {
		return
	}
	if s.marked == nil {
		s.marked = make(map[uint64]marked)
	}
	if len(s.marked) > 2*len(incidents)+16 { // those long forgotten
		there := make(map[uint64]bool, len(incidents))
		for i := range incidents {
			there[incidents[i].ID] = true
		}
		maps.DeleteFunc(s.marked, func(id uint64, _ marked) bool { return !there[id] })
	}
	for i := range incidents {
		inc := &incidents[i]
		m, known := s.marked[inc.ID]
		if inc.State != judge.Resolved && (!known || m.version != s.version || m.severity != inc.Finding.Severity) {
			m = marked{version: s.version, severity: inc.Finding.Severity}
			if by := silence.Silenced(s.list.Active(), wall, subjectOf(inc)); by != nil {
				m.by = by.ID
			}
			s.marked[inc.ID] = m
		}
		inc.SilencedBy = m.by
	}
}

func subjectOf(inc *judge.Incident) silence.Subject {
	f := &inc.Finding
	return silence.Subject{Scope: f.Scope.String(), Namespace: f.Scope.Namespace, Cause: f.Cause.String(), Rule: f.Rule, Severity: f.Severity.String()}
}

// threadOf is what an incident is about, however bad it is.
func threadOf(inc *judge.Incident) silence.Subject {
	of := subjectOf(inc)
	of.Severity = ""
	return of
}

// remembered are silences as memories; one with nothing but an ID is forgotten.
func remembered(list []silence.Silence) []history.Memory {
	var out []history.Memory
	for i := range list {
		m := history.Memory{Kind: silenceKind, Key: list[i].ID}
		if !list[i].From.IsZero() {
			m.Data, _ = json.Marshal(&list[i]) // what was checked can be written
		}
		out = append(out, m)
	}
	return out
}

// own are those of people, as memories.
func (s *silences) own() []history.Memory {
	return remembered(slices.DeleteFunc(s.list.All(), func(x silence.Silence) bool { return x.IsConfigured() }))
}

// restore takes what was remembered; what cannot be read is left out and said.
func (s *silences) restore(memories []history.Memory) error {
	var list []silence.Silence
	var errs []error
	for _, m := range memories {
		var x silence.Silence
		if err := json.Unmarshal(m.Data, &x); err != nil || x.ID != m.Key || x.Until.IsZero() {
			errs = append(errs, fmt.Errorf("the silence %.50q cannot be read: %w", m.Key, cmp.Or(err, errors.New("it is none"))))
			continue
		}
		list = append(list, x)
	}
	s.list.Restore(list)
	s.stepped = time.Time{}
	return errors.Join(errs...)
}

func causeNames() []string {
	var out []string
	for _, c := range judge.Causes() {
		out = append(out, c.String())
	}
	return out
}

// wall is the wall clock's time, of the loop.
func (a *agent) wall() time.Time { return a.clock.Now().Add(a.clock.Offset()).UTC() }

// Silence implements api.Silencer.
func (a *agent) Silence(ctx context.Context, in api.SilenceRequest) (out api.Silence, err error) {
	id := make([]byte, 3)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	err = a.ask(ctx, func(h *Host) error {
		now := a.wall()
		s, err := silenceOf(in, now, h.court.Incidents(a.clock.Now()))
		if err != nil {
			return err
		}
		s.ID = hex.EncodeToString(id)
		if slices.ContainsFunc(a.silences.list.All(), func(x silence.Silence) bool { return x.ID == s.ID }) {
			return errors.New("no new ID was found")
		}
		if err := s.Check(now, causeNames()); err != nil {
			return err
		}
		if err := a.silences.list.Add(now, s); err != nil {
			return err
		}
		a.silences.stepped = time.Time{}
		a.keeper.remember(remembered([]silence.Silence{s}))
		a.keeper.change(history.Change{At: now, Who: s.By, What: "silence", Detail: s.ID + ": " + s.Match.String() + ": " + s.Why})
		out = api.Silence{Silence: s, Active: s.Active(now)}
		return nil
	})
	return out, err
}

// silenceOf is what somebody asks for. Where that has no end of its own it is
// the latest there may be.
func silenceOf(in api.SilenceRequest, now time.Time, incidents []judge.Incident) (silence.Silence, error) {
	s := silence.Silence{
		Match: in.Match, From: in.From.UTC(), Until: in.Until.UTC(), UntilResolved: in.UntilResolved, Weekly: in.Weekly, Why: in.Why, By: in.By,
	}
	if s.From.IsZero() || s.From.Before(now) {
		s.From = now
	}
	switch {
	case in.ForSeconds != 0 && !in.Until.IsZero():
		return s, &silence.Problem{Key: "until", What: "it has both until and for_seconds", Hint: "send one of them"}
	case in.ForSeconds < 0 || in.ForSeconds > silence.MaxSpan.Seconds():
		return s, &silence.Problem{Key: "for_seconds", What: "for_seconds is not within a second to a year", Hint: "what is forgotten must end: choose a shorter time"}
	case in.ForSeconds > 0:
		s.Until = s.From.Add(time.Duration(in.ForSeconds * float64(time.Second)))
	case in.Until.IsZero() && len(in.Weekly) == 0 && in.UntilResolved == 0:
		return s, &silence.Problem{Key: "until", What: "it has no end", Hint: "send until, for_seconds, until_resolved or weekly"}
	case in.Until.IsZero():
		s.Until = s.From.Add(silence.MaxSpan)
	}
	if in.UntilResolved == 0 {
		return s, nil
	}
	at := slices.IndexFunc(incidents, func(i judge.Incident) bool { return i.ID == in.UntilResolved && i.State != judge.Resolved })
	if at < 0 {
		return s, api.ErrNoIncident
	}
	of := threadOf(&incidents[at])
	s.Of = &of
	if s.Match == (silence.Matcher{}) {
		s.Match = silence.Matcher{Scope: of.Scope, Cause: of.Cause, Rule: of.Rule}
	}
	return s, nil
}

// Unsilence implements api.Silencer.
func (a *agent) Unsilence(ctx context.Context, id string) error {
	return a.ask(ctx, func(*Host) error {
		if slices.ContainsFunc(a.silences.list.All(), func(s silence.Silence) bool { return s.ID == id && s.IsConfigured() }) {
			return &api.Refusal{What: "it is a maintenance window of the configuration", Hint: "take it out of the file and reload"}
		}
		now := a.wall()
		s, there := a.silences.list.Remove(now, id)
		if !there {
			return api.ErrNoSilence
		}
		a.silences.stepped = time.Time{}
		a.keeper.remember(remembered([]silence.Silence{s}))
		a.keeper.change(history.Change{At: now, Who: "the API", What: "unsilence", Detail: s.ID + ": " + s.Match.String()})
		return nil
	})
}
