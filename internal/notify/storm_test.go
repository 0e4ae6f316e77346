package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/judge"
)

// channels are one of each kind.
func channels() []Channel {
	return []Channel{people("hook"), people("oncall"), {Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{"http://127.0.0.1:9093"}}}, {Name: "log"}}
}

// TestStorm: a thousand findings are one notice of each channel that groups, two
// where they come over a minute, and none is missing in it. All of them end at
// once: one notice more.
func TestStorm(t *testing.T) {
	const findings = 1000
	for _, tt := range []struct {
		name string
		over int // seconds in which they come
		want int // notices of the openings
	}{{"at once", 1, 1}, {"over a minute", 60, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			p, w := NewPlanner(Config{Host: "web03", Channels: channels()}), &world{}
			notices, items := map[string]int{}, map[string]int{}
			largest := 0
			take := func(want Step) {
				for _, n := range p.Plan(at(w.now), 0, w.list) {
					if c := n.Channel; c == "hook" || c == "oncall" {
						notices[c]++
					}
					for _, i := range n.Incidents {
						if i.Step == want {
							items[n.Channel]++
						}
					}
					for _, m := range n.More {
						items[n.Channel] += m.Count
					}
					body, err := n.JSON()
					if err != nil {
						t.Fatal(err)
					}
					largest = max(largest, len(body))
				}
				w.now++
			}
			opened := 0
			for w.now < 100 {
				for opened < findings && opened < findings*(w.now+1)/tt.over {
					w.opens(fmt.Sprintf("web%03d", opened), judge.Warning)
					opened++
				}
				take(Opened)
			}
			t.Logf("%d findings %s: notices %v, the largest of %d bytes", findings, tt.name, notices, largest)
			want := map[string]int{"hook": tt.want, "oncall": tt.want}
			if !maps.Equal(notices, want) {
				t.Errorf("notices %v, want %v", notices, want)
			}
			if all := map[string]int{"hook": findings, "oncall": findings, "alarm": findings, "log": findings}; !maps.Equal(items, all) {
				t.Errorf("items %v, want %v", items, all)
			}
			for i := range findings {
				w.ends(fmt.Sprintf("web%03d", i))
			}
			clear(notices)
			for w.now < 300 {
				take(Resolved)
			}
			if want := map[string]int{"hook": 1, "oncall": 1}; !maps.Equal(notices, want) {
				t.Errorf("notices of the ends %v, want %v", notices, want)
			}
		})
	}
}

// TestSays: what many items are in one sentence.
func TestSays(t *testing.T) {
	item := func(step Step, cause judge.Cause, rule string) Item {
		return Item{Step: step, Cause: cause.String(), Rule: rule}
	}
	opened := func(n int, cause judge.Cause) []Item { return slices.Repeat([]Item{item(Opened, cause, "")}, n) }
	for _, tt := range []struct {
		want  string
		items []Item
	}{
		{"3 incidents opened on web03: 2 path lost, 1 workers full", slices.Concat(opened(1, judge.WorkersFull), opened(2, judge.PathLost))},
		{
			"1 incident opened, 1 got worse, 2 are over on web03: 1 path lost; 1 web-waits; over: 2 workers full",
			[]Item{item(Opened, judge.PathLost, ""), item(Resolved, judge.WorkersFull, ""), item(Worse, judge.UserRule, "web-waits"), item(Resolved, judge.WorkersFull, "")},
		},
		{"2 incidents on web03: 1 opens again and again, 1 is still open: 1 leak; 1 churn", []Item{item(Flapping, judge.Leak, ""), item(Lasting, judge.Churn, "")}},
		{
			"7 incidents opened on web03: 1 workers filling, 1 workers full, 1 clients gave up, 1 conn limit, 1 slow clients, 2 of other causes",
			slices.Concat(opened(1, judge.WorkersFilling), opened(1, judge.WorkersFull), opened(1, judge.ClientsGaveUp), opened(1, judge.ConnLimit), opened(1, judge.SlowClients), opened(1, judge.Leak), opened(1, judge.SynFlood)),
		},
	} {
		if got := says("web03", tt.items); got != tt.want {
			t.Errorf("says\n%s, want\n%s", got, tt.want)
		}
	}
}

// TestNotes: what an item says besides its step.
func TestNotes(t *testing.T) {
	notes := func(script ...string) (out []string) {
		c := people("ops")
		c.Calm.Remind = time.Hour
		p, w := NewPlanner(Config{Host: "web03", Channels: []Channel{c}}), &world{}
		for _, line := range script {
			when, words := 0, ""
			_, _ = fmt.Sscanf(line, "%d", &when)
			_, words, _ = strings.Cut(line, " ")
			for ; w.now <= when; w.now++ {
				if w.now == when {
					w.act(words)
				}
				for _, n := range p.Plan(at(w.now), 0, w.list) {
					for _, i := range n.Incidents {
						out = append(out, i.Note)
					}
				}
			}
		}
		return out
	}
	for _, tt := range []struct {
		script []string
		want   []string
	}{
		{[]string{"1 web opens", "9 web ends", "12 web opens", "14 web ends", "16 web opens", "18 web ends", "20 web opens", "22 web ends", "1000"},
			[]string{"", "flapping: opened 4 times in 30 min; nothing more is told of it until it is calm for 15 min, or worse", "it was flapping, and is calm for 15 min"}},
		{[]string{"1 web opens critical", "9 db opens critical", "10 db ends", "80"}, []string{"", "it was over before this notice of it went"}},
		{[]string{"1 web opens", "3700"}, []string{"", "a reminder: it is still open, and nobody has acknowledged it"}},
		{[]string{"1 web opens", "9 web ends", "100 web opens", "500"}, []string{"", "", "it opened again after it was over"}},
	} {
		if got := notes(tt.script...); !slices.Equal(got, tt.want) {
			t.Errorf("%v:\n%q, want\n%q", tt.script, got, tt.want)
		}
	}
}

// TestPlannerIsHonest plays random worlds, restarts among them, and holds what a
// channel hears to what is: nobody hears of an end who was not told of the
// start, a notice comes as often as the channel wants, and once nothing happens
// any more the channel knows what is open, and nothing is remembered of what is
// not.
func TestPlannerIsHonest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		second := func(most int, label string) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Second
		}
		c := people("ops")
		c.Calm = Calm{Wait: second(5, "wait"), Interval: second(60, "interval"), Recovery: second(40, "recovery"), Cooldown: second(300, "cooldown")}
		cfg := Config{Host: "web03", Channels: []Channel{c}}
		p, w, kept := NewPlanner(cfg), &world{}, map[string][]byte{}
		h := heard{open: map[string]bool{}, severity: map[string]string{}}
		look := func() {
			for _, n := range p.Plan(at(w.now), 0, w.list) {
				h.take(t, w.now, n, c.Calm)
			}
			for _, m := range p.Changed() {
				if kept[m.Key] = m.Data; m.Data == nil {
					delete(kept, m.Key)
				}
			}
			w.now++
		}
		services := []string{"host", "web", "db", "shop"}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			service := rapid.SampledFrom(services).Draw(t, "service")
			open := slices.ContainsFunc(w.list, func(i judge.Incident) bool { return i.Finding.Scope.Name == service && i.State == judge.Open })
			switch what := rapid.SampledFrom([]string{"opens", "opens critical", "ends", "ends", "critical", "silenced", "told", "explained", "restart"}).Draw(t, "what"); {
			case what == "restart" && rapid.IntRange(0, 3).Draw(t, "really") == 0:
				var memories []Memory
				for key, data := range kept {
					memories = append(memories, Memory{MemoryKind, key, data})
				}
				p, w.list, h.last, h.critical = NewPlanner(cfg), nil, time.Time{}, time.Time{}
				if err := p.Restore(at(w.now), 0, memories); err != nil {
					t.Fatal(err)
				}
			case what == "restart":
			case open != strings.HasPrefix(what, "opens"):
				w.act(service + " " + what)
			}
			for range rapid.IntRange(1, 90).Draw(t, "seconds") {
				look()
			}
		}
		for range 3600 {
			look()
		}
		for _, service := range services {
			i := slices.IndexFunc(w.list, func(i judge.Incident) bool { return i.Finding.Scope.Name == service && i.State == judge.Open })
			is := i >= 0
			quiet := is && (w.list[i].SilencedBy != "" || w.list[i].Because != judge.NoCause)
			if h.open[service] != is && !quiet {
				t.Fatalf("at the end %s is open: %v, and was told to be: %v", service, is, h.open[service])
			}
			if is && !quiet && w.list[i].Finding.Severity == judge.Critical && h.severity[service] != "critical" {
				t.Fatalf("%s is critical, and was told as %s", service, h.severity[service])
			}
		}
		w.list = nil
		for range 3600 {
			look()
		}
		if len(p.order) != 0 || len(p.threads) != 0 || len(kept) != 0 {
			t.Fatalf("%d threads and %d memories of what is over", len(p.order), len(kept))
		}
	})
}

// heard is what somebody believes who hears all notices of a channel.
type heard struct {
	open     map[string]bool
	severity map[string]string
	last     time.Time
	critical time.Time // when it heard last that something is critical now
}

func (h *heard) take(t *rapid.T, now int, n Notice, calm Calm) {
	urgent, flapping := false, false
	for _, i := range n.Incidents {
		service := strings.TrimPrefix(i.Scope, "service/")
		switch i.Step {
		case Opened:
			if h.open[service] {
				t.Fatalf("%d s: %s opened twice", now, service)
			}
			urgent = urgent || i.Severity == "critical"
		case Worse:
			if !h.open[service] || i.Severity <= h.severity[service] && h.severity[service] != "warning" {
				t.Fatalf("%d s: %s is worse than nothing: %s", now, service, i.Severity)
			}
			urgent = urgent || i.Severity == "critical"
		case Resolved:
			if !h.open[service] && (i.Severity != "critical" || i.Note == "") {
				t.Fatalf("%d s: %s is over, and nobody was told that it opened", now, service)
			}
		case Lasting:
			t.Fatalf("%d s: a reminder that nobody asked for", now)
		case Flapping:
			flapping = flapping || i.Severity == "critical"
			if calm.Cooldown == 0 {
				t.Fatalf("%d s: flapping is not to be damped", now)
			}
		}
		h.open[service], h.severity[service] = i.Step != Resolved, i.Severity
	}
	gathered := n.At.Sub(h.critical) < min(calm.Interval, time.Minute)
	if since := n.At.Sub(h.last); calm.grouped() && since < calm.Interval && (!urgent && !flapping || gathered) {
		t.Fatalf("%d s: a notice %s after the last one", now, since)
	}
	if h.last = n.At; urgent {
		h.critical = n.At
	}
}

// FuzzRestore: whatever was kept, a planner goes on: it says what it cannot read,
// and what it read it can keep again.
func FuzzRestore(f *testing.F) {
	p, w := NewPlanner(Config{Host: "web03", Channels: []Channel{people("ops")}}), &world{}
	w.opens("web", judge.Critical)
	p.Plan(at(0), 0, w.list)
	p.Plan(at(2), 0, w.list)
	for _, m := range p.Changed() {
		f.Add(m.Data)
	}
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"kind":"webhook","channel":"ops","scope":"service/web","cause":"workers_full","severity":"warning","sequence":1,"open":true,"flapping":true,"openings":["9999-01-01T00:00:00Z"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, w := NewPlanner(Config{Host: "web03", Channels: []Channel{people("ops")}}), &world{}
		err := p.Restore(at(0), 0, []Memory{{MemoryKind, "k", data}})
		if err != nil && len(p.order) > 0 {
			t.Fatalf("%v, and a thread", err)
		}
		w.opens("web", judge.Warning)
		for range 200 {
			p.Plan(at(w.now), 0, w.list)
			w.now += 30
		}
		p.Renew()
		for _, m := range p.Changed() {
			if m.Data != nil {
				if err := NewPlanner(p.cfg).Restore(at(w.now), 0, []Memory{m}); err != nil {
					t.Fatalf("it cannot read what it kept: %v\n%s", err, m.Data)
				}
			}
		}
	})
}

// TestPlannerIsBounded: of what is over so many threads are remembered at most.
func TestPlannerIsBounded(t *testing.T) {
	p, w := NewPlanner(Config{Host: "web03", Channels: []Channel{people("ops")}}), &world{}
	for i := range 3 * MaxThreads / 1000 {
		for k := range 1000 {
			w.opens(fmt.Sprintf("%d-%d", i, k), judge.Warning)
		}
		p.Plan(at(w.now), 0, w.list)
		w.now += 2
		p.Plan(at(w.now), 0, w.list)
		w.list = nil
		w.now++
		p.Plan(at(w.now), 0, w.list)
		w.now += 61
		p.Plan(at(w.now), 0, w.list)
	}
	if len(p.order) > MaxThreads+1000 || len(p.threads) != len(p.order) {
		t.Errorf("%d threads, want at most %d", len(p.order), MaxThreads)
	}
	p.Changed()
	if len(p.changed) != 0 {
		t.Errorf("%d changes are still to be kept", len(p.changed))
	}
}

// BenchmarkPlan is one look of a host with a thousand open incidents and five
// channels that have been told of them.
func BenchmarkPlan(b *testing.B) {
	p, w := NewPlanner(Config{Host: "web03", Channels: append(channels(), people("mail"))}), &world{}
	for i := range 1000 {
		w.opens(fmt.Sprintf("web%03d", i), judge.Warning)
	}
	for ; w.now < 10; w.now++ {
		p.Plan(at(w.now), 0, w.list)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(p.Plan(at(w.now), 0, w.list)) > 0 {
			b.Fatal("there is news")
		}
	}
}
