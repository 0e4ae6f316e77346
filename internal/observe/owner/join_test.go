package owner

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

// chosenSelf is this process as it is chosen.
func chosenSelf(t *testing.T) Chosen {
	t.Helper()
	p, err := see("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	c, err := p.describe(openHierarchy("/proc"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestJoinGoesOn: sockets spread over more descriptors than one call reads are
// all found, each once, by going on from the place.
func TestJoinGoesOn(t *testing.T) {
	var wanted []uint64
	for range 5 {
		_, inode := listen(t)
		wanted = append(wanted, inode)
		for range perTurn / 2 {
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
		}
	}
	other := child(t).listen(t)
	chosen := []Chosen{chosenSelf(t)}
	found := map[uint64]int{}
	calls := 0
	for place := Place(nil); ; {
		missing := slices.DeleteFunc(slices.Clone(append(wanted, other)), func(inode uint64) bool { return found[inode] != 0 })
		held, next, limits := joinTurns("/proc", chosen, missing, place, perTurn)
		if limits != (Limits{}) {
			t.Fatalf("limits %+v", limits)
		}
		if len(held) > len(missing) {
			t.Fatalf("%v among %v", held, missing)
		}
		maps.Copy(found, held)
		calls++
		if place = next; place == nil {
			break
		}
		if calls > 10 {
			t.Fatal("the round does not end")
		}
	}
	want := map[uint64]int{}
	for _, inode := range wanted {
		want[inode] = os.Getpid()
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if calls < 3 {
		t.Errorf("2,560 descriptors in %d calls, want 1,024 in each", calls)
	}
	// Alone, the process has the whole of one call.
	held, next, _ := Join("/proc", chosen, wanted, nil)
	if diff := cmp.Diff(want, held); diff != "" || next != nil {
		t.Errorf("in one call (-want +got), place %v:\n%s", next, diff)
	}
}

func TestJoinInMadeUpProc(t *testing.T) {
	proc := fakeProc(t, map[int]fake{
		9:  {comm: "nginx", started: 5, fds: []string{"/dev/null", "socket:[70]", "socket:[71]"}},
		10: {comm: "nginx", started: 6, fds: []string{"socket:[72]", "socket:[70]"}},
		11: {comm: "other", started: 7, fds: []string{"socket:[73]"}},
	})
	at := func(pid int, started uint64) Chosen { return run(pid, started) }
	tests := []struct {
		name   string
		chosen []Chosen
		wanted []uint64
		held   map[uint64]int
		limits Limits
	}{
		{"among those chosen only, the first who has it", []Chosen{at(9, 5), at(10, 6)}, []uint64{70, 71, 72, 73, 0}, map[uint64]int{70: 9, 71: 9, 72: 10}, Limits{}},
		{"a pid that was given to another", []Chosen{at(9, 4), at(10, 6)}, []uint64{70, 71}, map[uint64]int{70: 10}, Limits{Vanished: 1}},
		{"one that ended", []Chosen{at(8, 1)}, []uint64{70}, map[uint64]int{}, Limits{Vanished: 1}},
		{"nothing wanted", []Chosen{at(9, 5)}, nil, map[uint64]int{}, Limits{}},
		{"nobody chosen", nil, []uint64{70}, map[uint64]int{}, Limits{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			held, next, limits := Join(proc, tt.chosen, tt.wanted, nil)
			if diff := cmp.Diff(tt.held, held); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if next != nil || limits != tt.limits {
				t.Errorf("next %v, limits %+v; want the end and %+v", next, limits, tt.limits)
			}
		})
	}
}

// TestJoinStartsAnewWithAnotherProcess: a place is of a process, not of a pid.
func TestJoinStartsAnewWithAnotherProcess(t *testing.T) {
	proc := fakeProc(t, map[int]fake{9: {comm: "nginx", started: 5, fds: []string{"socket:[70]"}}})
	held, next, _ := Join(proc, []Chosen{run(9, 5)}, []uint64{70}, Place{9: {started: 4, next: 7000}})
	if held[70] != 9 || next != nil {
		t.Errorf("held %v, next %v", held, next)
	}
}

// TestJoinIsBounded: 40 processes with a thousand descriptors each are more
// than one call reads; those that were not reached are read by the next.
func TestJoinIsBounded(t *testing.T) {
	for range 1000 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	_, inode := listen(t)
	processes := map[int]fake{100: {comm: "last", started: 1, fds: []string{"socket:[7]"}}}
	var chosen []Chosen
	for pid := 1; pid <= 40; pid++ {
		processes[pid] = fake{comm: "a", started: 1}
		chosen = append(chosen, run(pid, 1))
	}
	chosen = append(chosen, run(100, 1))
	proc := fakeProc(t, processes)
	for pid := 1; pid <= 40; pid++ { // each has this process' own descriptors
		fd := filepath.Join(proc, strconv.Itoa(pid), "fd")
		if err := errors.Join(os.Remove(fd), os.Symlink("/proc/self/fd", fd)); err != nil {
			t.Fatal(err)
		}
	}
	first, place, limits := Join(proc, chosen, []uint64{7}, nil)
	if len(first) != 0 || place == nil || limits != (Limits{}) {
		t.Fatalf("held %v, place %v, limits %+v; want the call to end before the last process", first, place, limits)
	}
	second, place, limits := Join(proc, chosen, []uint64{7}, place)
	if second[7] != 100 || place != nil || limits != (Limits{}) {
		t.Errorf("held %v, place %v, limits %+v; want socket 7 of process 100", second, place, limits)
	}
	if held, _, _ := Join(proc, chosen, []uint64{inode}, nil); held[inode] != 1 {
		t.Errorf("held %v; want the first process that has the socket", held)
	}
}

func TestJoinUnprivileged(t *testing.T) {
	labtest.NeedRoot(t)
	other := child(t)
	inode := other.listen(t)
	chosen, _, _ := Choose("/proc", []Selector{{Exe: self(t).Exe}}, nil)
	var held map[uint64]int
	var next Place
	var limits Limits
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		held, next, limits = Join("/proc", chosen[0], []uint64{inode}, nil)
	})
	if len(held) != 0 || next != nil || limits.Unreadable != 1 {
		t.Errorf("held %v, next %v, limits %+v; want the other process counted as unreadable", held, next, limits)
	}
}

func TestAttribute(t *testing.T) {
	in := func(pid int, group uint64, ns uint64) Chosen {
		p := run(pid, 1)
		p.CgroupID, p.Namespace = group, tcp.Namespace(ns)
		return p
	}
	near := func(pid int, group, ns uint64, sockets bool) Neighbour {
		return Neighbour{PID: pid, Name: "near", CgroupID: group, Namespace: tcp.Namespace(ns), Sockets: sockets}
	}
	tests := []struct {
		name       string
		chosen     []Chosen
		neighbours []Neighbour
		crowded    map[uint64]string
		want       Attribution
	}{
		{"alone", []Chosen{in(1, 50, 4), in(2, 50, 4), in(3, 40, 4)}, nil, nil, Attribution{Cgroups: []uint64{40, 50}, Decides: true}},
		{"a neighbour without sockets", []Chosen{in(1, 50, 4)}, []Neighbour{near(2, 50, 4, false)}, nil, Attribution{Cgroups: []uint64{50}, Decides: true}},
		{
			"a neighbour with sockets", []Chosen{in(1, 50, 4)}, []Neighbour{near(2, 50, 4, true)}, nil,
			Attribution{Cgroups: []uint64{50}, Why: "process 2, near, is in the same cgroup and has sockets too"},
		},
		{"in another group", []Chosen{in(1, 50, 4)}, []Neighbour{near(2, 51, 4, true)}, nil, Attribution{Cgroups: []uint64{50}, Decides: true}},
		{"in another network namespace", []Chosen{in(1, 50, 4)}, []Neighbour{near(2, 50, 5, true)}, nil, Attribution{Cgroups: []uint64{50}, Decides: true}},
		{
			"in a namespace that may not be read", []Chosen{in(1, 50, 4)}, []Neighbour{near(2, 50, 0, true)}, nil,
			Attribution{Cgroups: []uint64{50}, Why: "process 2, near, is in the same cgroup and has sockets too"},
		},
		{"it is chosen itself by now", []Chosen{in(1, 50, 4)}, []Neighbour{near(1, 50, 4, true)}, nil, Attribution{Cgroups: []uint64{50}, Decides: true}},
		{
			"one id is not known", []Chosen{in(1, 50, 4), in(2, 0, 4)}, nil, nil,
			Attribution{Cgroups: []uint64{50}, Why: "the cgroup v2 id of process 2, proxy, is not known"},
		},
		{
			"too many neighbours to look at", []Chosen{in(1, 50, 4)}, nil, map[uint64]string{50: "it is a crowd"},
			Attribution{Cgroups: []uint64{50}, Why: "it is a crowd"},
		},
		{"nobody", nil, nil, nil, Attribution{Why: "no process was chosen"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Attribute(tt.chosen, tt.neighbours, tt.crowded)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseMembers(t *testing.T) {
	tests := []struct {
		name, text string
		want       []int
		bad        bool
	}{
		{"two, one of them twice", "7\n12\n7\n", []int{7, 12}, false},
		{"nobody", "", nil, false},
		{"of another pid namespace", "7\n0\n", nil, true},
		{"garbage", "7\nx\n", nil, true},
		{"negative", "-7\n", nil, true},
		{"a crowd", strings.Repeat("1\n", 3) + crowd(maxMembers+1), nil, true},
		{"as many as are looked at", crowd(maxMembers), numbers(maxMembers), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseMembers([]byte(tt.text))
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != tt.bad {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// FuzzParseMembers: no panic; each process once, none that cannot be, and no
// more than are looked at; the answer, printed, is read as itself.
func FuzzParseMembers(f *testing.F) {
	f.Add([]byte("7\n12\n7\n"))
	f.Add([]byte("0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseMembers(data)
		if err != nil {
			if got != nil {
				t.Fatalf("%v beside %v", got, err)
			}
			return
		}
		var b bytes.Buffer
		seen := map[int]bool{}
		for _, pid := range got {
			if pid <= 0 || seen[pid] {
				t.Fatalf("%v", got)
			}
			seen[pid] = true
			fmt.Fprintln(&b, pid)
		}
		if again, err := parseMembers(b.Bytes()); err != nil || !slices.Equal(again, got) || len(got) > maxMembers {
			t.Fatalf("%v, %v; was %v", again, err, got)
		}
	})
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

func crowd(n int) string {
	var b strings.Builder
	for _, i := range numbers(n) {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}
