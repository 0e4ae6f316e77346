package lab

import (
	"bytes"
	"path/filepath"
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

// TestContainerID: each container is another.
func TestContainerID(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{containerID("fs-1-2-0000-a", 1), containerID("fs-1-2-0000-a", 2), containerID("fs-1-2-0000-b", 1)} {
		if len(id) != 64 || seen[id] {
			t.Errorf("container %q", id)
		}
		seen[id] = true
	}
}
