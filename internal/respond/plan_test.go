package respond

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

var (
	web   = scope.ID{Kind: scope.KindService, Name: "web"}
	start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
)

// article is the workers article's response.
func article() Config {
	return Config{Host: "web03", Responses: map[string][]Step{
		"gradual_saturation": {
			{Kind: Notify, Channels: []string{"ops"}},
			{After: time.Minute, Kind: Gather},
			{After: 2 * time.Minute, Kind: Hook, Hook: "add-workers", MaxPerHour: 2},
			{After: 5 * time.Minute, Kind: FollowUp},
			{After: 10 * time.Minute, Kind: Escalate, Channels: []string{"boss"}, UnlessAcknowledged: true},
		},
	}}
}

// story is a planner and the world that it looks at.
type story struct {
	*Planner
	look    Look
	signals measure.ScopeSignals
	known   bool
	said    []string // what Plan asked for, and what was recorded
	started []string // the hooks that were to run
}

func tell(cfg Config) *story {
	s := &story{Planner: New(cfg), look: Look{Now: start}}
	s.look.Signals = func(id scope.ID) *measure.ScopeSignals {
		if id != web || !s.known {
			return nil
		}
		return &s.signals
	}
	return s
}

// wait sets how long a connection waits to be accepted.
func (s *story) wait(seconds float64) {
	s.known = true
	s.signals.Readings[measure.QueueWait] = measure.Reading{Value: seconds, Seen: s.look.Now, Validity: measure.Known}
	for i := range s.look.Incidents {
		if inc := &s.look.Incidents[i]; inc.State == judge.Open && len(inc.Finding.Evidence) > 0 {
			inc.Finding.Evidence = slices.Clone(inc.Finding.Evidence)
			inc.Finding.Evidence[0].Reading = s.signals.Readings[measure.QueueWait]
		}
	}
}

// opens adds an incident of the pattern.
func (s *story) opens(id uint64, cause judge.Cause, severity judge.Severity) *judge.Incident {
	inc := judge.Incident{ID: id, State: judge.Open, OpenedAt: s.look.Now, Peak: severity, Finding: judge.Finding{
		Scope: web, Cause: cause, Severity: severity, Pattern: judge.GradualSaturation,
		Evidence: []judge.Evidence{{Signal: measure.QueueWait, Reading: measure.Reading{Value: 5, Validity: measure.Known}, Threshold: 1, HasThreshold: true}},
	}}
	s.look.Incidents = slices.Insert(s.look.Incidents, 0, inc)
	return &s.look.Incidents[0]
}

// beganAt makes a number the one of when the hook was taken.
func (s *story) beganAt(seconds float64) { s.flows[0].before.Numbers[0].Value = seconds }

func (s *story) incident(id uint64) *judge.Incident {
	at := slices.IndexFunc(s.look.Incidents, func(i judge.Incident) bool { return i.ID == id })
	return &s.look.Incidents[at]
}

func (s *story) ends(id uint64, how judge.End) {
	inc := s.incident(id)
	inc.State, inc.End, inc.ResolvedAt = judge.Resolved, how, s.look.Now
}

// at looks at a time after the start, each second until then.
func (s *story) at(after time.Duration, outcomes ...Outcome) {
	if s.said == nil && s.look.Now.Equal(start) {
		s.step()
	}
	for s.look.Now.Before(start.Add(after)) {
		s.look.Now = s.look.Now.Add(time.Second)
		s.step()
	}
	if s.look.Outcomes = append(s.look.Outcomes, outcomes...); len(outcomes) > 0 {
		s.step()
	}
}

func (s *story) step() {
	look := s.look
	s.look.Outcomes = nil
	actions := s.Plan(look)
	for _, a := range actions {
		if a.Kind == Gather { // it takes no time
			s.look.Outcomes = append(s.look.Outcomes, Outcome{a.Workflow, a.Step, Done, "20 KiB", nil})
		}
		if a.Kind == Hook {
			s.started = append(s.started, a.Step)
		}
		if len(a.Channels) > 0 {
			s.said = append(s.said, fmt.Sprintf("%s tell %s: %s", s.when(), strings.Join(a.Channels, ","), a.Says))
		}
	}
	_, records := s.Changed(0)
	for _, r := range records {
		s.said = append(s.said, fmt.Sprintf("%s %d %s %s: %s", s.when(), r.Incident, r.Step, r.State, r.What))
	}
}

func (s *story) when() string { return s.look.Now.Sub(start).String() }

func (s *story) flow() string { return s.Workflows()[0].ID }

func (s *story) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (s *story) done(step, what string) Outcome { return Outcome{s.flow(), step, Done, what, nil} }

const hookStep = "hook add-workers@2m0s"

// TestArticle is the workflow of the article, from its beginning to its end: a
// forecast that comes true, a hook, and a look that says that it helped.
func TestArticle(t *testing.T) {
	s := tell(article())
	s.opens(1, judge.WorkersFilling, judge.Warning)
	s.at(0)
	s.at(30 * time.Second)
	s.opens(2, judge.WorkersFull, judge.Critical)
	s.ends(1, judge.CameTrue)
	s.at(time.Minute)
	s.at(2 * time.Minute)
	s.wait(4)
	s.at(2*time.Minute+3*time.Second, s.done(hookStep, "in 3 s"))
	s.at(150 * time.Second)
	s.ends(2, judge.Recovered)
	s.wait(0)
	s.at(5 * time.Minute)
	s.want(t,
		"0s tell ops: service/web: the response gradual_saturation has begun.",
		"0s 1 notify ops@0s done: told ops",
		"31s tell ops: service/web: now also: workers full.",
		"31s 1 further 2 done: told ops: workers full",
		"31s 2 notify ops@0s done: told ops",
		"31s 2 further 2 done: told ops: workers full",
		"1m0s 1 gather@1m0s running: gathering evidence",
		"1m0s 2 gather@1m0s running: gathering evidence",
		"1m1s 1 gather@1m0s done: 20 KiB",
		"1m1s 2 gather@1m0s done: 20 KiB",
		"2m0s 1 hook add-workers@2m0s running: running add-workers",
		"2m0s 2 hook add-workers@2m0s running: running add-workers",
		"2m3s 1 hook add-workers@2m0s done: in 3 s",
		"2m3s 2 hook add-workers@2m0s done: in 3 s",
		"5m0s tell ops: service/web, 5 min after its beginning: resolved: nothing has been open for 2 min 29 s; queue_wait_seconds 0 s now, 5 s before",
		"5m0s 1 follow_up@5m0s done: resolved: nothing has been open for 2 min 29 s; queue_wait_seconds 0 s now, 5 s before",
		"5m0s 1 escalate boss@10m0s skipped: it was over before",
		"5m0s 2 follow_up@5m0s done: resolved: nothing has been open for 2 min 29 s; queue_wait_seconds 0 s now, 5 s before",
		"5m0s 2 escalate boss@10m0s skipped: it was over before",
	)
	if len(s.Workflows()) != 0 {
		t.Errorf("a workflow that is over goes on: %+v", s.Workflows())
	}
}

// TestVerdicts: what a follow-up look says, and who hears of it.
func TestVerdicts(t *testing.T) {
	begin := func(s *story) {
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(2 * time.Minute)
		s.at(121*time.Second, s.done(hookStep, "in 1 s"))
	}
	for name, x := range map[string]struct {
		then func(*story)
		want string
	}{
		"not better":                   {func(s *story) { s.wait(4.9) }, "not_better"},
		"better: a fifth of the way":   {func(s *story) { s.wait(4.1) }, "better"},
		"better: less severe":          {func(s *story) { s.wait(5); s.incident(1).Finding.Severity = judge.Warning }, "better"},
		"nothing can be seen":          {func(s *story) { s.incident(1).BlindSince = s.look.Now }, "cannot_tell"},
		"gone without evidence":        {func(s *story) { s.ends(1, judge.NoEvidence) }, "cannot_tell"},
		"gone, and the number is fine": {func(s *story) { s.ends(1, judge.ScopeGone); s.wait(0) }, "resolved"},
		"recovered":                    {func(s *story) { s.ends(1, judge.Recovered) }, "resolved"},
		"a number that only trembles":  {func(s *story) { s.beganAt(1.3); s.wait(1.24) }, "not_better"},
		"over its level by a little":   {func(s *story) { s.beganAt(1.05); s.wait(0.99) }, "better"},
		"worse, from a good moment":    {func(s *story) { s.beganAt(0.9); s.wait(5) }, "not_better"},
		"gone, from a good moment":     {func(s *story) { s.beganAt(0.9); s.ends(1, judge.NoEvidence); s.wait(5) }, "cannot_tell"},
		"nobody looks any more": {func(s *story) {
			s.ends(1, judge.NoEvidence)
			s.wait(0)
			s.signals.Readings[measure.QueueWait].Good = time.Second
		}, "cannot_tell"},
		"one recovered, one is out of sight": {func(s *story) {
			s.opens(2, judge.ConnLimit, judge.Critical)
			s.at(130 * time.Second)
			s.ends(1, judge.Recovered)
			s.ends(2, judge.ScopeGone)
		}, "cannot_tell"},
		"the worse one is out of sight": {func(s *story) {
			s.opens(2, judge.ConnLimit, judge.Warning)
			s.at(130 * time.Second)
			s.ends(1, judge.NoEvidence)
		}, "not_better"},
		"one recovered, what opened after it is out of sight": {func(s *story) {
			s.ends(1, judge.Recovered)
			s.at(140 * time.Second)
			s.opens(2, judge.WorkersFull, judge.Critical)
			s.at(150 * time.Second)
			s.ends(2, judge.NoEvidence)
		}, "cannot_tell"},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(article())
			begin(s)
			x.then(s)
			s.said = nil
			s.at(5 * time.Minute)
			says := map[string]string{"resolved": "resolved", "better": "better", "not_better": "not better", "cannot_tell": "cannot tell"}[x.want]
			s.said = slices.DeleteFunc(s.said, func(l string) bool { return !strings.HasPrefix(l, "5m0s ") })
			if len(s.said) == 0 || !strings.Contains(s.said[0], "tell ops: service/web, 5 min after its beginning: "+says) {
				t.Errorf("want %s: %q", x.want, s.said)
			}
			escalated := slices.ContainsFunc(s.said, func(l string) bool { return strings.HasPrefix(l, "5m0s tell boss: ") })
			if escalated != (x.want == "not_better") {
				t.Errorf("escalated: %v: %q", escalated, s.said)
			}
		})
	}
}

// TestEscalation: who is told when nobody takes it, when the hook fails, and
// when it may not run; each once.
func TestEscalation(t *testing.T) {
	told := func(s *story) (out []string) {
		for _, l := range s.said {
			if strings.Contains(l, " tell boss: ") {
				out = append(out, l)
			}
		}
		return out
	}
	t.Run("nobody takes it", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(2 * time.Minute)
		s.at(121*time.Second, s.done(hookStep, ""))
		s.wait(2) // better, and not over
		s.at(11 * time.Minute)
		if diff := cmp.Diff([]string{"10m0s tell boss: service/web: open for 10 min, and nobody has taken it."}, told(s)); diff != "" {
			t.Error(diff)
		}
		s.ends(1, judge.Recovered)
		s.said = nil
		s.at(12 * time.Minute)
		s.want(t) // that it is over the channels hear as of any incident they were told of
	})
	t.Run("somebody does", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical).AcknowledgedBy = "ann"
		s.at(2 * time.Minute)
		s.at(121*time.Second, s.done(hookStep, ""))
		s.wait(2)
		s.at(11 * time.Minute)
		if got := told(s); got != nil {
			t.Error(got)
		}
		if last := s.said[len(s.said)-1]; last != "10m0s 1 escalate boss@10m0s skipped: ann has taken it" {
			t.Error(last)
		}
	})
	t.Run("the hook fails", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(2 * time.Minute)
		s.at(123*time.Second, Outcome{s.flow(), hookStep, Failed, "exit code 3: no such thing", nil})
		s.wait(5) // not better either
		s.at(11 * time.Minute)
		if diff := cmp.Diff([]string{"2m3s tell boss: service/web: the hook add-workers failed: exit code 3: no such thing"}, told(s)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("it ran too often", func(t *testing.T) {
		cfg := article()
		cfg.Responses["gradual_saturation"][2].MaxPerHour = 1
		s := tell(cfg)
		s.runs["add-workers"] = []run{{start.Add(-30 * time.Minute), false}}
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(3 * time.Minute)
		if diff := cmp.Diff([]string{"2m0s tell boss: service/web: the hook was not run: add-workers ran 1 times within an hour already, and max_per_hour is 1"}, told(s)); diff != "" {
			t.Error(diff)
		}
		if s.started != nil {
			t.Error(s.started)
		}
	})
	t.Run("nobody is named", func(t *testing.T) {
		s := tell(Config{Responses: map[string][]Step{"default": {{After: time.Second, Kind: Hook, Hook: "x", MaxPerHour: 1}}}})
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(2 * time.Second)
		s.at(3*time.Second, Outcome{s.flow(), "hook x@1s", Failed, "no", nil})
		if last := s.said[len(s.said)-1]; last != "3s 1 escalate after hook x@1s skipped: nobody is named to be told: the hook x failed: no" {
			t.Error(last)
		}
	})
}

// TestWhoIsLeftAlone: what begins no workflow, and what takes no step.
func TestWhoIsLeftAlone(t *testing.T) {
	t.Run("a watch", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFilling, judge.Watch)
		s.at(time.Minute)
		s.want(t)
		s.incident(1).Finding.Severity = judge.Warning
		s.at(61 * time.Second)
		s.want(t, "1m1s tell ops: service/web: the response gradual_saturation has begun.", "1m1s 1 notify ops@0s done: told ops")
	})
	t.Run("what another one explains", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical).Because = judge.LocalFault
		s.at(3 * time.Minute)
		s.want(t)
	})
	t.Run("another pattern", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical).Finding.Pattern = judge.SuddenSpike
		s.at(3 * time.Minute)
		s.want(t)
	})
	t.Run("what is silenced later", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(62 * time.Second)
		s.incident(1).SilencedBy = "s1"
		s.said = nil
		s.at(6 * time.Minute)
		s.want(t,
			"2m0s 1 hook add-workers@2m0s skipped: it is silenced by s1",
			"5m0s 1 follow_up@5m0s done: not better (critical, was critical); queue_wait_seconds 5 s now, 5 s before")
	})
	t.Run("what is over before", func(t *testing.T) {
		s := tell(article())
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(10 * time.Second)
		s.ends(1, judge.Recovered)
		s.said = nil
		s.at(10 * time.Minute)
		s.want(t,
			"41s 1 gather@1m0s skipped: it was over before",
			"41s 1 hook add-workers@2m0s skipped: it was over before",
			"41s 1 follow_up@5m0s skipped: it was over before",
			"41s 1 escalate boss@10m0s skipped: it was over before")
	})
	t.Run("channels that are told anyway", func(t *testing.T) {
		s := tell(article())
		s.look.Gets = func(string, *judge.Incident) bool { return true }
		s.opens(1, judge.WorkersFull, judge.Critical)
		s.at(0)
		s.want(t, "0s 1 notify ops@0s done: ops is told of it as of any other")
	})
}

// TestKeys: a cause goes before its pattern, and the default comes last.
func TestKeys(t *testing.T) {
	cfg := Config{Responses: map[string][]Step{"workers_full": {}, "gradual_saturation": {}, "default": {}}}
	for cause, want := range map[judge.Cause]string{judge.WorkersFull: "workers_full", judge.WorkersFilling: "gradual_saturation"} {
		inc := judge.Incident{Finding: judge.Finding{Cause: cause, Pattern: judge.GradualSaturation}}
		if got := New(cfg).keyOf(&inc); got != want {
			t.Errorf("%s: %q, want %q", cause, got, want)
		}
	}
	inc := judge.Incident{Finding: judge.Finding{Cause: judge.PathLost}}
	if got := New(cfg).keyOf(&inc); got != "default" {
		t.Errorf("%q", got)
	}
	if got := New(article()).keyOf(&inc); got != "" {
		t.Errorf("%q", got)
	}
}

// TestOneHookAtATime: a hook that runs for one scope waits for the other.
func TestOneHookAtATime(t *testing.T) {
	s := tell(Config{Responses: map[string][]Step{"default": {{Kind: Hook, Hook: "x", MaxPerHour: 9}}}})
	s.opens(1, judge.WorkersFull, judge.Critical)
	s.opens(2, judge.WorkersFull, judge.Critical).Finding.Scope.Name = "other"
	s.at(5 * time.Second)
	if len(s.started) != 1 {
		t.Errorf("started %q", s.started)
	}
	s.at(6*time.Second, s.done("hook x@0s", ""))
	if len(s.started) != 2 {
		t.Errorf("started %q", s.started)
	}
}

// restart begins a new run with what was remembered.
func (s *story) restart(t *testing.T, memories map[string][]byte) {
	t.Helper()
	s.Planner = New(article())
	var all []Memory
	for key, data := range memories {
		all = append(all, Memory{key, data})
	}
	if err := s.Restore(s.look.Now, 0, all); err != nil {
		t.Fatal(err)
	}
}

// remembering plans once, and keeps what is to be remembered.
func remembering(s *story, memories map[string][]byte) {
	s.Plan(s.look)
	changed, _ := s.Changed(0)
	for _, m := range changed {
		if m.Data == nil {
			delete(memories, m.Key)
		} else {
			memories[m.Key] = m.Data
		}
	}
}

// TestRestart: a hook that ran as the agent ended is not run again, people are
// told, and the workflow goes on under new numbers.
func TestRestart(t *testing.T) {
	s, memories := tell(article()), map[string][]byte{}
	s.opens(1, judge.WorkersFull, judge.Critical)
	s.wait(5)
	for range 122 {
		remembering(s, memories)
		s.look.Now = s.look.Now.Add(time.Second)
	}
	if w := s.Workflows()[0]; w.Steps[2].State != Running {
		t.Fatalf("the hook does not run: %+v", w.Steps)
	}
	s.restart(t, memories)
	s.look.Incidents = nil
	s.at(140 * time.Second)
	s.want(t, "2m3s 1 gather@1m0s interrupted: the agent ended while this ran: how it ended is not known",
		"2m3s 1 hook add-workers@2m0s interrupted: the agent ended while this ran: how it ended is not known")
	s.opens(9, judge.WorkersFull, judge.Critical)
	s.wait(5)
	s.said = nil
	s.at(5 * time.Minute)
	want := []string{
		"2m21s tell boss: service/web: the agent ended while the hook add-workers ran: whether it did its work is not known, and it is not run again",
		"2m21s 1 escalate after hook add-workers@2m0s done: told boss: the agent ended while the hook add-workers ran: whether it did its work is not known, and it is not run again",
		"2m21s 9 notify ops@0s done: told ops",
		"2m21s 9 gather@1m0s interrupted: the agent ended while this ran: how it ended is not known",
		"2m21s 9 hook add-workers@2m0s interrupted: the agent ended while this ran: how it ended is not known",
		"2m21s 9 escalate after hook add-workers@2m0s done: told boss: the agent ended while the hook add-workers ran: whether it did its work is not known, and it is not run again",
		"5m0s tell boss,ops: service/web, 5 min after its beginning: not better (critical, was critical); queue_wait_seconds 5 s now, 5 s before",
	}
	if diff := cmp.Diff(want, s.said[:min(len(s.said), len(want))]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.started != nil {
		t.Errorf("run again: %q", s.started)
	}
}

// TestFurther: whom only the response has told hears of each incident that joins
// it, as they hear the end of each; not again after a restart, and not for ever
// of one that opens again and again.
func TestFurther(t *testing.T) {
	heard := func(s *story) (n int) {
		for _, l := range s.said {
			if strings.Contains(l, " tell ") && strings.Contains(l, "now also: workers full.") {
				n++
			}
		}
		return n
	}
	t.Run("after a restart", func(t *testing.T) {
		s, memories := tell(article()), map[string][]byte{}
		s.opens(1, judge.WorkersFull, judge.Critical)
		remembering(s, memories)
		s.restart(t, memories)
		s.look.Incidents = nil
		s.opens(7, judge.WorkersFull, judge.Critical)
		s.at(30 * time.Second)
		if heard(s) != 0 {
			t.Errorf("%q", s.said)
		}
	})
	t.Run("again and again", func(t *testing.T) {
		s := tell(article())
		for id := range uint64(30) {
			s.opens(id+1, judge.WorkersFull, judge.Critical)
			s.at(time.Duration(2*id) * time.Second)
			s.ends(id+1, judge.Recovered)
			s.at(time.Duration(2*id+1) * time.Second)
		}
		if heard(s) != mostFurther {
			t.Errorf("%d times: %q", heard(s), s.said)
		}
	})
	t.Run("who gets it anyway", func(t *testing.T) {
		s := tell(article())
		s.look.Gets = func(_ string, i *judge.Incident) bool { return i.Finding.Severity == judge.Critical }
		s.opens(1, judge.WorkersFilling, judge.Warning)
		s.at(10 * time.Second)
		s.opens(2, judge.WorkersFull, judge.Critical)
		s.at(20 * time.Second)
		if heard(s) != 0 {
			t.Errorf("%q", s.said)
		}
	})
}

// TestLateMemory: what a workflow that began meanwhile has told stays told.
func TestLateMemory(t *testing.T) {
	s, memories := tell(article()), map[string][]byte{}
	s.opens(1, judge.WorkersFull, judge.Critical)
	remembering(s, memories)
	late := tell(article())
	late.opens(1, judge.WorkersFull, judge.Critical).AcknowledgedBy = "ann"
	late.at(0)
	late.flows[0].told = []string{"boss"}
	for key, data := range memories {
		if err := late.Restore(start, 0, []Memory{{key, data}}); err != nil {
			t.Fatal(err)
		}
	}
	w := late.flows[0]
	if diff := cmp.Diff([]string{"boss", "ops"}, w.told); diff != "" || w.AcknowledgedBy != "ann" {
		t.Errorf("%s %q", diff, w.AcknowledgedBy)
	}
}

// TestReloadOfWhoIsTold: a channel that is added is told, the others not again.
func TestReloadOfWhoIsTold(t *testing.T) {
	s := tell(article())
	s.opens(1, judge.WorkersFull, judge.Critical)
	s.at(10 * time.Second)
	s.said = nil
	more := article()
	more.Responses["gradual_saturation"][0].Channels = []string{"ops", "dev"}
	s.Configure(more)
	s.at(20 * time.Second)
	s.want(t, "11s tell dev: service/web: the response gradual_saturation has begun.", "11s 1 notify ops,dev@0s done: told dev")
	fewer := article()
	fewer.Responses["gradual_saturation"][0].Channels = []string{"dev"}
	s.Configure(fewer)
	s.said = nil
	s.at(30 * time.Second)
	s.want(t, "21s 1 notify dev@0s skipped: they were told already")
}

// TestRestartIntoCalm: what is not found again within two minutes is over.
func TestRestartIntoCalm(t *testing.T) {
	s, memories := tell(article()), map[string][]byte{}
	s.opens(1, judge.WorkersFull, judge.Critical)
	remembering(s, memories)
	s.restart(t, memories)
	s.look.Incidents = nil
	s.at(settle - time.Second)
	if len(s.Workflows()) != 1 {
		t.Error("it did not wait")
	}
	s.at(settle + time.Second)
	if len(s.Workflows()) != 0 {
		t.Errorf("it goes on: %+v", s.Workflows())
	}
}

// TestReload: a hook that is taken out is not run, and one that was run does
// not run again under another time.
func TestReload(t *testing.T) {
	s := tell(article())
	s.opens(1, judge.WorkersFull, judge.Critical)
	s.at(time.Minute)
	without := article()
	without.Responses["gradual_saturation"] = without.Responses["gradual_saturation"][:2]
	s.Configure(without)
	s.at(3 * time.Minute)
	if s.started != nil {
		t.Errorf("run: %q", s.started)
	}
	s.Configure(article())
	s.at(200 * time.Second)
	s.at(201*time.Second, s.done(hookStep, ""))
	later := article()
	later.Responses["gradual_saturation"][2].After = 4 * time.Minute
	s.Configure(later)
	s.at(5 * time.Minute)
	if len(s.started) != 1 {
		t.Errorf("run: %q", s.started)
	}
}

// TestRenew: what a store has lost is given to it again, all of it.
func TestRenew(t *testing.T) {
	s, memories := tell(article()), map[string][]byte{}
	s.opens(1, judge.WorkersFull, judge.Critical)
	for range 125 {
		remembering(s, memories)
		s.look.Now = s.look.Now.Add(time.Second)
	}
	if again, records := s.Changed(0); again != nil || records != nil {
		t.Errorf("changed without a change: %v, %v", again, records)
	}
	s.Renew()
	again := map[string][]byte{}
	changed, records := s.Changed(0)
	for _, m := range changed {
		again[m.Key] = m.Data
	}
	if diff := cmp.Diff(memories, again); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(records) != len(s.Workflows()[0].Steps)-2 { // two are still to come
		t.Errorf("%d records", len(records))
	}
}
