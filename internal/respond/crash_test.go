package respond

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/judge"
)

// TestAHookRunsOnce: whenever the agent ends, between any two things that it
// does, no workflow starts its hook twice; nor does a hook ever start more
// often than its limit says.
func TestAHookRunsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := article()
		cfg.Responses["gradual_saturation"][2].MaxPerHour = rapid.IntRange(1, 3).Draw(t, "max per hour")
		s, kept := tell(cfg), map[string][]byte{}
		started := map[string]int{} // by workflow
		var starts []time.Time
		var running []Outcome
		next := uint64(1)
		open := false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s.look.Now = s.look.Now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			if rapid.IntRange(0, 3).Draw(t, "turn of events") == 0 {
				if open = !open; open {
					s.opens(next, judge.WorkersFull, judge.Critical)
					next++
				} else if len(s.look.Incidents) > 0 {
					s.ends(next-1, judge.Recovered)
				}
			}
			if len(running) > 0 && rapid.Bool().Draw(t, "they end") {
				s.look.Outcomes, running = running, nil
			}
			// The agent may end before it has planned, before that is kept, before it
			// is done, and after.
			crash := rapid.IntRange(0, 12).Draw(t, "crash")
			if crash != 0 {
				actions := s.Plan(s.look)
				s.look.Outcomes = nil
				if changed, _ := s.Changed(0); crash != 1 {
					for _, m := range changed {
						if m.Data == nil {
							delete(kept, m.Key)
						} else {
							kept[m.Key] = m.Data
						}
					}
					for _, a := range actions {
						if a.Kind != Hook && a.Kind != Gather || crash == 2 {
							continue
						}
						running = append(running, Outcome{a.Workflow, a.Step, Done, "", nil})
						if a.Kind == Hook {
							started[a.Workflow]++
							starts = append(starts, s.look.Now)
						}
					}
				}
			}
			if crash <= 3 {
				s.Planner, running, s.look.Outcomes = New(cfg), nil, nil
				var all []Memory
				for key, data := range kept {
					all = append(all, Memory{key, data})
				}
				if err := s.Restore(s.look.Now, 0, all); err != nil {
					t.Fatal(err)
				}
				s.look.Incidents = nil
				if open { // it is found again, under another number
					s.opens(next, judge.WorkersFull, judge.Critical)
					next++
				}
			}
		}
		for w, n := range started {
			if n > 1 {
				t.Errorf("workflow %s ran its hook %d times", w, n)
			}
		}
		most := cfg.Responses["gradual_saturation"][2].MaxPerHour
		for i, at := range starts {
			if i >= most && at.Sub(starts[i-most]) < time.Hour {
				t.Errorf("%d runs within %s", most+1, at.Sub(starts[i-most]))
			}
		}
	})
}

// FuzzRestore: whatever is remembered, nothing panics, and what is taken up can
// be remembered again.
func FuzzRestore(f *testing.F) {
	s, kept := tell(article()), map[string][]byte{}
	s.opens(1, judge.WorkersFull, judge.Critical)
	remembering(s, kept)
	for key, data := range kept {
		f.Add(key, data)
	}
	f.Add("hook add-workers", []byte(`[{"at":"2026-11-21T03:00:00Z","dry":true}]`))
	f.Add("workflow x", []byte(`{"version":2}`))
	f.Add("workflow x", []byte(`{"version":1,"scope":"service/web","id":"a","key":"b","steps":[{"kind":"dance","state":"running"}]}`))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		p := New(article())
		err := p.Restore(start, 0, []Memory{{key, data}})
		p.Plan(Look{Now: start})
		memories, _ := p.Changed(0)
		memories = slices.DeleteFunc(memories, func(m Memory) bool { return m.Data == nil })
		if err != nil && len(memories) > 0 {
			t.Errorf("remembered %v in spite of %v", memories, err)
		}
		again := New(article())
		if err := again.Restore(start, 0, memories); err != nil {
			t.Errorf("what was remembered cannot be read: %v", err)
		}
		for _, w := range p.Workflows() {
			if w.Began.After(start) {
				t.Errorf("it began at %s, which is to come", w.Began)
			}
		}
	})
}
