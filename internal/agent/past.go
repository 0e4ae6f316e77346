package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
)

// What others ask the keeper.

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
		return errors.New("the history does not answer in time")
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return errors.New("the history does not answer in time")
	}
}

// settle has what waits written now, so that a Reader finds it.
func (k *keeper) settle(ctx context.Context) error {
	return k.ask(ctx, func(*history.Store) error { return k.write() })
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
		return err
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

// PastIncident implements api.Past.
func (k *keeper) PastIncident(ctx context.Context, id uint64) (document []byte, err error) {
	var found []history.Incident
	err = k.ask(ctx, func(s *history.Store) (err error) {
		found, err = s.Incidents(history.Query{ID: id, Limit: 1})
		return err
	})
	if errors.Is(err, api.ErrNoHistory) {
		return nil, nil
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0].Document, nil
}
