package owner

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// run is a process by its pid, start and program.
func run(pid int, started uint64, exe string) Chosen {
	return Chosen{Process: Process{PID: pid, Name: "proxy", Exe: exe}, Started: started}
}

func pids(processes []Chosen) []int {
	var out []int
	for _, p := range processes {
		out = append(out, p.PID)
	}
	return out
}

// TestFollow plays one choice after the other; those that change nothing are
// left out of what is wanted.
func TestFollow(t *testing.T) {
	const proxy = "/usr/sbin/proxy"
	type choice struct {
		at     int // seconds
		chosen []Chosen
		limits Limits
	}
	type event struct {
		At             int
		Kind           string
		Started, Ended []int
		Gap            time.Duration
		Followed       bool
	}
	a, b, c, d := run(10, 100, proxy), run(11, 101, proxy), run(20, 900, proxy), run(21, 901, proxy)
	tests := []struct {
		name    string
		choices []choice
		want    []event
	}{
		{
			"begins and stays",
			[]choice{{at: 0}, {at: 1, chosen: []Chosen{a, b}}, {at: 2, chosen: []Chosen{b, a}}},
			[]event{{At: 1, Kind: "began", Started: []int{10, 11}}},
		},
		{
			"never there",
			[]choice{{at: 0}, {at: 100}},
			nil,
		},
		{
			"restarted between two choices",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, chosen: []Chosen{c}}},
			[]event{{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "restarted", Started: []int{20}, Ended: []int{10}, Gap: 2 * time.Second, Followed: true}},
		},
		{
			"nobody there during the restart",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2}, {at: 4}, {at: 12, chosen: []Chosen{c}}, {at: 13, chosen: []Chosen{c, d}}},
			[]event{
				{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "vanished", Ended: []int{10}},
				{At: 12, Kind: "restarted", Started: []int{20}, Gap: 10 * time.Second, Followed: true}, {At: 13, Kind: "grew", Started: []int{21}},
			},
		},
		{
			"gone for good, and somebody else much later",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2}, {at: 12}, {at: 13}, {at: 14}, {at: 15, chosen: []Chosen{c}}},
			[]event{
				{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "vanished", Ended: []int{10}},
				{At: 13, Kind: "ended"}, {At: 15, Kind: "began", Started: []int{20}},
			},
		},
		{
			"others, and nobody looked for long",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 60, chosen: []Chosen{c}}},
			[]event{{At: 0, Kind: "began", Started: []int{10}}, {At: 60, Kind: "began", Started: []int{20}, Ended: []int{10}}},
		},
		{
			"reload: the master stays",
			[]choice{{at: 0, chosen: []Chosen{a, b}}, {at: 2, chosen: []Chosen{a, c}}},
			[]event{{At: 0, Kind: "began", Started: []int{10, 11}}, {At: 2, Kind: "renewed", Started: []int{20}, Ended: []int{11}, Followed: true}},
		},
		{
			"reload: the old process drains for a moment",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, chosen: []Chosen{a, c}}, {at: 4, chosen: []Chosen{c}}},
			[]event{
				{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "grew", Started: []int{20}},
				{At: 4, Kind: "renewed", Ended: []int{10}, Followed: true},
			},
		},
		{
			"the old process drains for minutes",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, chosen: []Chosen{a, c}}, {at: 300, chosen: []Chosen{c}}},
			[]event{
				{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "grew", Started: []int{20}},
				{At: 300, Kind: "shrank", Ended: []int{10}},
			},
		},
		{
			"a worker crashes and is replaced",
			[]choice{{at: 0, chosen: []Chosen{a, b}}, {at: 2, chosen: []Chosen{a}}, {at: 4, chosen: []Chosen{a, c}}},
			[]event{
				{At: 0, Kind: "began", Started: []int{10, 11}}, {At: 2, Kind: "shrank", Ended: []int{11}},
				{At: 4, Kind: "renewed", Started: []int{20}, Followed: true},
			},
		},
		{
			"the pid was given to another process",
			[]choice{{at: 0, chosen: []Chosen{a, b}}, {at: 2, chosen: []Chosen{run(10, 500, proxy), b}}},
			[]event{{At: 0, Kind: "began", Started: []int{10, 11}}, {At: 2, Kind: "renewed", Started: []int{10}, Ended: []int{10}, Followed: true}},
		},
		{
			"the pid of the only process was given to another",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, chosen: []Chosen{run(10, 500, proxy)}}},
			[]event{{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "restarted", Started: []int{10}, Ended: []int{10}, Gap: 2 * time.Second, Followed: true}},
		},
		{
			"upgraded in place",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, chosen: []Chosen{run(10, 100, "/opt/proxy-2")}}},
			[]event{{At: 0, Kind: "began", Started: []int{10}}, {At: 2, Kind: "reexecuted", Followed: true}},
		},
		{
			"the program may not be read for once",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, chosen: []Chosen{run(10, 100, "")}}},
			[]event{{At: 0, Kind: "began", Started: []int{10}}},
		},
		{
			"no process can be seen: nothing is said",
			[]choice{{at: 0, chosen: []Chosen{a}}, {at: 2, limits: Limits{Err: errors.New("no /proc")}}, {at: 4, chosen: []Chosen{a}}},
			[]event{{At: 0, Kind: "began", Started: []int{10}}},
		},
		{
			"cut short: those missing are taken to be there, a pid in other hands is not",
			[]choice{{at: 0, chosen: []Chosen{a, b}}, {at: 2, chosen: []Chosen{run(11, 700, proxy)}, limits: Limits{Cut: 1}}, {at: 4, chosen: []Chosen{run(11, 700, proxy)}}},
			[]event{
				{At: 0, Kind: "began", Started: []int{10, 11}}, {At: 2, Kind: "renewed", Started: []int{11}, Ended: []int{11}, Followed: true},
				{At: 4, Kind: "renewed", Ended: []int{10}, Followed: true},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []event
			var course Course
			begin := time.Unix(1e9, 0)
			for _, ch := range tt.choices {
				var change Change
				course, change = Follow(course, begin.Add(time.Duration(ch.at)*time.Second), ch.chosen, ch.limits, 10*time.Second)
				if change.Kind != Same {
					got = append(got, event{ch.at, change.Kind.String(), pids(change.Started), pids(change.Ended), change.Gap, change.Kind.Followed()})
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFollowLosesNobody: whatever is chosen when, what was there, less those
// who ended, with those who started, is what is there, and the course before
// is as it was.
func TestFollowLosesNobody(t *testing.T) {
	process := rapid.Custom(func(t *rapid.T) Chosen {
		return run(rapid.IntRange(1, 5).Draw(t, "pid"), rapid.Uint64Range(1, 3).Draw(t, "started"), "")
	})
	onePID := func(p Chosen) int { return p.PID }
	rapid.Check(t, func(t *rapid.T) {
		var course Course
		at := time.Unix(1e9, 0)
		for range 10 {
			at = at.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
			chosen := rapid.SliceOfNDistinct(process, 0, 5, onePID).Draw(t, "chosen")
			had := map[Chosen]bool{}
			for _, p := range course.Processes {
				had[p] = true
			}
			before := len(course.Processes)
			next, change := Follow(course, at, chosen, Limits{}, 10*time.Second)
			if len(course.Processes) != before {
				t.Fatal("the course before was changed")
			}
			for _, p := range change.Ended {
				if !had[p] {
					t.Fatalf("%v ended and was not there", p)
				}
				delete(had, p)
			}
			for _, p := range change.Started {
				if had[p] {
					t.Fatalf("%v started and was there", p)
				}
				had[p] = true
			}
			if len(had) != len(chosen) {
				t.Fatalf("%d processes after %v, want %d", len(had), change, len(chosen))
			}
			for _, p := range chosen {
				if !had[p] {
					t.Fatalf("%v is lost", p)
				}
			}
			if (change.Kind == Same) != (len(change.Started)+len(change.Ended) == 0) && change.Kind != Ended {
				t.Fatalf("%v", change)
			}
			course = next
		}
	})
}

func TestChangeInWords(t *testing.T) {
	many := []Chosen{run(1, 1, ""), run(2, 1, ""), run(3, 1, ""), run(4, 1, ""), run(5, 1, "")}
	tests := []struct {
		change Change
		want   string
	}{
		{Change{}, "same"},
		{Change{Kind: Restarted, Started: many[:1], Ended: many[1:2]}, "restarted: process 2 gone, process 1 began"},
		{Change{Kind: Grew, Started: many}, "grew: processes 1, 2, 3 and 2 more began"},
		{Change{Kind: Reexecuted, Reexecuted: many[:2]}, "reexecuted: processes 1, 2 re-executed"},
		{Change{Kind: 99}, "kind_99"},
	}
	for _, tt := range tests {
		if got := tt.change.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
