//go:build linux

package lab

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// hybridMounts is of a hybrid machine, Linux 6.18, `cat /proc/self/mounts`.
const hybridMounts = `tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`

func TestParseCgroupRoot(t *testing.T) {
	for text, want := range map[string]string{
		hybridMounts: "/sys/fs/cgroup/unified",
		"cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0": "/sys/fs/cgroup",
		"cgroup2 /sys/fs/cgroup":                       "",
		"cgroup2 relative cgroup2 rw 0 0":              "",
		"tmpfs /cgroup2 tmpfs rw 0 0\n\n":              "",
		"":                                             "",
	} {
		if got, ok := parseCgroupRoot([]byte(text)); got != want || ok != (want != "") {
			t.Errorf("parseCgroupRoot(%q) = %q, %v; want %q", text, got, ok, want)
		}
	}
}

// FuzzParseCgroupRoot: what is found is an absolute path from the text.
func FuzzParseCgroupRoot(f *testing.F) {
	f.Add([]byte(hybridMounts))
	f.Fuzz(func(t *testing.T, text []byte) {
		root, ok := parseCgroupRoot(text)
		if ok && (!filepath.IsAbs(root) || !bytes.Contains(text, []byte(root))) || !ok && root != "" {
			t.Errorf("parseCgroupRoot(%q) = %q, %v", text, root, ok)
		}
	})
}

func TestCgroupLeaf(t *testing.T) {
	a, b := cgroupLeaf("fs-1-2-0000-a"), cgroupLeaf("fs-1-2-0000-b")
	if a == b || len(a) != len("docker-.scope")+64 || strings.ContainsAny(a, "/") {
		t.Errorf("cgroupLeaf: %s and %s", a, b)
	}
}
