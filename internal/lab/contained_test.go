//go:build linux

package lab_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestContained: what runs on a contained host is in its container's cgroup,
// what runs on another is not, and the cgroup goes with the world.
func TestContained(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "inside", Contained: true}, {Name: "outside"}}})
	group := func(host string) string {
		app := labtest.Serve(t, w.Host(host), lab.App{})
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", app.PID()))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	id := w.Host("inside").ContainerID()
	if got := group("inside"); len(id) != 64 || !strings.Contains(got, "docker-"+id+".scope\n") {
		t.Errorf("inside: container %q, cgroups\n%s", id, got)
	}
	if got := group("outside"); w.Host("outside").ContainerID() != "" || strings.Contains(got, "docker-") {
		t.Errorf("outside: cgroups\n%s", got)
	}
	if err := w.Close(); err != nil { // which fails when a cgroup cannot be removed
		t.Error(err)
	}
}
