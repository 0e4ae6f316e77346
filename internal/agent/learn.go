package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/silence"
)

// lesson is what the loop hands on when a minute is over. Times are the wall
// clock's.
type lesson struct {
	now       time.Time
	config    baseline.Config // as configured now
	minute    unmade
	incidents []incidentSpan
	silences  []silence.Silence
}

// lessons is the way between the loop and what learns beside it: the loop waits
// for nobody.
type lessons struct {
	minutes *baseline.Minutes // of the loop
	lost    int               // minutes that nobody took, of the loop
	// over has room for a few minutes; one that finds none is lost and counted.
	over chan lesson
	// learned holds the norms that changed and that the loop has not taken yet,
	// with room for one lot: only learn puts one there, with what it finds.
	learned chan []measure.Norm
	asked   chan question
}

// question is what somebody asks of the learner; it has room for its answer.
type question struct {
	do     func(*learner) ([]measure.Norm, error)
	answer chan error
}

func newLessons() *lessons {
	return &lessons{
		minutes: baseline.NewMinutes(), over: make(chan lesson, 8), learned: make(chan []measure.Norm, 1), asked: make(chan question),
	}
}

// gather takes what a look brought, and hands on the minute that it ends. Of the
// loop.
func (a *agent) gather(now time.Time, h *Host, turn Turn) {
	l := a.lessons
	select {
	case norms := <-l.learned:
		h.SetNorms(norms)
	default:
	}
	if turn.of.view == nil {
		return
	}
	offset := a.clock.Offset()
	minute := l.minutes.Take(now.Add(offset), turn.of.view)
	if minute == nil {
		return
	}
	next := lesson{
		now: now.Add(offset).UTC(), config: learnConfig(a.config.Baseline),
		minute: unmade{minute.Start, baseline.AppendMinute(nil, minute)}, incidents: spansOf(now, offset, a.incidents), silences: a.silences.list.All(),
	}
	select {
	case l.over <- next:
	default:
		if l.lost++; l.lost == 1 {
			a.log.Warn("baselines: a minute was not learned, as the ones before it still are")
		}
	}
}

// learn learns beside the loop until ctx ends. quiet are the silences at the
// start.
func (a *agent) learn(ctx context.Context, quiet []silence.Silence) error {
	l := newLearner(learnConfig(a.startConfig.Baseline), a.learnedStore(), a.log)
	l.quiet = quiet
	defer l.store.Rest()
	a.teach(l.begin(time.Now().UTC()))
	for {
		l.store.Rest()
		select {
		case <-ctx.Done():
			return nil
		case x := <-a.lessons.over:
			if !l.begun {
				a.teach(l.begin(x.now))
			}
			again := l.config != x.config
			l.config, l.quiet = x.config, x.silences
			l.take(x.now, x.minute, x.incidents)
			if again {
				l.make(x.now)
				a.teach(l.renew(x.now))
			} else {
				a.teach(l.learn(x.now))
			}
		case q := <-a.lessons.asked:
			norms, err := q.do(l)
			a.teach(norms)
			q.answer <- err
		}
	}
}

// learnedStore is where what is learned is kept.
func (a *agent) learnedStore() learnedStore {
	if a.keeper.dir == "" {
		return &memory{}
	}
	return &keptHours{keeper: a.keeper}
}

// teach leaves norms for the loop, behind those that it has not taken yet.
func (a *agent) teach(norms []measure.Norm) {
	if len(norms) == 0 {
		return
	}
	select {
	case before := <-a.lessons.learned:
		norms = append(before, norms...)
	default:
	}
	a.lessons.learned <- norms // there is room: nobody else puts one there
}

// askLearner hands do to what learns, and waits for it.
func (a *agent) askLearner(ctx context.Context, do func(*learner) ([]measure.Norm, error)) error {
	answer := make(chan error, 1)
	if err := hand(ctx, a.lessons.asked, question{do, answer}, answer); err != nil {
		return fmt.Errorf("baselines: %w", err)
	}
	return nil
}

// SetNorms takes what was learned, for the steps to come; also for namespaces
// that are not there now.
func (h *Host) SetNorms(learned []measure.Norm) {
	for _, n := range learned {
		k := normKey{n.Scope, n.Signal}
		if n.Minutes == 0 {
			delete(h.norms, k)
		} else {
			h.norms[k] = n
		}
	}
	for _, p := range h.pipelines() {
		for _, n := range learned {
			if n.Scope.Namespace == p.place.name {
				p.norms = append(p.norms, n)
			}
		}
	}
}

// normsOf are those of a namespace that has just been joined.
func (h *Host) normsOf(namespace string) []measure.Norm {
	var out []measure.Norm
	for k, n := range h.norms {
		if k.scope.Namespace == namespace {
			out = append(out, n)
		}
	}
	return out
}

// learnedWhere says what becomes of what is learned where no history keeps it;
// how that does is a limit of its own.
func (a *agent) learnedWhere() []api.Limit {
	if a.keeper.dir != "" {
		return nil
	}
	return []api.Limit{{Subject: "baselines", Reason: "kept in memory only: what is usual at each hour of the week is learned anew after each restart"}}
}
