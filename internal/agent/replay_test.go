package agent

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/rule"
)

// TestReplayGivesWhatTheAgentGave: the steps of a run over real sockets, played
// again, give each change of each incident that the run itself gave, whole, with
// a namespace that ends and comes back.
func TestReplayGivesWhatTheAgentGave(t *testing.T) {
	w, label, address, _ := shop(t)
	h := newHost(t, lavish(), label)
	always, err := rule.Compile("always", "host.active_opens_per_second >= 0")
	labtest.Need(t, err)
	waiting, err := rule.Compile("waiting", "service.queue_depth > 0")
	labtest.Need(t, err)
	rules := []rule.Rule{
		{Name: "always", When: always, Hold: 2 * time.Second, Severity: rule.Watch},
		{Name: "waiting", When: waiting, Severity: rule.Warning},
	}
	h.Configure(start, lavish(), rules)

	var steps []measure.Step
	h.own.place.steps = func(s measure.Step) { steps = append(steps, kept(s)) }
	var live, again []byte
	tell := func(to *[]byte, changes []replay.Change) {
		for i := range changes {
			line, err := changes[i].JSON()
			labtest.Need(t, err)
			*to = append(*to, line...)
		}
	}
	var follower replay.Follower
	run := func(from, to time.Duration) {
		t.Helper()
		for now := start.Add(from); ; {
			turn, at := h.Next(now)
			if !at.Before(start.Add(to)) {
				return
			}
			incidents, err := h.Tick(at, turn)
			labtest.Need(t, err)
			tell(&live, follower.Changes(at, 0, h.court.Life(), incidents))
			h.scanAt, h.searchAt = earlier(h.scanAt, at.Add(scanEvery)), earlier(h.searchAt, at.Add(rediscoverAfter))
			now = at.Add(time.Millisecond)
		}
	}
	run(0, 8*time.Second)
	labtest.Need(t, w.Host("shop").Do(func() error {
		c, err := net.Dial("tcp", address.String())
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	}))
	run(8*time.Second, 14*time.Second)
	r := h.resident(label)
	if r == nil {
		t.Fatalf("namespace %s is not read", label)
	}
	h.leave(start.Add(14*time.Second), r.space.ID)
	run(14*time.Second, 15*time.Second)
	if h.resident(label) == nil { // no scan was due
		labtest.Need(t, h.join(r.space))
	}
	run(15*time.Second, 20*time.Second)

	p := replay.New(rules)
	for _, s := range steps {
		tell(&again, p.Changes(s))
	}
	if diff := cmp.Diff(string(live), string(again)); diff != "" {
		t.Errorf("changes (-live +again):\n%s", diff)
	}
	for _, want := range []string{`"rule":"always"`, `"rule":"waiting"`, "@" + label, `"change":"open"`} {
		if !strings.Contains(string(live), want) {
			t.Errorf("no %s among the changes:\n%s", want, live)
		}
	}
}

// kept is a step of its own.
func kept(s measure.Step) measure.Step {
	s.Tallies.Opinions, s.Tallies.Norms = slices.Clone(s.Tallies.Opinions), slices.Clone(s.Tallies.Norms)
	s.Tallies.Answers = slices.Clone(s.Tallies.Answers)
	s.Tallies.Scopes = slices.Clone(s.Tallies.Scopes)
	for i := range s.Tallies.Scopes {
		y := &s.Tallies.Scopes[i]
		y.Behind, y.Prefixes, y.Examples = slices.Clone(y.Behind), slices.Clone(y.Prefixes), slices.Clone(y.Examples)
	}
	return s
}
