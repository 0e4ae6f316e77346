package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/tcp"
)

var mountinfoTests = []struct {
	name, text string
	want       []cgroupMount
}{
	{
		"v1 beside v2, as captured on Linux 6.18",
		"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n" +
			"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n" +
			"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n" +
			"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
		[]cgroupMount{{"/", "/sys/fs/cgroup/unified"}},
	},
	{
		"v2 alone, with optional fields",
		"35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n",
		[]cgroupMount{{"/", "/sys/fs/cgroup"}},
	},
	{
		"a part in a container, and the whole, which comes first",
		"90 80 0:30 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup ro\n91 80 0:30 / /host/sys/fs/cgroup ro - cgroup2 cgroup ro\n",
		[]cgroupMount{{"/", "/host/sys/fs/cgroup"}, {"/docker/x", "/sys/fs/cgroup"}},
	},
	{"blanks in its place", `9 8 0:30 / /mnt/my\040groups\134x rw - cgroup2 none rw` + "\n", []cgroupMount{{"/", `/mnt/my groups\x`}}},
	{"of another kind, whose source is so called", "9 8 0:30 / /mnt rw - tmpfs cgroup2 rw\n", nil},
	{"cut short", "9 8 0:30 / /mnt rw - cgroup2", nil},
	{"fields too few", "9 8 - cgroup2 cgroup2 rw\n", nil},
	{"no paths", "9 8 0:30 a b rw - cgroup2 cgroup2 rw\n", nil},
	{"empty", "", nil},
}

func TestParseMountinfo(t *testing.T) {
	for _, tt := range mountinfoTests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parseMountinfo([]byte(tt.text)), cmp.AllowUnexported(cgroupMount{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// FuzzParseMountinfo: no panic; mounts have absolute paths, the widest first;
// none leads out of the directory it is mounted on.
func FuzzParseMountinfo(f *testing.F) {
	for _, tt := range mountinfoTests {
		f.Add([]byte(tt.text), "/system.slice/a.service")
	}
	f.Add([]byte("9 8 0:30 / /mnt rw - cgroup2 cgroup2 rw\n"), "/../../etc")
	f.Fuzz(func(t *testing.T, data []byte, group string) {
		mounts := parseMountinfo(data)
		if !slices.IsSortedFunc(mounts, func(a, b cgroupMount) int { return len(a.root) - len(b.root) }) {
			t.Fatalf("%+v", mounts)
		}
		for _, m := range mounts {
			if m.root[0] != '/' || m.point[0] != '/' {
				t.Fatalf("%+v", m)
			}
			dir, ok := m.directory(group)
			point := filepath.Clean(m.point)
			if ok && dir != point && !strings.HasPrefix(dir, strings.TrimSuffix(point, "/")+"/") {
				t.Fatalf("group %q is at %q, outside of %q", group, dir, point)
			}
		}
	})
}

func TestGroupsOfAMount(t *testing.T) {
	tests := []struct {
		name        string
		mount       cgroupMount
		group, want string
		seen        bool
	}{
		{"the whole tree", cgroupMount{"/", "/sys/fs/cgroup"}, "/system.slice/a.service", "/sys/fs/cgroup/system.slice/a.service", true},
		{"its root", cgroupMount{"/", "/sys/fs/cgroup"}, "/", "/sys/fs/cgroup", true},
		{"a part of it", cgroupMount{"/docker/x", "/sys/fs/cgroup"}, "/docker/x/web", "/sys/fs/cgroup/web", true},
		{"that part", cgroupMount{"/docker/x", "/sys/fs/cgroup"}, "/docker/x", "/sys/fs/cgroup", true},
		{"beside the part", cgroupMount{"/docker/x", "/sys/fs/cgroup"}, "/docker/xy", "", false},
		{"outside of the part", cgroupMount{"/docker/x", "/sys/fs/cgroup"}, "/system.slice", "", false},
		{"above our cgroup namespace", cgroupMount{"/", "/sys/fs/cgroup"}, "/../other", "", false},
		{"above it, where the mount is too", cgroupMount{"/..", "/sys/fs/cgroup"}, "/../other", "/sys/fs/cgroup/other", true},
		{"above even that", cgroupMount{"/..", "/sys/fs/cgroup"}, "/../../other", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, seen := tt.mount.directory(tt.group)
			if got != tt.want || seen != tt.seen {
				t.Errorf("%q, %t; want %q, %t", got, seen, tt.want, tt.seen)
			}
		})
	}
}

func TestUnifiedPath(t *testing.T) {
	tests := []struct {
		text, want string
		ok         bool
	}{
		{"0::/a/b.service\n", "/a/b.service", true},
		{"9:name=systemd:/x\n4:memory:/y\n0::/\n", "/", true},
		{"9:name=systemd:/x\n", "", false},
		{"0::/gone (deleted)\n", "/gone (deleted)", false},
		{"0::relative\n", "", false},
		{"10::/a\n", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if got, ok := unifiedPath([]byte(tt.text)); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %q, %t; want %q, %t", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestCgroupOfASelector(t *testing.T) {
	h := &hierarchy{mounts: []cgroupMount{{"/", "/sys/fs/cgroup/unified"}, {"/docker/x", "/groups"}}}
	for text, want := range map[string]string{
		"/system.slice/a.service/":                      "/system.slice/a.service",
		"/sys/fs/cgroup/unified/system.slice/a.service": "/system.slice/a.service",
		"/groups/web":            "/docker/x/web",
		"/groupsofmine":          "/groupsofmine",
		"/sys/fs/cgroup/unified": "/",
		"/sys/fs/cgroup/unified/system.slice//a.service": "/system.slice/a.service",
	} {
		if got := (Selector{Cgroup: text}).prepare(h).Cgroup; got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// group makes a cgroup v2 group of its own, which goes when the test does.
func group(t *testing.T, what string) (dir, path string) {
	t.Helper()
	h := openHierarchy("/proc")
	if len(h.mounts) == 0 {
		t.Skip(h.err)
	}
	m := h.mounts[0]
	name := fmt.Sprintf("foreshock-test-%d-%s", os.Getpid(), what)
	dir = filepath.Join(m.point, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("cannot make a cgroup: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir, filepath.Join(m.root, name)
}

// enter moves the process into a group. It must end before the group can go.
func (p process) enter(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(p.Stop)
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.PID)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCgroupIDIsTheKernels: the id that is read of a group is the one that the
// kernel gives with the sockets opened in it.
func TestCgroupIDIsTheKernels(t *testing.T) {
	_, outside := listen(t)
	dir, path := group(t, "sockets")
	server := child(t)
	server.enter(t, dir)

	chosen, _, _ := Choose("/proc", []Selector{{Cgroup: path}, {Cgroup: dir}, {Cgroup: path, Name: "other"}}, nil)
	for i, want := range [][]int{{server.PID}, {server.PID}, nil} {
		if diff := cmp.Diff(want, pids(chosen[i])); diff != "" {
			t.Fatalf("selector %d chose (-want +got)\n%s", i, diff)
		}
	}
	p := chosen[0][0]
	if p.CgroupID == 0 {
		t.Fatalf("%+v, want the id of %s", p, path)
	}

	inside := server.listen(t)
	r, err := sockdiag.Open(tcp.NewScratch())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ids := map[uint64]uint64{}
	if _, err := r.Read(tcp.Request{States: tcp.ListenOnly}, func(batch []tcp.Socket) {
		for _, s := range batch {
			ids[s.Inode] = s.CgroupID
		}
	}); err != nil {
		t.Fatal(err)
	}
	if ids[inside] != p.CgroupID {
		t.Errorf("the kernel gives cgroup %d with the socket, want %d", ids[inside], p.CgroupID)
	}
	if ids[outside] == p.CgroupID {
		t.Errorf("our own socket has the same cgroup, %d", p.CgroupID)
	}

	attribution := func() Attribution {
		neighbours, crowded := Neighbours("/proc", chosen[0])
		return Attribute(chosen[0], neighbours, crowded)
	}
	if a := attribution(); !a.Decides || !slices.Equal(a.Cgroups, []uint64{p.CgroupID}) {
		t.Errorf("alone in its group: %+v", a)
	}
	other := child(t)
	other.enter(t, dir)
	other.listen(t)
	if a := attribution(); a.Decides || !strings.Contains(a.Why, strconv.Itoa(other.PID)) {
		t.Errorf("with a neighbour that listens: %+v", a)
	}
	server.Stop()
	if a := attribution(); a.Decides || !strings.Contains(a.Why, strconv.Itoa(server.PID)) {
		t.Errorf("when it has ended: %+v", a)
	}
}
