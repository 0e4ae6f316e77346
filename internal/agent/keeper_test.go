package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/scope"
)

// keeping is a keeper over a directory, whose work the test does itself.
func keeping(t *testing.T, dir string) *keeper {
	t.Helper()
	return newKeeper(config.Default(), dir, "test", slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func openSince(id uint64, at time.Time) judge.Incident {
	return judge.Incident{
		ID: id, State: judge.Open, Peak: judge.Critical, SuspectedAt: at, OpenedAt: at, UpdatedAt: at,
		Finding:  judge.Finding{Scope: scope.ID{Kind: scope.KindService, Name: "web"}, Cause: judge.WorkersFull, Severity: judge.Critical},
		Timeline: []judge.Step{{At: at, What: "open"}},
	}
}

func recovered(i judge.Incident, at time.Time) judge.Incident {
	i.State, i.End, i.ResolvedAt = judge.Resolved, judge.Recovered, at
	i.Timeline = append(i.Timeline, judge.Step{At: at, What: "resolved"})
	return i
}

// inHistory is the state and end of each incident in a directory's history.
func inHistory(t *testing.T, dir string) map[uint64]string {
	t.Helper()
	r, err := history.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := map[uint64]string{}
	if err := r.EachIncident(history.Query{}, func(i *history.Incident) error {
		end := "goes on"
		for _, e := range judge.Ends() {
			if strings.Contains(string(i.Document), `"end":"`+e.String()+`"`) {
				end = e.String()
			}
		}
		out[i.ID] = i.State + " " + end
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKeeper: what opened and changed is written once, what was only suspected
// is not, and what is open at the end ends with the agent.
func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	k := keeping(t, dir)
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	suspect := openSince(5, start)
	suspect.State, suspect.OpenedAt = judge.Suspected, time.Time{}
	incidents := []judge.Incident{openSince(3, start), openSince(4, start), suspect}
	k.note(0, incidents, 5)
	k.note(0, incidents, 5) // nothing changed
	if got := len(k.waiting); got != 2 {
		t.Errorf("%d wait, want 2", got)
	}
	incidents[0] = recovered(incidents[0], start.Add(time.Second))
	k.note(0, incidents, 5)
	ctx, cancel := context.WithCancel(t.Context())
	looped := make(chan struct{})
	cancel()
	close(looped)
	if err := k.run(ctx, looped); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint64]string{3: "resolved recovered", 4: "resolved agent_stopped"}, inHistory(t, dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again := keeping(t, dir)
	if err := again.start(); err != nil {
		t.Fatal(err)
	}
	if got := again.last.Load(); got != 5 {
		t.Errorf("after the restart the last number is %d, want 5", got)
	}
	close(again.stop)
	<-again.done
}

// TestSecondAgent: one on a directory that is in use is refused in the error of
// its start alone. One that had gone on without its history says so, and tries
// again.
func TestSecondAgent(t *testing.T) {
	dir := t.TempDir()
	first := keeping(t, dir)
	if err := first.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { close(first.stop); <-first.done }()
	var said bytes.Buffer
	second := keeping(t, dir)
	second.log = slog.New(slog.NewTextHandler(&said, nil))
	err := second.start()
	if _, used := errors.AsType[*history.InUseError](err); !used {
		t.Errorf("refused with %v", err)
	}
	<-second.done
	if said.Len() > 0 {
		t.Errorf("beside the refusal it said %s", said.String())
	}

	late := make(chan struct{})
	close(late)
	third := keeping(t, dir)
	third.log = slog.New(slog.NewTextHandler(&said, nil))
	third.begin(start, nil, late)
	if got := third.shown(); got.State != api.HistoryFailing || !third.tryAt.After(start) || strings.Count(said.String(), "trying again") != 1 {
		t.Errorf("too late to be refused: %+v, tried again at %s; it said %s", got, third.tryAt, said.String())
	}
}

// TestEveryKind that is laid down is written.
func TestEveryKind(t *testing.T) {
	dir := t.TempDir()
	k := keeping(t, dir)
	k.turn(start)
	k.segment(recording.Segment{From: start, To: start, Data: []byte("raw")})
	k.minute(start, []byte("minute"))
	k.hour(start, []byte("hour"))
	k.change(history.Change{At: start, Who: "ann", What: "reload"})
	k.note(0, []judge.Incident{openSince(1, start)}, 1)
	k.turn(start.Add(time.Second))
	k.finish()
	r, err := history.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stocks, err := r.Stocks()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, s := range stocks {
		got[s.What] = s.Rows
	}
	if diff := cmp.Diff(map[string]int64{"incidents": 1, "raw": 1, "minutes": 1, "hours": 1, "notices": 0, "left_out": 0, "audit": 1}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestKeeperWithoutDisk: where the history cannot be opened what is to be kept
// waits, within bounds, and the keeper says so; once it can be, what waited is
// written.
func TestKeeperWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	k := keeping(t, dir)
	open := k.open
	k.open = func(history.Limits) (*history.Store, error) { return nil, errors.New("no space left on device") }
	now := start
	for range 5 {
		k.turn(now)
		now = now.Add(mostPause)
	}
	k.note(0, []judge.Incident{openSince(1, start)}, 1)
	for range 5 {
		k.segment(recording.Segment{From: start, To: start, Data: make([]byte, mostWaiting/3)})
	}
	got := k.shown()
	limit, there := k.limit()
	if got.State != api.HistoryFailing || got.Waiting != 3 || got.Dropped != 3 || got.Failures != 5 || !there || !strings.Contains(limit.Reason, "no space left") {
		t.Errorf("status %+v, limit %v %+v", got, there, limit)
	}
	if _, err := k.PastIncident(cancelled(t), 1); err == nil {
		t.Error("a history that is not there answered")
	}
	k.open = open
	k.turn(now)
	if got := k.shown(); got.State != api.HistoryWorking || got.Waiting != 0 || got.Written != 3 {
		t.Errorf("status %+v", got)
	}
	k.finish()
	if diff := cmp.Diff(map[uint64]string{1: "resolved agent_stopped"}, inHistory(t, dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestKeeperOverDamage: a file that turns out corrupt is set aside, and what is
// open is in the new one.
func TestKeeperOverDamage(t *testing.T) {
	dir := t.TempDir()
	k := keeping(t, dir)
	incidents := []judge.Incident{openSince(1, start)}
	now := start
	for range 20 { // more than SQLite's cache holds
		k.segment(recording.Segment{From: now, To: now, Data: make([]byte, 100<<10)})
		k.turn(now)
		k.note(0, incidents, 1)
		now = now.Add(time.Second)
	}
	for _, name := range []string{"history.db", "history.db-wal"} {
		path := filepath.Join(dir, name)
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte{0xa5}, int(fi.Size())), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := k.reply(func(s *history.Store) error {
		return s.Segments(time.Time{}, time.Time{}, func(recording.Segment) error { return nil })
	})
	if !history.Corrupt(err) {
		t.Errorf("read from a damaged file: %v", err)
	}
	now = time.Now().Add(mostPause)
	k.turn(now) // a new file
	k.note(0, incidents, 1)
	k.turn(now.Add(time.Second))
	got := k.shown()
	if got.State != api.HistoryWorking || !strings.Contains(got.SetAside, "history.db.corrupt-") {
		t.Errorf("status %+v", got)
	}
	k.finish()
	if diff := cmp.Diff(map[uint64]string{1: "resolved agent_stopped"}, inHistory(t, dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestKeeperHangs: a disk that never answers holds up neither the start for
// long nor the end, nor those who ask.
func TestKeeperWhoseDirectoryIsDeleted(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"directory": os.RemoveAll,
		"renamed":   func(dir string) error { return os.Rename(dir, dir+".old") },
		"lock":      func(dir string) error { return os.Remove(filepath.Join(dir, "agent.lock")) },
		"emptied":   func(dir string) error { return os.Truncate(filepath.Join(dir, "history.db"), 0) },
		"replaced": func(dir string) error {
			other := filepath.Join(dir, "other")
			return errors.Join(os.WriteFile(other, []byte("no database at all, but long enough to be read as one"), 0o600), os.Rename(other, filepath.Join(dir, "history.db")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			k := keeping(t, dir)
			k.turn(start)
			incidents := []judge.Incident{openSince(1, start)}
			k.note(0, incidents, 1)
			k.turn(start.Add(time.Second))
			if err := lose(dir); err != nil {
				t.Fatal(err)
			}
			k.change(history.Change{At: start, Who: "ann", What: "reload"})
			k.turn(start.Add(2 * time.Second))
			if got := k.shown(); got.State != api.HistoryFailing || got.Waiting != 1 {
				t.Errorf("after it was lost: %+v", got)
			}
			k.turn(start.Add(time.Minute))
			k.note(0, incidents, 1)
			k.turn(start.Add(time.Minute + time.Second))
			if got := k.shown(); got.State != api.HistoryWorking || got.Waiting != 0 {
				t.Errorf("once it was opened anew: %+v", got)
			}
			k.finish()
			if diff := cmp.Diff(map[uint64]string{1: "resolved agent_stopped"}, inHistory(t, dir)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestKeeperHangs(t *testing.T) {
	k := keeping(t, t.TempDir())
	hang := make(chan struct{})
	k.open = func(history.Limits) (*history.Store, error) { <-hang; return nil, errors.New("gone") }
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	k.note(0, []judge.Incident{openSince(1, start)}, 1)
	if _, err := k.PastIncident(cancelled(t), 1); err == nil {
		t.Error("it answered")
	}
	looped := make(chan struct{})
	close(looped)
	if err := k.run(cancelled(t), looped); err != nil {
		t.Fatal(err)
	}
	close(hang)
	<-k.done
}

// TestNothingIsKept where the configuration says so.
func TestNothingIsKept(t *testing.T) {
	k := keeping(t, config.NoStateDir)
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	k.note(0, []judge.Incident{openSince(1, start)}, 1)
	_, there := k.limit()
	if got := k.shown(); got.State != api.HistoryOff || got.Waiting != 0 || there {
		t.Errorf("status %+v, a limit: %v", got, there)
	}
	if _, _, err := k.PastIncidents(t.Context(), api.PastQuery{Limit: 1}); !errors.Is(err, api.ErrNoHistory) {
		t.Errorf("asked: %v", err)
	}
	if got, err := k.PastIncident(t.Context(), 1); got != nil || err != nil {
		t.Errorf("asked for one: %s, %v", got, err)
	}
}

// TestRestart: an agent's incidents are there after its restart, under the
// numbers they had, and the next one has another.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	write(t, file, "rules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]\n")
	o := Options{Load: from(file), Version: "test", StateDir: dir}
	var first []api.Incident
	t.Run("first", func(t *testing.T) {
		address, log := running(t, o)
		log.wait(t, "incident open")
		first = get[api.Incidents](t, address, "/api/v1/incidents?state=open").Incidents
	})
	address, log := running(t, o)
	log.wait(t, "incident open")
	for _, i := range first {
		got := get[api.Incident](t, address, "/api/v1/incidents/"+strconv.FormatUint(i.ID, 10))
		if got.State != "resolved" || got.End != "agent_stopped" || got.Scope != i.Scope {
			t.Errorf("incident %d after the restart: %+v", i.ID, got)
		}
	}
	for _, i := range get[api.Incidents](t, address, "/api/v1/incidents?state=open").Incidents {
		if len(first) == 0 || i.ID <= first[0].ID {
			t.Errorf("incident %d after the restart, %v before", i.ID, first)
		}
	}
	page := get[api.Incidents](t, address, "/api/v1/incidents?limit=1&state=resolved")
	if len(page.Incidents) != 1 || page.Incidents[0].ID != first[0].ID {
		t.Errorf("a page of the past: %+v", page)
	}
	if got := get[api.Status](t, address, "/api/v1/status").History; got.State != api.HistoryWorking || got.Directory != dir {
		t.Errorf("status of the history: %+v", got)
	}
}
