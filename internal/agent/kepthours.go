package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/scope"
)

// keptHours keeps in the history what was learned. It writes through the keeper and
// reads through a reader of its own, so that reading for long, as of four weeks
// of hours, keeps nobody from writing.
type keptHours struct {
	keeper *keeper
	// latest are the hours that may not be in the file yet.
	latest memory
	reader *history.Reader // nil: none is open
	asked  bool            // the keeper was asked to write, and may not have answered
}

// PutMinute implements learnedStore.
func (s *keptHours) PutMinute(start time.Time, data []byte) { s.keeper.minute(start, data) }

// PutHour implements learnedStore.
func (s *keptHours) PutHour(start time.Time, data []byte) {
	s.latest.PutHour(start, data)
	s.keeper.hour(start, data)
}

// PutLeftOut implements learnedStore.
func (s *keptHours) PutLeftOut(x history.LeftOut) { s.keeper.leftOut(x) }

// open opens the reader.
func (s *keptHours) open() (*history.Reader, error) {
	if s.reader != nil {
		return s.reader, nil
	}
	r, err := history.OpenReader(s.keeper.dir)
	if err == nil {
		s.reader = r
	}
	return r, err
}

// Rest implements learnedStore: a reader that stayed open would keep the
// writer's log from being taken over.
func (s *keptHours) Rest() {
	s.asked = false
	if s.reader != nil {
		_ = s.reader.Close() // it has written nothing
		s.reader = nil
	}
}

// Minutes implements learnedStore.
func (s *keptHours) Minutes(from, to time.Time, each func(time.Time, []byte) error) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	return r.Minutes(from, to, each)
}

// Hours implements learnedStore: those in the file, and those on their way. A
// history that could never be opened has none in its file.
func (s *keptHours) Hours(from, to time.Time, wanted func(time.Time) bool, each func(time.Time, []byte) error) error {
	if len(s.latest.hours) > 0 && !s.asked {
		s.asked = true
		if s.keeper.settle(context.Background()) == nil {
			s.latest = memory{}
		}
	}
	r, err := s.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		err = r.Hours(from, to, func(start time.Time) bool { return !s.latest.has(start) && wanted(start) }, each)
		if _, some := errors.AsType[*history.UnreadableError](err); err != nil && !some {
			return err
		}
	}
	if later := s.latest.Hours(from, to, wanted, each); later != nil {
		return later
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// LeftOuts implements learnedStore.
func (s *keptHours) LeftOuts() ([]history.LeftOut, error) {
	r, err := s.open()
	if err != nil {
		return nil, err
	}
	return r.LeftOuts()
}

// Trouble implements learnedStore.
func (s *keptHours) Trouble(since time.Time) ([]incidentSpan, error) {
	r, err := s.open()
	if err != nil {
		return nil, err
	}
	var out []incidentSpan
	err = r.EachIncident(history.Query{Since: since.Add(-leftMargin)}, func(i *history.Incident) error {
		if !i.Keeps || i.Cause == judge.UserRule.String() {
			return nil
		}
		id, ok := scope.Parse(i.Scope)
		if !ok {
			return nil // of a kind that this program does not know
		}
		end := i.ResolvedAt
		if end.IsZero() {
			end = i.UpdatedAt
		}
		out = append(out, spanOf(i.ID, id, i.SuspectedAt, end, i.Cause == judge.TrafficMissing.String()))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	return out, nil
}
