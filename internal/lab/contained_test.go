package lab_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/owner"
)

// TestContained: each server on a contained host is the first process of a
// container of its own, in a cgroup and in pid and mount namespaces that
// nobody else has, on the host's network; on another host it is in none of
// them. What was started anew is another container, and the cgroups go with
// the world.
func TestContained(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "inside", Contained: true}, {Name: "outside"}}})
	read := func(s *lab.Server, file string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.PID(), file))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	namespace := func(pid, kind string) string {
		name, err := os.Readlink("/proc/" + pid + "/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	in := labtest.Serve(t, w.Host("inside"), lab.App{})
	out := labtest.Serve(t, w.Host("outside"), lab.App{})
	id := in.ContainerID()
	if got := read(in, "cgroup"); id == "" || owner.ParseCgroup([]byte(got)).Container != id {
		t.Errorf("inside: container %q, cgroups\n%s", id, got)
	}
	if got := read(out, "cgroup"); out.ContainerID() != "" || strings.Contains(got, "docker-") {
		t.Errorf("outside: container %q, cgroups\n%s", out.ContainerID(), got)
	}
	// NSpid: the pid in each namespace that the process is in, from the
	// outermost. Kernel: fs/proc/array.c, task_state.
	if got := read(in, "status"); !strings.Contains(got, fmt.Sprintf("NSpid:\t%d\t1\n", in.PID())) {
		t.Errorf("inside: it is not the first process of a pid namespace:\n%s", got)
	}
	for _, kind := range []string{"pid", "mnt"} {
		own := namespace("self", kind)
		if namespace(fmt.Sprint(in.PID()), kind) == own || namespace(fmt.Sprint(out.PID()), kind) != own {
			t.Errorf("inside is in our %s namespace, or outside is not", kind)
		}
	}
	// Its /proc is its own: it sees no other process.
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/proc/%d", in.PID(), os.Getpid())); !os.IsNotExist(err) {
		t.Errorf("inside sees this process: %v", err)
	}
	first := in.PID()
	if err := in.Stop(); err != nil {
		t.Fatal(err)
	}
	again := labtest.Serve(t, w.Host("inside"), lab.App{})
	if again.ContainerID() == id || again.PID() == first {
		t.Errorf("container %s, process %d once more", id, first)
	}
	if err := w.Close(); err != nil { // which fails when a cgroup cannot be removed
		t.Error(err)
	}
}
