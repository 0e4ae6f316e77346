package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestOwnTrouble: each condition begins and ends.
func TestOwnTrouble(t *testing.T) {
	type change func(f *ownFacts, at int)
	pulse := func(bad int, why string) change {
		return func(f *ownFacts, _ int) {
			f.tiers = []tierFacts{{tier: tcp.Pulse, bad: bad, badSince: start.Add(-20 * time.Second), why: why, interval: time.Second}}
		}
	}
	focus := func(age time.Duration, resting bool) change {
		return func(f *ownFacts, _ int) {
			f.tiers = []tierFacts{{tier: tcp.Focus, age: age, interval: time.Second, resting: resting}}
		}
	}
	channel := func(failing bool, undelivered uint64) change {
		return func(f *ownFacts, _ int) {
			f.channels = []notify.Status{{Name: "ops", Kind: "webhook", Failing: failing, Undelivered: undelivered, Queued: 2, LastError: "channel ops: ops.example answered 500"}}
		}
	}
	delivers := func(undelivered uint64) change {
		return func(f *ownFacts, _ int) {
			f.channels = []notify.Status{{Name: "ops", Kind: "webhook", Undelivered: undelivered, Delivered: 1}}
		}
	}
	well := func(*ownFacts, int) {}
	for _, tt := range []struct {
		name  string
		ticks map[int]change // by second; what is not among them is as before
		until int
		want  []string
	}{
		{"well", map[int]change{0: well}, 60, nil},
		{"a look that failed once", map[int]change{0: pulse(1, "no")}, 60, nil},
		{"blind", map[int]change{0: pulse(9, "netlink: no buffer"), 60: pulse(0, "")}, 80, []string{
			"10 open critical agent/looks: Foreshock is blind, whatever it says of services: its pulse look fails: netlink: no buffer.", "70 resolved recovered agent/looks",
		}},
		{"partial", map[int]change{0: pulse(9, "")}, 20, []string{"10 open critical agent/looks: Foreshock is blind, whatever it says of services: its pulse look is partial."}},
		{"late", map[int]change{0: focus(6*time.Second, false), 60: focus(time.Second, false)}, 80, []string{
			"30 open warning agent/pace: Foreshock looks too seldom to be relied on: what focus sees is 6 s old, and should be 1.0 s.", "70 resolved recovered agent/pace",
		}},
		{"at rest", map[int]change{0: focus(time.Minute, true)}, 60, nil},
		{"rights lost", map[int]change{0: func(f *ownFacts, _ int) { f.lost = []string{"no extension"} }, 90: well}, 110, []string{
			"60 open warning agent/rights: What could be seen at the start cannot be any more: no extension.", "100 resolved recovered agent/rights",
		}},
		{"history", map[int]change{0: func(f *ownFacts, _ int) {
			f.history = api.History{State: api.HistoryFailing, Reason: "no space left on device", Waiting: 3}
		}, 90: well}, 110, []string{
			"60 open warning agent/history: The history is not written: no space left on device. Watching goes on; 3 entries wait.", "100 resolved recovered agent/history",
		}},
		{"history set aside", map[int]change{0: func(f *ownFacts, _ int) { f.history = api.History{State: api.HistoryWorking, SetAside: "/x.corrupt"} }}, 620, []string{
			"0 open warning agent/history_aside: The history was corrupt and was set aside as /x.corrupt; a new one is begun.", "610 resolved recovered agent/history_aside",
		}},
		{"dropped", map[int]change{0: well, 1: func(f *ownFacts, at int) {
			f.history = api.History{State: api.HistoryWorking, Dropped: uint64(min(at, 5))}
		}}, 620, []string{
			"1 open warning agent/records: What was to be kept is lost: 1 entry of the history was dropped.", "615 resolved recovered agent/records",
		}},
		{"left out of the recording", map[int]change{0: well, 1: func(f *ownFacts, _ int) { f.leftOut = leftOut{1, "too many scopes"} }}, 20, []string{
			"1 open warning agent/records: What was to be kept is lost: 1 step is missing from the flight recording, too many scopes.",
		}},
		{"a channel fails", map[int]change{0: channel(true, 0), 400: channel(false, 0)}, 420, []string{
			"300 open warning agent/channel/ops: Nobody hears of incidents by ops: ops.example answered 500; 2 notices wait.", "410 resolved recovered agent/channel/ops",
		}},
		{"a channel gives up", map[int]change{0: channel(false, 7), 10: channel(false, 9), 300: delivers(9)}, 640, []string{ // the 7 are of before
			"10 open warning agent/undelivered/ops: ops gave up 2 notices: ops.example answered 500.", "620 resolved recovered agent/undelivered/ops",
		}},
		{"a channel gives up, and delivers nothing more", map[int]change{0: channel(false, 7), 10: channel(true, 9), 5000: delivers(9)}, 5100, []string{
			"10 open warning agent/undelivered/ops: ops gave up 2 notices: ops.example answered 500.",
			"310 open warning agent/channel/ops: Nobody hears of incidents by ops: ops.example answered 500; 2 notices wait.",
			"5010 resolved recovered agent/undelivered/ops", "5010 resolved recovered agent/channel/ops",
		}},
		{"a channel that refuses the notice of its trouble too", map[int]change{0: channel(false, 7), 10: channel(false, 8), 12: channel(false, 9)}, 86500, []string{
			"10 open warning agent/undelivered/ops: ops gave up 1 notice: ops.example answered 500.", "86422 resolved recovered agent/undelivered/ops",
		}},
		{"a channel that begins anew", map[int]change{0: channel(false, 7), 10: channel(false, 0)}, 20, nil},
		{"a heartbeat that is not heard", map[int]change{0: func(f *ownFacts, _ int) {
			f.heart = api.Heartbeat{State: api.HeartbeatFailing, LastError: "hc.example answered 500"}
		}}, 310, []string{
			"300 open warning agent/heartbeat: The heartbeat is not heard, so that somebody may be told that this agent is dead: hc.example answered 500.",
		}},
		{"configuration refused", map[int]change{0: func(f *ownFacts, _ int) { f.refused = "/etc/x.yaml: 2 problems" }, 5: well}, 20, []string{
			"0 open warning agent/configuration: The configuration was refused when it was last read (/etc/x.yaml: 2 problems): the one before it holds.", "15 resolved recovered agent/configuration",
		}},
		{"token lost", map[int]change{0: func(f *ownFacts, _ int) { f.token = "no such file" }, 5: well}, 20, []string{
			"0 open warning agent/token: A token of the API cannot be read any more: no such file. What was read at the start holds.", "15 resolved recovered agent/token",
		}},
		{"a certificate half renewed, for a minute", map[int]change{0: func(f *ownFacts, _ int) { f.certificate = "x" }, 60: well}, 200, nil},
		{"a certificate that is bad", map[int]change{0: func(f *ownFacts, _ int) { f.certificate = "c.pem: no such file" }, 150: well}, 170, []string{
			"120 open warning agent/certificate: The certificate of page and API: c.pem: no such file. The one that was last good is served with.", "160 resolved recovered agent/certificate",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var own ownTrouble
			j := judge.New(&judge.Numbers{})
			var got []string
			told := map[uint64]judge.State{}
			now := change(well)
			for at := range tt.until {
				if next := tt.ticks[at]; next != nil {
					now = next
				}
				f := ownFacts{now: start.Add(time.Duration(at) * time.Second), history: api.History{State: api.HistoryWorking}}
				now(&f, at)
				for _, i := range j.StepTroubles(f.now, own.of(&f)) {
					if i.State == told[i.ID] || i.State == judge.Suspected {
						continue
					}
					told[i.ID] = i.State
					says := fmt.Sprintf("%d open %s %s: %s", at, i.Peak, i.Finding.Scope, i.Finding.Sentence)
					if i.State == judge.Resolved {
						says = fmt.Sprintf("%d resolved %s %s", at, i.End, i.Finding.Scope)
					}
					got = append(got, says)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestTroubleIsDocumented holds the table of docs/SIGNALS.md to the conditions.
func TestTroubleIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/SIGNALS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "### `agent_trouble`")
	section, _, _ = strings.Cut(section, "\n### ")
	var want, got []string
	for _, c := range []condition{isBlind, isLate, lacksRights, keepsNothing, setAside, losesRecords, isUnheard, gaveUp, notHeard, refused, lostToken, badCertificate} {
		of := ""
		if c.what == isUnheard.what || c.what == gaveUp.what {
			of = "/NAME"
		}
		want = append(want, fmt.Sprintf("agent/%s%s %s %s", c.what, of, c.severity, c.hold))
	}
	for line := range strings.SplitSeq(section, "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(line, "| `agent/") {
			hold, err := time.ParseDuration(strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(cells[4]), " ", ""), "min", "m"))
			if err != nil {
				t.Fatalf("row %q: %v", line, err)
			}
			got = append(got, fmt.Sprintf("%s %s %s", strings.Trim(cells[1], " `"), strings.TrimSpace(cells[3]), hold))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conditions (-code +docs/SIGNALS.md):\n%s", diff)
	}
}

// TestFailingHistoryIsTold: by the log channel, though it cannot be kept; and a
// service is none the worse for it.
func TestFailingHistoryIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a file")
	write(t, file, "no directory")
	log := &journal{more: make(chan struct{})}
	cfg := config.Default()
	cfg.Notify = []config.Channel{{Name: "here", Severities: config.DefaultSeverities(), Log: true}}
	a, err := newAgent(Options{Load: func() (config.Config, string, error) { return cfg, "", nil }, Log: slog.New(slog.NewTextHandler(log, nil)), StateDir: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.keeper.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(a.keeper.stop); <-a.keeper.done })
	h, err := newOwnHost(cfg, observe.Auto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	for _, lane := range a.notices.lanes {
		go func() { _ = lane.Run(t.Context()) }()
	}
	var incidents []judge.Incident
	for _, after := range []time.Duration{0, time.Minute} {
		now := a.clock.Now().Add(after)
		incidents = a.troubled(now, h, nil)
		a.notices.tell(now, 0, incidents)
		a.keeper.note(0, incidents, h.LastNumber())
	}
	if len(incidents) != 1 || incidents[0].State != judge.Open || incidents[0].Finding.Scope.String() != "agent/history" {
		t.Fatalf("incidents %+v", incidents)
	}
	log.wait(t, `msg="incident notice"`)
	log.wait(t, "agent/history")
	if !h.Acknowledge(a.clock.Now(), incidents[0].ID, "ann") {
		t.Error("it cannot be taken")
	}
}

// TestRefusedConfiguration: a reload that is refused is trouble until one is not,
// and its words quote nothing.
func TestRefusedConfiguration(t *testing.T) {
	a := &agent{}
	a.refuse("/etc/foreshock.yaml", errors.Join(errors.New("webhook: {url: secret}"), errors.New("another")))
	if got := *a.refused.Load(); got != "/etc/foreshock.yaml: 2 problems" {
		t.Errorf("says %q", got)
	}
	a.refuse("/etc/foreshock.yaml", nil)
	if a.refused.Load() != nil {
		t.Error("goes on")
	}
}

// TestTokenLost: the file of the token is gone, and comes back.
func TestTokenLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "a token that is long enough")
	cfg, err := config.Parse("test", []byte("token: {file: "+file+"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{startConfig: cfg}
	var got []bool
	for _, there := range []bool{true, false, true} {
		if there {
			write(t, file, "a token that is long enough")
		} else if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		a.tryTokens()
		got = append(got, a.tokenLost.Load() != nil)
	}
	if !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("lost: %v", got)
	}
}
