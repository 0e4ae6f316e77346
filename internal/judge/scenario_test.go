package judge

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

var update = flag.Bool("update", false, "write the decisions of testdata/*.txt anew")

// TestScenarios runs the timelines of testdata/*.txt through measure and judge
// and compares every step of every incident's life with what stands below the
// line "---". A timeline line is
//
//	FROM-TO name=VALUE name=VALUE..VALUE
//
// in seconds; a pair of values is a straight line between them. The names:
//
//	depth      connections in the accept queue, limit its backlog (511)
//	arrivals   connections per second the kernel completes
//	accepted   connections the workers hold
//	oldest     seconds the first in the queue has waited
//	gaveup     CLOSE_WAIT in the queue; dead: CLOSE_WAIT with a worker
//	lost       connections per second lost to the full queue
//	synrecv    half-open ones; cookies: SYN cookies per second
//	resets     resets per second that we send
//	workers    the limit (0: not known), each held by a connection; turnsaway:
//	           beyond it connections are closed at once
//	slow       clients that hold a worker with next to nothing, from so many
//	           prefixes
//	leaked     CLOSE_WAIT held for long, fds descriptors of maxfds
//	stuck      closing connections that are not answered
//	flows      new connections per second that are seen
//
// and the words: blind (looks are interrupted), deaf (sock_diag fails),
// absent (the scope is not there), closed (nothing listens).
func TestScenarios(t *testing.T) { playFiles(t, "testdata/*.txt", play) }

// playFiles plays each timeline twice and compares what comes of it.
func playFiles(t *testing.T, glob string, play func([]segment) string) {
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in %s: %v", glob, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			timeline, want, found := strings.Cut(string(raw), "---\n")
			if !found && !*update {
				t.Fatalf("%s has no line ---", file)
			}
			segments := parseTimeline(t, timeline)
			got := play(segments)
			if again := play(segments); again != got {
				t.Errorf("the same timeline gave two outcomes:\n%s", cmp.Diff(got, again))
			}
			if *update {
				if err := os.WriteFile(file, []byte(timeline+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decisions (-want +got):\n%s", diff)
			}
		})
	}
}

// lookAt is the header of a look that saw everything.
func lookAt(now time.Time, tier tcp.Tier, states tcp.StateMask) tcp.Look {
	return tcp.Look{Begin: now, Abilities: tcp.AllAbilities, Completeness: tcp.Complete, Request: tcp.Request{Tier: tier, States: states, Info: true}}
}

// events counts what a timeline gives by its rate a second.
type events map[string]float64

// count adds a quarter of a second of each.
func (e events) count(s *segment, at float64, names ...string) {
	for _, name := range names {
		e[name] += s.value(name, at) / 4
	}
}

type segment struct {
	from, to float64 // seconds
	values   map[string][2]float64
	words    map[string]bool
}

func parseTimeline(t *testing.T, text string) []segment {
	t.Helper()
	var out []segment
	lines := bufio.NewScanner(strings.NewReader(strings.ReplaceAll(text, "/*", "/s*"))) // backends are s1, s2, s3
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		from, to, ok := strings.Cut(fields[0], "-")
		s := segment{from: number(t, from), to: number(t, to), values: map[string][2]float64{}, words: map[string]bool{}}
		if !ok {
			t.Fatalf("line %q does not begin with FROM-TO", line)
		}
		for _, f := range fields[1:] {
			name, value, ok := strings.Cut(f, "=")
			if !ok {
				s.words[name] = true
				continue
			}
			first, last, pair := strings.Cut(value, "..")
			if !pair {
				last = first
			}
			s.values[name] = [2]float64{number(t, first), number(t, last)}
		}
		out = append(out, s)
	}
	return out
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (s *segment) value(name string, at float64) float64 {
	v := s.values[name]
	if s.to == s.from {
		return v[1]
	}
	return v[0] + (v[1]-v[0])*(at-s.from)/(s.to-s.from)
}

var scenarioStart = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// play runs the pulse at 4 Hz and the focus tier at 1 Hz, as on a quiet host.
func play(segments []segment) string {
	m, j := measure.New(""), New(&Numbers{})
	seen := events{}
	var out strings.Builder
	told := map[uint64]int{}
	id := scope.ID{Kind: scope.KindService, Name: "web"}
	for _, seg := range segments {
		for at := seg.from; at < seg.to-1e-9; at += 0.25 {
			now := scenarioStart.Add(time.Duration(at * float64(time.Second)))
			seen.count(&seg, at, "arrivals", "lost", "resets", "cookies")
			tick := func(tier tcp.Tier, states tcp.StateMask, interval time.Duration) {
				look := lookAt(now, tier, states)
				switch {
				case seg.words["blind"]:
					look.Completeness = tcp.Interrupted
				case seg.words["deaf"]:
					look = tcp.Look{Begin: now, Request: look.Request}
				}
				if tier == tcp.Pulse {
					look.Counters.Set(tcp.PassiveOpens, uint64(seen["arrivals"]))
					look.Counters.Set(tcp.ListenOverflows, uint64(seen["lost"]))
					look.Counters.Set(tcp.SyncookiesSent, uint64(seen["cookies"]))
					look.Counters.Set(tcp.OutRsts, uint64(seen["resets"]))
				}
				y := measure.Tally{Scope: id}
				y.Queue = measure.Queue{Listeners: 1, Depth: uint64(seg.value("depth", at)), Limit: 511, Drops: uint64(seen["lost"]), Set: 1}
				if l := seg.value("limit", at); l > 0 {
					y.Queue.Limit = uint64(l)
				}
				if seg.words["closed"] {
					y.Queue = measure.Queue{}
				}
				y.Accepted = uint32(seg.value("accepted", at))
				y.AcceptedCloseWait = uint32(seg.value("dead", at))
				y.UnacceptedCloseWait = uint32(seg.value("gaveup", at))
				y.Unaccepted = uint32(y.Queue.Depth)
				y.OldestUnaccepted = time.Duration(seg.value("oldest", at) * float64(time.Second))
				y.Busy = uint32(seg.value("accepted", at))
				y.SlowClients = uint32(seg.value("slow", at))
				y.Leaked = uint32(seg.value("leaked", at))
				y.StuckClosing = uint32(seg.value("stuck", at))
				y.Flows = measure.Flows{Known: true, New: uint32(seg.value("flows", at)), Since: time.Second, Scale: 1}
				y.Capacity = measure.Capacity{
					Held: scope.HeldByConnection, Workers: uint32(seg.value("workers", at)), TurnsAway: seg.words["turnsaway"],
					DescriptorsUsed: uint32(seg.value("fds", at)), DescriptorsLimit: uint32(seg.value("maxfds", at)),
				}
				for i := range int(seg.value("prefixes", at)) {
					each := y.SlowClients / uint32(seg.value("prefixes", at))
					y.Prefixes = append(y.Prefixes, measure.PrefixHeld{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2 + byte(i), 0}), 24), Held: each, Slow: each})
				}
				y.States[tcp.Established] = y.Accepted + y.Unaccepted
				y.States[tcp.SynRecv] = uint32(seg.value("synrecv", at))
				scopes := []measure.Tally{y, {Scope: scope.Rest}}
				if seg.words["absent"] {
					scopes = scopes[1:]
				}
				incidents := j.Step(now, m.Step(now, measure.Tallies{Look: look, Interval: interval, Scopes: scopes}))
				narrate(&out, incidents, told)
			}
			tick(tcp.Pulse, tcp.ListenOnly, 250*time.Millisecond)
			if math.Mod(at, 1) == 0 {
				tick(tcp.Focus, tcp.AllStates, time.Second)
			}
		}
	}
	return out.String()
}

// narrate writes the new steps of every incident that got beyond suspicion.
func narrate(out *strings.Builder, incidents []Incident, told map[uint64]int) {
	for i := len(incidents) - 1; i >= 0; i-- {
		inc := &incidents[i]
		if inc.State == Suspected {
			continue
		}
		for _, step := range inc.Timeline[told[inc.ID]:] {
			fmt.Fprintf(out, "%7.2fs  #%d %s %s: %s\n", step.At.Sub(scenarioStart).Seconds(), inc.ID, inc.Finding.Scope, inc.Finding.Cause, step.What)
		}
		told[inc.ID] = len(inc.Timeline)
		if worst := worstStep(inc); worst != inc.Peak {
			fmt.Fprintf(out, "         its steps say %s, its peak is %s\n", worst, inc.Peak)
		}
	}
}

// worstStep is the gravest that the incident's steps say it reached.
func worstStep(inc *Incident) Severity {
	worst := NoSeverity
	for _, step := range inc.Timeline {
		worst = max(worst, step.Severity)
	}
	return worst
}
