package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/recording"
)

// What others ask the keeper.

var errNoAnswer = errors.New("the history does not answer in time")

// ask is a question to the store.
type ask struct {
	do     func(*history.Store) error
	answer chan error // room for one: work never waits
}

// reply asks the store.
func (k *keeper) reply(do func(*history.Store) error) error {
	if k.store == nil {
		return fmt.Errorf("the history does not work: %s", k.shown().Reason)
	}
	err := do(k.store)
	if history.Corrupt(err) {
		k.fail(time.Now(), err)
	}
	return err
}

// ask has do ask the store, or says why it cannot. While do runs nothing is
// written: who reads for long opens a history.Reader.
func (k *keeper) ask(ctx context.Context, do func(*history.Store) error) error {
	if k.dir == "" {
		return api.ErrNoHistory
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answer := make(chan error, 1)
	select {
	case k.asks <- ask{do, answer}:
	case <-k.done:
		return errors.New("the agent is stopping")
	case <-ctx.Done():
		return errNoAnswer
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return errNoAnswer
	}
}

// settle has what waits written now, so that a Reader finds it.
func (k *keeper) settle(ctx context.Context) error {
	return k.ask(ctx, func(*history.Store) error { return k.write() })
}

// unwritten are the segments that overlap a span and are not in the file yet,
// oldest first.
func (k *keeper) unwritten(from, to time.Time) []recording.Segment {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []recording.Segment
	for _, entries := range [][]entry{k.writing, k.waiting} {
		for i := range entries {
			if s := entries[i].segment; s != nil && !s.To.Before(from) && !s.From.After(to) {
				out = append(out, *s)
			}
		}
	}
	return out
}

// segments hands the raw tallies that overlap a span to each, oldest first: what
// the history has, and what it cannot write. A history that does not answer is
// not read.
func (k *keeper) segments(ctx context.Context, from, to time.Time, each func(recording.Segment) error) error {
	settled := k.settle(ctx)
	waiting := k.unwritten(from, to)
	if !errors.Is(settled, errNoAnswer) {
		if err := k.stored(ctx, from, to, waiting, each); err != nil && (len(waiting) == 0 || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	for _, s := range waiting {
		if err := each(s); err != nil {
			return err
		}
	}
	return nil
}

// stored hands on those that are in the file, but for some that are known.
func (k *keeper) stored(ctx context.Context, from, to time.Time, known []recording.Segment, each func(recording.Segment) error) error {
	select {
	case k.reading <- struct{}{}:
		defer func() { <-k.reading }()
	case <-ctx.Done():
		return fmt.Errorf("read the history: others do: %w", ctx.Err())
	}
	r, err := history.OpenReader(k.dir)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Segments(from, to, func(s recording.Segment) error {
		isThis := func(o recording.Segment) bool { return bytes.Equal(o.Data, s.Data) }
		if slices.ContainsFunc(known, isThis) {
			return nil // it was written meanwhile
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(s)
	})
}

// limit is what the keeper cannot do, for people.
func (k *keeper) limit() (api.Limit, bool) {
	s := k.shown()
	reason := s.Reason
	if s.Dropped > 0 && reason != "" {
		reason += fmt.Sprintf("; %d of what was to be kept are lost", s.Dropped)
	}
	if s.SetAside != "" {
		reason = strings.TrimPrefix(reason+"; a corrupt file was set aside, and what it held is not read: "+s.SetAside, "; ")
	}
	return api.Limit{Subject: "history", Reason: reason}, k.nowhere || s.State == api.HistoryFailing || s.SetAside != ""
}

// PastIncidents implements api.Past. What changed within the last second may
// not be there yet.
func (k *keeper) PastIncidents(ctx context.Context, q api.PastQuery) (documents [][]byte, next int64, err error) {
	var found []history.Incident
	err = k.ask(ctx, func(s *history.Store) (err error) {
		found, err = s.Incidents(history.Query{Since: q.Since, Until: q.Until, State: q.State, Severity: q.Severity, Before: q.Before, Limit: q.Limit + 1})
		if err != nil {
			return err
		}
		return withActions(s, found)
	})
	if err != nil {
		return nil, 0, err
	}
	if len(found) > q.Limit {
		found = found[:q.Limit]
		next = found[q.Limit-1].Seq
	}
	for _, i := range found {
		documents = append(documents, i.Document)
	}
	return documents, next, nil
}

// withActions puts what was done about incidents into their documents.
func withActions(s *history.Store, found []history.Incident) (err error) {
	for i := range found {
		if found[i].Document, err = DocumentWithActions(s, &found[i]); err != nil {
			return err
		}
	}
	return nil
}

// DocumentWithActions is the document of an incident with what was done about
// it; from is the history that it is from.
func DocumentWithActions(from interface {
	Actions(incident uint64) ([]history.Action, error)
}, i *history.Incident) ([]byte, error) {
	actions, err := from.Actions(i.ID)
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for _, a := range actions {
		documents = append(documents, a.Data)
	}
	return api.WithActions(i.Document, documents)
}

// PastIncident implements api.Past.
func (k *keeper) PastIncident(ctx context.Context, id uint64) (document []byte, err error) {
	var found []history.Incident
	err = k.ask(ctx, func(s *history.Store) (err error) {
		if found, err = s.Incidents(history.Query{ID: id, Limit: 1}); err != nil {
			return err
		}
		return withActions(s, found)
	})
	if errors.Is(err, api.ErrNoHistory) {
		return nil, nil
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0].Document, nil
}
