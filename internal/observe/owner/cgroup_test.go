package owner

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	id1 = "5cc461575aab941b14146243b1ef47c75cc461575aab941b14146243b1ef47c7"
	id2 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

var cgroupTests = []struct {
	name, text string
	want       Membership
}{
	{"a service", "0::/system.slice/nginx.service\n", Membership{Path: "/system.slice/nginx.service", Unit: "nginx.service"}},
	{"nested slices", "0::/web.slice/web-front.slice/haproxy.service\n", Membership{Path: "/web.slice/web-front.slice/haproxy.service", Unit: "haproxy.service"}},
	{
		"an instance in its template's slice, the name escaped", `0::/system.slice/system-foo\x2dbar.slice/foo\x2dbar@a:b.service` + "\n",
		Membership{Path: `/system.slice/system-foo\x2dbar.slice/foo\x2dbar@a:b.service`, Unit: `foo\x2dbar@a:b.service`},
	},
	{"groups of the service's own below it", "0::/system.slice/udev.service/udev\n", Membership{Path: "/system.slice/udev.service/udev", Unit: "udev.service"}},
	{"units of the service's own below it", "0::/system.slice/lxc.service/inner.service\n", Membership{Path: "/system.slice/lxc.service/inner.service", Unit: "lxc.service"}},
	{
		"a unit of a user's manager", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-web.service/sub.scope\n",
		Membership{Path: "/user.slice/user-1000.slice/user@1000.service/app.slice/app-web.service/sub.scope", Unit: "app-web.service"},
	},
	{
		"a user's manager itself", "0::/user.slice/user-1000.slice/user@1000.service\n",
		Membership{Path: "/user.slice/user-1000.slice/user@1000.service", Unit: "user@1000.service"},
	},
	{"a login", "0::/user.slice/user-0.slice/session-3.scope\n", Membership{Path: "/user.slice/user-0.slice/session-3.scope", Unit: "session-3.scope"}},
	{"the service manager", "0::/init.scope\n", Membership{Path: "/init.scope", Unit: "init.scope"}},
	{"a name that would clash with cgroup's files", "0::/system.slice/_cgroup.service\n", Membership{Path: "/system.slice/_cgroup.service", Unit: "cgroup.service"}},
	{"outside of the reader's cgroup namespace", "0::/../../system.slice/ssh.service\n", Membership{Path: "/../../system.slice/ssh.service", Unit: "ssh.service"}},
	{"the group was removed", "0::/system.slice/old.service (deleted)\n", Membership{Path: "/system.slice/old.service", Unit: "old.service"}},
	{"colons in the path", "0::/system.slice/a:b.service\n", Membership{Path: "/system.slice/a:b.service", Unit: "a:b.service"}},
	{"no manager: a plain group", "0::/daemons/web\n", Membership{Path: "/daemons/web"}},
	{
		"v1 and the empty v2 root beside it", "9:name=systemd:/system.slice/cron.service\n4:memory:/elsewhere\n0::/\n",
		Membership{Path: "/system.slice/cron.service", Unit: "cron.service"},
	},
	{
		"hybrid: v2 has the answer", "4:memory:/elsewhere\n1:name=systemd:/system.slice/cron.service\n0::/system.slice/cron.service/x\n",
		Membership{Path: "/system.slice/cron.service/x", Unit: "cron.service"},
	},
	{
		"v1 without a manager, as captured in a container without a cgroup namespace (id lengthened)",
		"9:name=systemd:/\n8:pids:/\n4:memory:/docker/" + id1 + "\n1:cpu:/\n0::/\n",
		Membership{Path: "/docker/" + id1, Container: id1},
	},
	{"docker by systemd", "0::/system.slice/docker-" + id1 + ".scope\n", Membership{Path: "/system.slice/docker-" + id1 + ".scope", Container: id1}},
	{
		"kubernetes, containerd by systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1d.slice/cri-containerd-" + id1 + ".scope\n",
		Membership{Path: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1d.slice/cri-containerd-" + id1 + ".scope", Container: id1},
	},
	{"kubernetes by plain cgroups", "0::/kubepods/besteffort/pod0f3c/" + id1 + "\n", Membership{Path: "/kubepods/besteffort/pod0f3c/" + id1, Container: id1}},
	{
		"containerd with the drivers mixed up", "0::/system.slice/containerd.service/kubepods-pod1d.slice:cri-containerd:" + id1 + "\n",
		Membership{Path: "/system.slice/containerd.service/kubepods-pod1d.slice:cri-containerd:" + id1, Unit: "containerd.service", Container: id1},
	},
	{
		"CRI-O, a group of the container's own below it", "0::/kubepods.slice/crio-" + id1 + ".scope/app\n",
		Membership{Path: "/kubepods.slice/crio-" + id1 + ".scope/app", Container: id1},
	},
	{
		"podman's quadlet: a unit and a container", "0::/system.slice/web.service/libpod-payload-" + id1 + "\n",
		Membership{Path: "/system.slice/web.service/libpod-payload-" + id1, Unit: "web.service", Container: id1},
	},
	{
		"podman of a user", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope/container\n",
		Membership{Path: "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope/container", Unit: "user@1000.service", Container: id1},
	},
	{
		"podman's monitor is beside the container", "0::/machine.slice/libpod-conmon-" + id1 + ".scope\n",
		Membership{Path: "/machine.slice/libpod-conmon-" + id1 + ".scope", Unit: "libpod-conmon-" + id1 + ".scope"},
	},
	{
		"a container in a container, with a service manager", "0::/system.slice/docker-" + id1 + ".scope/kubelet.slice/cri-containerd-" + id2 + ".scope/system.slice/nginx.service\n",
		Membership{
			Path: "/system.slice/docker-" + id1 + ".scope/kubelet.slice/cri-containerd-" + id2 + ".scope/system.slice/nginx.service",
			Unit: "nginx.service", Container: id2,
		},
	},
	{"64 letters that are no id", "0::/" + strings.Repeat("g", 64) + "\n", Membership{Path: "/" + strings.Repeat("g", 64)}},
	{"a long number that ends like an id", "0::/x" + id1 + "\n", Membership{Path: "/x" + id1}},
	{"a slice is no unit that holds processes", "0::/system.slice\n", Membership{Path: "/system.slice"}},
	{"the root everywhere", "9:name=systemd:/\n0::/\n", Membership{}},
	{"empty", "", Membership{}},
	{"garbage", "nonsense\n0\n0:\n0::\n::\n0::relative\n\xff\x00:", Membership{}},
	{"cut in the path: the name is what is there", "0::/system.slice/nginx.ser", Membership{Path: "/system.slice/nginx.ser"}},
}

func TestParseCgroup(t *testing.T) {
	for _, tt := range cgroupTests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseCgroup([]byte(tt.text))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Properties: no panic; a path is absolute and in the text; the unit is a part
// of the path and holds processes; the container is an id in the path; the
// path alone, as a v2 line, gives the same answer.
func FuzzParseCgroup(f *testing.F) {
	for _, tt := range cgroupTests {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := ParseCgroup(data)
		if m.Path == "" {
			if m != (Membership{}) {
				t.Fatalf("without a path: %+v", m)
			}
			return
		}
		if m.Path[0] != '/' || !strings.Contains(string(data), m.Path) {
			t.Fatalf("path %q", m.Path)
		}
		segments := strings.Split(m.Path, "/")
		if m.Unit != "" && (!isUnit(m.Unit) || !slices.Contains(segments, m.Unit) && !slices.Contains(segments, "_"+m.Unit)) {
			t.Fatalf("unit %q of %q", m.Unit, m.Path)
		}
		if m.Container != "" && (len(m.Container) != idLength || strings.Trim(m.Container, "0123456789abcdef") != "" || !strings.Contains(m.Path, m.Container)) {
			t.Fatalf("container %q of %q", m.Container, m.Path)
		}
		if !strings.HasSuffix(m.Path, " (deleted)") && m.Path != "/" {
			if again := ParseCgroup([]byte("0::" + m.Path + "\n")); again != m {
				t.Fatalf("alone %+v, was %+v", again, m)
			}
		}
	})
}

func TestPod(t *testing.T) {
	const uid = "0f3c5a1e-1111-4222-8333-444455556666"
	systemd := strings.ReplaceAll(uid, "-", "_")
	tests := []struct{ name, path, want string }{
		{"by systemd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + systemd + ".slice/cri-containerd-" + id1 + ".scope", "0f3c5a1e"},
		{"guaranteed, by systemd", "/kubepods.slice/kubepods-pod" + systemd + ".slice/crio-" + id1 + ".scope", "0f3c5a1e"},
		{"by plain cgroups", "/kubepods/besteffort/pod" + uid + "/" + id1, "0f3c5a1e"},
		{"drivers mixed up", "/system.slice/containerd.service/kubepods-burstable-pod" + systemd + ".slice:cri-containerd:" + id1, "0f3c5a1e"},
		{"a cluster in a container", "/docker/" + id2 + "/kubelet/kubepods/pod" + uid + "/" + id1, "0f3c5a1e"},
		{"no pod", "/kubepods.slice/other.service", ""},
		{"podman is none", "/machine.slice/libpod-" + id1 + ".scope", ""},
		{"too short to be a uid", "/kubepods/pod0f3c/" + id1, ""},
		{"not a number", "/kubepods/podwhatever/" + id1, ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Pod(tt.path); got != tt.want {
				t.Errorf("Pod(%q) = %q, want %q", tt.path, got, tt.want)
			}
		})
	}
}
