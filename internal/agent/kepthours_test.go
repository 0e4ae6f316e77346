package agent

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/scope"
)

var aWeek = baseline.Config{Learn: baseline.DefaultLearn, Quantile: baseline.DefaultQuantile, Factor: baseline.DefaultFactor, Location: time.UTC}

// keptLearner is a learner over the history of a directory.
func keptLearner(t *testing.T, dir string) (*learner, *keeper) {
	t.Helper()
	k := keeping(t, dir)
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	l := newLearner(aWeek, &keptHours{keeper: k}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(l.store.Rest)
	return l, k
}

// stopped ends a keeper and waits until all is written.
func stopped(k *keeper) {
	close(k.stop)
	<-k.done
}

// someMinuteOf is a minute in which a service had so many new connections a
// second.
func someMinuteOf(start time.Time, rate float64) unmade {
	var s baseline.Sketch
	for range 60 {
		s.Add(rate)
	}
	m := &baseline.Minute{Start: start, Scopes: []baseline.Row{{
		Scope:    aShop,
		Ranges:   []baseline.Range{{Signal: measure.NewFlowsRate, Looks: 60, Least: rate, Mean: rate, Greatest: rate}},
		Sketches: []baseline.Sampled{{Signal: measure.NewFlowsRate, Sketch: s}},
	}}}
	return unmade{start, baseline.AppendMinute(nil, m)}
}

// lessonsOf gives a learner the minutes of a span, and has them written.
func lessonsOf(t *testing.T, l *learner, k *keeper, from, to time.Time) {
	t.Helper()
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		rate := 20 + float64(at.Hour())
		l.take(at.Add(time.Minute), someMinuteOf(at, rate), nil)
		l.learn(at.Add(time.Minute))
		if at.Minute() == 59 {
			if err := k.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.store.Rest()
}

// TestAWeekOutlivesTheAgent: what was learned in a week is there after a restart,
// whether the agent ended in good order or was killed: then but for the minutes
// that were not written yet.
func TestAWeekOutlivesTheAgent(t *testing.T) {
	dir, killed := t.TempDir(), t.TempDir()
	now := aMonday.AddDate(0, 0, 7).Add(14*time.Hour + 20*time.Minute)
	l, k := keptLearner(t, dir)
	l.begin(aMonday)
	lessonsOf(t, l, k, aMonday, now.Add(-20*time.Minute))
	if err := k.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	lessonsOf(t, l, k, now.Add(-20*time.Minute), now)
	copied(t, dir, killed) // as a kill would leave it
	l.renew(now)
	want := l.norms
	l.store.Rest()
	stopped(k)
	if n := want[normKey{aShop, measure.NewFlowsRate}]; n.Days < 5 || n.Learning || n.Usual < 33 || n.Usual > 35 {
		t.Fatalf("learned in a week: %+v", n)
	}

	again, k := keptLearner(t, dir)
	again.begin(now)
	if diff := cmp.Diff(want, again.norms); diff != "" {
		t.Errorf("norms after the restart (-before +after):\n%s", diff)
	}
	stopped(k)

	after, k := keptLearner(t, killed)
	after.begin(now)
	n, before := after.norms[normKey{aShop, measure.NewFlowsRate}], want[normKey{aShop, measure.NewFlowsRate}]
	if lost := before.Minutes - n.Minutes; lost < 0 || lost > 20 {
		t.Errorf("after a kill the norm rests on %d minutes, before on %d: more are lost than the 20 that may not have been written", n.Minutes, before.Minutes)
	}
	stopped(k)
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"history.db", "history.db-wal"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLearnedBeforeTheRestart: minutes whose hour was not made are made into one
// by the next run, but for those of an incident of the run before, and what was
// left out by hand stays so.
func TestLearnedBeforeTheRestart(t *testing.T) {
	dir := t.TempDir()
	began := time.Now().UTC().Truncate(time.Hour).Add(-6 * time.Hour)
	l, k := keptLearner(t, dir)
	l.begin(began)
	outage := openSince(7, began.Add(50*time.Minute))
	outage.Finding.Scope = aShop
	own := openSince(8, began)
	own.Finding.Scope, own.Finding.Cause = aShop, judge.UserRule
	k.note(0, []judge.Incident{outage, own}, 8)
	k.note(0, []judge.Incident{recovered(outage, began.Add(70*time.Minute)), recovered(own, began.Add(90*time.Minute))}, 8)
	for at := began; at.Before(began.Add(90 * time.Minute)); at = at.Add(time.Minute) {
		l.take(at.Add(time.Minute), someMinuteOf(at, 20), nil)
	}
	// Of another scope, and one of a kind that nobody knows.
	k.leftOut(history.LeftOut{At: began, From: began, To: began.Add(time.Hour), Scope: aStore.String()})
	k.leftOut(history.LeftOut{At: began, From: began, To: began.Add(time.Hour), Scope: "planet/mars"})
	stopped(k)

	l, k = keptLearner(t, dir)
	l.begin(began.Add(5 * time.Hour))
	// 90 minutes less the outage with five minutes before and after it.
	if n := l.norms[normKey{aShop, measure.NewFlowsRate}]; n.Minutes != 60 {
		t.Errorf("the norm rests on %d minutes, want 60: %+v", n.Minutes, n)
	}
	if len(l.out) != 2 || l.hours == 0 {
		t.Errorf("left out %+v, %d hours", l.out, l.hours)
	}
	stopped(k)
}

// TestHabitsOutliveTheAgent: arrivals that were called missing at the same time
// of a day before are learned, also where another run called that.
func TestHabitsOutliveTheAgent(t *testing.T) {
	dir := t.TempDir()
	today := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	missingFrom := func(id uint64, at time.Time) judge.Incident {
		inc := openSince(id, at)
		inc.Finding.Scope, inc.Finding.Cause = aShop, judge.TrafficMissing
		return recovered(inc, at.Add(20*time.Minute))
	}
	l, k := keptLearner(t, dir)
	l.begin(today.AddDate(0, 0, -1))
	k.note(0, []judge.Incident{missingFrom(7, today.AddDate(0, 0, -1))}, 7)
	stopped(k)

	l, k = keptLearner(t, dir)
	l.begin(today)
	l.note(spansOf(today.Add(time.Hour), 0, []judge.Incident{missingFrom(8, today)}))
	var left time.Duration
	for _, x := range l.intervals() {
		if x.To.After(today) {
			left += x.To.Sub(x.From)
		}
	}
	if left != 0 {
		t.Errorf("%s of today are left out: %+v", left, l.intervals())
	}
	if yesterday := l.intervals(); len(yesterday) != 1 || yesterday[0].To.Sub(yesterday[0].From) != 20*time.Minute+2*leftMargin {
		t.Errorf("of yesterday %+v are left out, want all of it", yesterday)
	}
	stopped(k)
}

// TestLearnerWithoutDisk: what is learned while the history cannot be opened
// counts, and is joined with what was there once it can.
func TestLearnerWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	l, k := keptLearner(t, dir)
	l.begin(aMonday)
	lessonsOf(t, l, k, aMonday, aMonday.Add(5*time.Hour))
	stopped(k)

	broken := true
	k = keeping(t, dir)
	open := k.open
	k.open = func(limits history.Limits) (*history.Store, error) {
		if broken {
			return nil, fs.ErrPermission
		}
		return open(limits)
	}
	away := filepath.Join(t.TempDir(), "away")
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "history.db")
	rename(file, away)
	l = newLearner(aWeek, &keptHours{keeper: k}, slog.New(slog.DiscardHandler))
	l.begin(aMonday.Add(5 * time.Hour))
	for at := aMonday.Add(5 * time.Hour); at.Before(aMonday.Add(9 * time.Hour)); at = at.Add(time.Minute) {
		l.take(at.Add(time.Minute), someMinuteOf(at, 20), nil)
		l.make(at.Add(time.Minute))
	}
	now := aMonday.Add(9 * time.Hour)
	if l.renew(now); l.begun || l.norms[normKey{aShop, measure.NewFlowsRate}].Minutes < 180 {
		t.Errorf("without a disk: begun %t, %+v", l.begun, l.norms)
	}
	rename(away, file)
	broken = false
	k.turn(start)
	defer k.finish()
	l.begin(now)
	defer l.store.Rest()
	if n := l.norms[normKey{aShop, measure.NewFlowsRate}]; !l.begun || n.Minutes < 420 {
		t.Errorf("with the disk: begun %t, the norm rests on %d minutes, want those of before too", l.begun, n.Minutes)
	}
}

// TestRestartKeepsNorms asks a running agent for what an earlier one learned.
func TestRestartKeepsNorms(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().UTC()
	l, k := keptLearner(t, dir)
	l.begin(now.Add(-6 * time.Hour))
	lessonsOf(t, l, k, now.Truncate(time.Hour).Add(-5*time.Hour), now.Truncate(time.Hour))
	stopped(k)
	address, _ := running(t, Options{Load: defaults, Version: "test", StateDir: dir})
	got := get[api.Baseline](t, address, "/api/v1/baseline")
	found := false
	for _, n := range got.Norms {
		found = found || n.Scope == (scope.ID{Kind: scope.KindService, Name: "shop"}).String() && n.Minutes >= 240
	}
	if !found || got.InMemory {
		t.Errorf("after the restart: %+v", got)
	}
}
