package detect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/replay"
)

// told is one step of an incident's life, on the wall's clock.
type told struct {
	scope, cause, what string
	at                 time.Time
}

func (t told) String() string {
	return fmt.Sprintf("%s %s %s: %s", t.at.UTC().Format("15:04:05.000"), t.scope, t.cause, t.what)
}

// sameTime is how far the same step may be from itself: the offset to the wall's
// clock is that of the last step where incidents are asked for.
const sameTime = 50 * time.Millisecond

// replayed plays a recording to the time at which the agent was asked, and says
// what of it is other than the agent told. A rule of the cell's is not played.
func replayed(file string, live heard) ([]string, error) {
	r, err := recording.Open(file)
	if err != nil {
		return nil, err
	}
	again, err := playAgain(r, live.at)
	for _, p := range r.Problems() {
		err = errors.Join(err, errors.New(p.String()))
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("play the episode %s: %w", file, err)
	}
	return differences(liveSteps(live.incidents), again), nil
}

// playAgain returns the life of all incidents that a recording's replay has at
// asked.
func playAgain(source replay.Source, asked time.Time) (lives []told, err error) {
	p := replay.New(nil)
	var offset time.Duration
	for {
		step, err := source.Next()
		if errors.Is(err, io.EOF) || err == nil && step.At.Add(step.Offset).After(asked) {
			break
		}
		if err != nil {
			return nil, err
		}
		p.Step(step)
		offset = step.Offset
	}
	for _, i := range p.Incidents() {
		for _, s := range i.Timeline {
			lives = append(lives, told{i.Finding.Scope.String(), i.Finding.Cause.String(), s.What, s.At.Add(offset)})
		}
	}
	return lives, nil
}

func liveSteps(incidents []incident) (lives []told) {
	for _, i := range incidents {
		if i.Cause == judge.UserRule.String() {
			continue
		}
		for _, s := range i.Timeline {
			lives = append(lives, told{i.Scope, i.Cause, s.What, s.At})
		}
	}
	return lives
}

// differences are the steps that only one of two lists has.
func differences(live, again []told) (out []string) {
	again = slices.Clone(again)
	for _, t := range live {
		i := slices.IndexFunc(again, func(o told) bool {
			return o.scope == t.scope && o.cause == t.cause && o.what == t.what && o.at.Sub(t.at).Abs() <= sameTime
		})
		if i < 0 {
			out = append(out, "not replayed: "+t.String())
		} else {
			again = slices.Delete(again, i, i+1)
		}
	}
	slices.SortFunc(again, func(a, b told) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.String(), b.String())) })
	for _, t := range again {
		out = append(out, "only replayed: "+t.String())
	}
	return out
}
