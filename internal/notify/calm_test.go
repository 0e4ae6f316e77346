package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/silence"
)

// people is a channel that people read, with the defaults of the configuration.
func people(name string) Channel {
	return Channel{Name: name, Webhook: &Webhook{URL: "https://ops.example/hook"}, Calm: Calm{
		Wait: 2 * time.Second, Interval: time.Minute, Recovery: 30 * time.Second, Cooldown: 5 * time.Minute,
	}}
}

// world is the incidents of one host as a judge lists them: the open ones, the
// newest first, then those that are over, the last one first.
type world struct {
	now  int // seconds since epoch
	last uint64
	list []judge.Incident
}

// opens begins an incident of a service.
func (w *world) opens(service string, severity judge.Severity) {
	w.last++
	inc := of(service, incident(w.last, judge.Open, severity))
	inc.SuspectedAt, inc.OpenedAt, inc.UpdatedAt = at(w.now-1), at(w.now), at(w.now)
	w.list = slices.Insert(w.list, 0, inc)
}

// change changes the open incident of a service.
func (w *world) change(service string, do func(*judge.Incident)) {
	i := slices.IndexFunc(w.list, func(i judge.Incident) bool { return i.Finding.Scope.Name == service && i.State == judge.Open })
	if i < 0 {
		panic("nothing of " + service + " is open")
	}
	do(&w.list[i])
}

func (w *world) ends(service string) {
	w.change(service, func(inc *judge.Incident) {
		inc.State, inc.End, inc.ResolvedAt = judge.Resolved, judge.Recovered, at(w.now)
	})
	slices.SortStableFunc(w.list, func(a, b judge.Incident) int { // the open ones first
		over := func(i judge.Incident) int {
			if i.State == judge.Resolved {
				return 1
			}
			return 0
		}
		return over(a) - over(b)
	})
}

// explain has the open incident of the host explain that of a service.
func (w *world) explain(service string) {
	host := slices.IndexFunc(w.list, func(i judge.Incident) bool { return i.Finding.Scope.Name == "host" && i.State == judge.Open })
	if host >= 0 && service != "host" {
		id := w.list[host].ID
		w.change(service, func(i *judge.Incident) { i.Because, i.BecauseOf = judge.LocalFault, id })
	}
}

// act is what happens to the world, in words: "web opens", "web critical", "web
// ends", "web silenced", "web told" (no longer silenced), "web explained", "web
// taken", "web suspected", "web gone".
func (w *world) act(words string) {
	for act := range strings.SplitSeq(words, ", ") {
		service, what, _ := strings.Cut(act, " ")
		switch what {
		case "opens":
			w.opens(service, judge.Warning)
		case "opens critical":
			w.opens(service, judge.Critical)
		case "opens silenced":
			w.opens(service, judge.Warning)
			w.change(service, func(i *judge.Incident) { i.SilencedBy = "3fa90c" })
		case "is lost": // another cause, critical
			w.opens(service, judge.Critical)
			w.change(service, func(i *judge.Incident) { i.Finding.Cause = judge.PathLost })
		case "milder":
			w.change(service, func(i *judge.Incident) { i.Finding.Severity = judge.Warning })
		case "ends":
			w.ends(service)
		case "critical":
			w.change(service, func(i *judge.Incident) { i.Finding.Severity, i.Peak = judge.Critical, judge.Critical })
		case "silenced":
			w.change(service, func(i *judge.Incident) { i.SilencedBy = "3fa90c" })
		case "told":
			w.change(service, func(i *judge.Incident) { i.SilencedBy = "" })
		case "explained":
			w.explain(service)
		case "taken":
			w.change(service, func(i *judge.Incident) { i.AcknowledgedAt = at(w.now) })
		case "gone":
			w.list = slices.DeleteFunc(w.list, func(i judge.Incident) bool { return i.Finding.Scope.Name == service })
		case "suspected":
			w.last++
			w.list = slices.Insert(w.list, 0, of(service, incident(w.last, judge.Suspected, judge.Warning)))
		case "": // only time goes by
		default:
			panic("what is " + act)
		}
	}
}

// said is what a notice has, in one line: "62 s: web opened warning, db resolved
// critical".
func said(now int, n Notice) string {
	var parts []string
	for _, i := range n.Incidents {
		text := strings.TrimPrefix(i.Scope, "service/") + " " + string(i.Step) + " " + i.Severity
		if i.Step == Resolved && i.End != "recovered" {
			text += " (" + i.End + ")"
		}
		parts = append(parts, text)
	}
	for _, m := range n.More {
		parts = append(parts, fmt.Sprintf("%d more %s", m.Count, m.Step))
	}
	return fmt.Sprintf("%d s: %s", now, strings.Join(parts, ", "))
}

// play runs a script of "SECONDS what happens" through a planner that looks each
// second, and returns what the channel is told. "SECONDS restart" restarts the
// agent: another planner, with what was kept. "restart late" leaves that to
// "SECONDS late".
func play(t *testing.T, c Channel, script ...string) []string {
	t.Helper()
	cfg := Config{Host: "web03", Channels: []Channel{c}}
	p, w := NewPlanner(cfg), &world{}
	kept := map[string][]byte{}
	var out []string
	for _, line := range script {
		var at0 int
		words := ""
		if _, err := fmt.Sscanf(line, "%d", &at0); err != nil {
			t.Fatal(err)
		}
		_, words, _ = strings.Cut(line, " ")
		for ; w.now <= at0; w.now++ {
			if w.now == at0 {
				if strings.HasPrefix(words, "restart") {
					p = NewPlanner(cfg)
					w.list = nil
				}
				if words == "restart" || words == "late" {
					var memories []Memory
					for key, data := range kept {
						memories = append(memories, Memory{MemoryKind, key, data})
					}
					if err := p.Restore(at(w.now), 0, memories); err != nil {
						t.Fatal(err)
					}
				} else if words != "restart late" {
					w.act(words)
				}
			}
			for _, n := range p.Plan(at(w.now), 0, w.list) {
				out = append(out, said(w.now, n))
			}
			for _, m := range p.Changed() {
				if m.Data == nil {
					delete(kept, m.Key)
				} else {
					kept[m.Key] = m.Data
				}
			}
		}
	}
	return out
}

func TestCalm(t *testing.T) {
	pager := people("pager")
	pager.Severities = []judge.Severity{judge.Critical}
	hourly := people("ops")
	hourly.Calm.Interval = time.Hour
	reminding := people("ops")
	reminding.Calm.Remind = time.Hour
	shop := people("shop")
	shop.Only = []silence.Matcher{{Scope: "service/shop*", Severity: "warning"}, {Cause: "path_lost"}}
	record := Channel{Name: "alarm", Alertmanager: &Alertmanager{URLs: []string{"http://127.0.0.1:9093"}}}
	for _, tt := range []struct {
		name    string
		channel Channel
		script  []string
		want    []string
	}{
		// Grouping.
		{"the first waits for more", people("ops"), []string{"10 web opens", "11 db opens", "60"},
			[]string{"12 s: web opened warning, db opened warning"}},
		{"what follows is gathered", people("ops"), []string{"10 web opens", "15 db opens", "50 shop opens", "80"},
			[]string{"12 s: web opened warning", "72 s: db opened warning, shop opened warning"}},
		{"a quiet channel is told soon again", people("ops"), []string{"10 web opens", "300 db opens", "310"},
			[]string{"12 s: web opened warning", "302 s: db opened warning"}},
		{"the worst first", people("ops"), []string{"10 web opens", "11 db opens critical", "20"},
			[]string{"12 s: db opened critical, web opened warning"}},
		{"a storm does not hold up the first critical", people("ops"), []string{"10 web opens", "20 db opens", "30 shop opens critical", "100"},
			[]string{"12 s: web opened warning", "32 s: shop opened critical, db opened warning"}},
		{"nor one that gets critical", people("ops"), []string{"10 web opens", "30 web critical", "100"},
			[]string{"12 s: web opened warning", "32 s: web worse critical"}},
		{"nor a critical of another cause", people("ops"), []string{"10 web opens critical", "30 db is lost", "35 shop is lost", "100"},
			[]string{"12 s: web opened critical", "32 s: db opened critical", "92 s: shop opened critical"}},
		{"nor a flapping that is critical", people("ops"),
			[]string{"10 web opens critical", "60 web ends", "70 web opens critical", "80 web ends", "81 db opens", "90 web opens critical", "100 web ends", "110 web opens critical", "120"},
			[]string{"12 s: web opened critical", "83 s: db opened warning", "112 s: web flapping critical"}},
		{"critical while it waited, and milder again", pager, []string{"10 web opens critical", "15 db opens critical", "20 db milder", "100"},
			[]string{"12 s: web opened critical", "72 s: db opened critical"}},
		{"an hour's interval holds up no critical for more than a minute", hourly, []string{"10 web opens critical", "15 db opens critical", "20 shop opens", "4000"},
			[]string{"12 s: web opened critical", "74 s: db opened critical, shop opened warning"}},
		{"critical, silenced while it waited, and over", people("ops"), []string{"10 web opens critical", "15 db opens critical", "16 db silenced", "20 db ends", "100"},
			[]string{"12 s: web opened critical"}},
		{"but the second critical of its kind waits", people("ops"), []string{"10 web opens critical", "30 db opens critical", "100"},
			[]string{"12 s: web opened critical", "72 s: db opened critical"}},
		{"opened and over before it was told: no news", people("ops"), []string{"10 web opens", "15 db opens", "20 db ends", "100"},
			[]string{"12 s: web opened warning"}},
		{"critical, opened and over before it was told: one item", people("ops"), []string{"10 web opens critical", "15 db opens critical", "20 db ends", "100"},
			[]string{"12 s: web opened critical", "72 s: db resolved critical"}},
		{"opened and worse before it was told: one item", people("ops"), []string{"10 web opens critical", "20 db opens", "30 db critical", "100"},
			[]string{"12 s: web opened critical", "72 s: db opened critical"}},

		// Recovery and cooldown.
		{"a recovery is told when it has held", people("ops"), []string{"10 web opens", "100 web ends", "200"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning"}},
		{"open again in time is no news", people("ops"), []string{"10 web opens", "100 web ends", "120 web opens", "400"},
			[]string{"12 s: web opened warning"}},
		{"worse when it opens again", people("ops"), []string{"10 web opens", "100 web ends", "120 web opens critical", "400"},
			[]string{"12 s: web opened warning", "122 s: web worse critical"}},
		{"open again within the cooldown, and still when that ends", people("ops"), []string{"10 web opens", "100 web ends", "200 web opens", "500"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning", "434 s: web opened warning"}},
		{"open again within the cooldown, and over", people("ops"), []string{"10 web opens", "100 web ends", "200 web opens", "300 web ends", "500"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning"}},
		{"critical again within the cooldown: who heard that it is over must know", people("ops"), []string{"10 web opens critical", "100 web ends", "200 web opens critical", "300 web ends", "400"},
			[]string{"12 s: web opened critical", "132 s: web resolved critical", "202 s: web opened critical", "332 s: web resolved critical"}},
		{"worse within the cooldown", people("ops"), []string{"10 web opens", "100 web ends", "200 web opens critical", "210"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning", "202 s: web opened critical"}},
		{"another end than a recovery is told at once", people("ops"), []string{"10 web opens", "100 web gone", "200"},
			[]string{"12 s: web opened warning", "102 s: web resolved warning (no_evidence)"}},

		// Flapping: 4 openings in 30 min.
		{"flapping is told once, and when it is calm", people("ops"),
			[]string{"10 web opens", "60 web ends", "70 web opens", "80 web ends", "90 web opens", "100 web ends", "110 web opens", "120 web ends", "130 web opens", "140 web ends", "1200"},
			[]string{"12 s: web opened warning", "112 s: web flapping warning", "1042 s: web resolved warning"}},
		{"flapping and worse", people("ops"),
			[]string{"10 web opens", "60 web ends", "70 web opens", "80 web ends", "90 web opens", "100 web ends", "110 web opens", "150 web critical", "200"},
			[]string{"12 s: web opened warning", "112 s: web flapping warning", "152 s: web worse critical"}},
		{"flapping that stays open is told as any other", people("ops"),
			[]string{"10 web opens", "60 web ends", "70 web opens", "80 web ends", "90 web opens", "100 web ends", "110 web opens", "1200 web ends", "1300"},
			[]string{"12 s: web opened warning", "112 s: web flapping warning", "1232 s: web resolved warning"}},
		{"a silence inside a flap", people("ops"),
			[]string{"10 web opens", "60 web ends", "70 web opens silenced", "80 web ends", "90 web opens", "100 web ends", "110 web opens", "120 web ends", "130 web opens", "150"},
			[]string{"12 s: web opened warning", "112 s: web flapping warning"}},

		// Reminders.
		{"a reminder", reminding, []string{"10 web opens", "8000"},
			[]string{"12 s: web opened warning", "3614 s: web lasting warning", "7216 s: web lasting warning"}},
		{"who has taken it is not reminded", reminding, []string{"10 web opens", "20 web taken", "4000"},
			[]string{"12 s: web opened warning"}},

		// Routing.
		{"only what matches, and is no worse", shop, []string{"10 web opens", "11 shop1 opens", "12 shop2 opens critical", "100"},
			[]string{"13 s: shop1 opened warning"}},
		{"a pager hears of critical alone", pager, []string{"10 web opens", "20 web critical", "30 web ends", "100"},
			[]string{"22 s: web opened critical", "82 s: web resolved critical"}},

		// Silences.
		{"silenced from the start, and over", people("ops"), []string{"10 web opens silenced", "100 web ends", "300"}, nil},
		{"silenced, and open at its end", people("ops"), []string{"10 web opens silenced", "100 web told", "110"},
			[]string{"102 s: web opened warning"}},
		{"told before: its end is told", people("ops"), []string{"10 web opens", "20 web silenced", "100 web ends", "200"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning"}},
		{"told before, and worse: no news", people("ops"), []string{"10 web opens", "20 web silenced", "30 web critical", "100 web told", "110"},
			[]string{"12 s: web opened warning", "102 s: web worse critical"}},
		{"explained is not told", people("ops"), []string{"10 host opens critical, web opens, web explained", "100 web ends", "200"},
			[]string{"12 s: host opened critical"}},
		{"explained by what this channel is not told of", shop, []string{"10 host opens, shop1 opens, shop1 explained", "20"},
			[]string{"12 s: shop1 opened warning"}},

		// Restarts.
		{"it goes on: no news, and one end", people("ops"), []string{"10 web opens", "20 restart", "30 web opens", "100 web ends", "300"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning"}},
		{"it goes on and is worse", people("ops"), []string{"10 web opens", "20 restart", "30 web opens critical", "100"},
			[]string{"12 s: web opened warning", "32 s: web worse critical"}},
		{"it does not come back", people("ops"), []string{"10 web opens", "20 restart", "300"},
			[]string{"12 s: web opened warning", "142 s: web resolved warning (agent_stopped)"}},
		{"it is suspected, and comes back late", people("ops"), []string{"10 web opens", "20 restart", "30 web suspected", "300 web gone, web opens", "400"},
			[]string{"12 s: web opened warning"}},
		{"two restarts", people("ops"), []string{"10 web opens", "20 restart", "30 restart", "40 web opens", "100 web ends", "200"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning"}},
		{"a restart inside a cooldown", people("ops"), []string{"10 web opens", "100 web ends", "200 restart", "210 web opens", "500"},
			[]string{"12 s: web opened warning", "132 s: web resolved warning", "434 s: web opened warning"}},
		{"a restart inside a flap", people("ops"),
			[]string{"10 web opens", "60 web ends", "70 web opens", "80 web ends", "90 web opens", "100 web ends", "110 web opens", "120 restart", "130 web opens", "140 web ends", "150 web opens", "160 web ends", "1100"},
			[]string{"12 s: web opened warning", "112 s: web flapping warning", "1062 s: web resolved warning"}},
		{"a restart whose memories come late", people("ops"), []string{"10 web opens", "19 restart late", "20 web opens", "21 late", "60 web ends", "100"},
			[]string{"12 s: web opened warning", "92 s: web resolved warning"}},
		{"a restart while the first notice waits", people("ops"), []string{"10 web opens", "11 restart", "20 web opens", "30"},
			[]string{"22 s: web opened warning"}},

		// Channels that keep a record are told everything.
		{"a record has each opening and end", record, []string{"10 web opens", "20 web ends", "21 web opens", "22 web ends, web opens", "30 web ends", "31"},
			[]string{"10 s: web opened warning", "20 s: web resolved warning", "21 s: web opened warning", "22 s: web resolved warning", "23 s: web opened warning", "30 s: web resolved warning"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, play(t, tt.channel, tt.script...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestServicesThatFollow: one that keeps incidents itself is told of each by its
// name, however many there are: what were a mere count could never be ended.
func TestServicesThatFollow(t *testing.T) {
	pager := people("pager")
	pager.Library = &Library{URL: "pagerduty://0123456789abcdef0123456789abcdef"}
	p, w := NewPlanner(Config{Host: "web03", Channels: []Channel{pager}}), &world{}
	told := map[Step]int{}
	look := func(seconds int) {
		for range seconds {
			for _, n := range p.Plan(at(w.now), 0, w.list) {
				if len(n.More) != 0 || len(n.Incidents) > MostItems {
					t.Fatalf("%d s: %d incidents, and more: %v", w.now, len(n.Incidents), n.More)
				}
				for _, i := range n.Incidents {
					told[i.Step]++
				}
			}
			w.now++
		}
	}
	for i := range 120 {
		w.opens(fmt.Sprintf("web%03d", i), judge.Critical)
	}
	look(10)
	for i := range 120 {
		w.ends(fmt.Sprintf("web%03d", i))
	}
	look(200)
	if diff := cmp.Diff(map[Step]int{Opened: 120, Resolved: 120}, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
