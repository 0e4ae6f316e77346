package owner

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServers(t *testing.T) {
	const haproxy = "/usr/sbin/haproxy"
	at := func(pid, parent int, exe string, change ...func(*Chosen)) Chosen {
		c := Chosen{Process: Process{PID: pid, Name: "haproxy", Exe: exe}, Parent: parent, Namespace: 4}
		for _, f := range change {
			f(&c)
		}
		return c
	}
	unit := func(name string) func(*Chosen) { return func(c *Chosen) { c.Unit = name } }
	container := func(c *Chosen) { c.Container = id1 }
	elsewhere := func(c *Chosen) { c.Namespace = 5 }
	tests := []struct {
		name   string
		chosen []Chosen
		want   [][]int
	}{
		{"none", nil, nil},
		{"a master and its workers, in any order", []Chosen{at(12, 10, haproxy), at(10, 1, haproxy), at(11, 10, haproxy)}, [][]int{{10, 11, 12}}},
		{"two of them", []Chosen{at(10, 1, haproxy), at(11, 10, haproxy), at(20, 1, haproxy), at(21, 20, haproxy)}, [][]int{{10, 11}, {20, 21}}},
		{"started from one shell", []Chosen{at(10, 7, haproxy, unit("session-3.scope")), at(11, 7, haproxy, unit("session-3.scope"))}, [][]int{{10}, {11}}},
		{"the old one drains beside the new", []Chosen{at(10, 1, haproxy, unit("haproxy.service")), at(20, 1, haproxy, unit("haproxy.service"))}, [][]int{{10, 20}}},
		{"two units", []Chosen{at(10, 1, haproxy, unit("haproxy@a.service")), at(20, 1, haproxy, unit("haproxy@b.service"))}, [][]int{{10}, {20}}},
		{"a container", []Chosen{at(10, 9, haproxy, container), at(20, 9, haproxy, container)}, [][]int{{10, 20}}},
		{"the same unit, another namespace", []Chosen{at(10, 1, haproxy, unit("pod.service")), at(20, 1, haproxy, unit("pod.service"), elsewhere)}, [][]int{{10}, {20}}},
		{"another program's child", []Chosen{at(10, 1, haproxy), at(11, 10, "/usr/bin/python3")}, [][]int{{10}, {11}}},
		{"a new build's child", []Chosen{at(10, 1, haproxy), at(11, 10, "/usr/sbin/haproxy-2.8")}, [][]int{{10, 11}}},
		{"a program that may not be read", []Chosen{at(10, 1, ""), at(11, 10, "")}, [][]int{{10, 11}}},
		{"the master has the highest pid", []Chosen{at(10, 30, haproxy), at(11, 30, haproxy), at(30, 1, haproxy)}, [][]int{{10, 11, 30}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got [][]int
			for _, server := range Servers(tt.chosen) {
				got = append(got, pids(server))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestUnchanged(t *testing.T) {
	other := child(t)
	chosen, _ := Choose("/proc", []Selector{{Exe: self(t).Exe}}, nil)
	want := []int{os.Getpid(), other.pid}
	slices.Sort(want) // pids begin anew after the last
	if diff := cmp.Diff(want, pids(chosen[0])); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	if !Unchanged("/proc", chosen[0]) {
		t.Error("both are there, and it says otherwise")
	}
	if p := chosen[0][0]; Unchanged("/proc", []Chosen{run(p.PID, p.Started-1, "")}) {
		t.Error("a pid that was given to another process counts as the same")
	}
	other.stop()
	if Unchanged("/proc", chosen[0]) {
		t.Error("one has ended, and it says nothing changed")
	}
	if !Unchanged("/proc", nil) {
		t.Error("nobody was chosen, and somebody is missing")
	}
}
