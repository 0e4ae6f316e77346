package owner

import (
	"bytes"
	"strings"
)

// Membership is where a process stands in the cgroup tree.
type Membership struct {
	// Path is the cgroup, as the kernel prints it: from the root of the
	// reader's cgroup namespace, so it may begin with "/..".
	Path string
	// Unit is the service manager's unit, spelled as systemctl spells it
	// (`foo\x2dbar.service` is a name, not an encoding); of a user's service
	// manager the unit below it. Empty when there is none, and for the scope
	// that is no more than the wrapper of a container.
	Unit string
	// Container is the innermost container's id, 64 hexadecimal digits.
	Container string
}

// ParseCgroup understands /proc/PID/cgroup. What it does not know it leaves
// empty.
//
// The v2 hierarchy ("0::") decides unless the process is in its root, as on
// hosts that still use v1 beside it; then the service manager's own v1
// hierarchy does, then the first that is not the root.
// Kernel: cgroups(7), kernel/cgroup/cgroup.c, proc_cgroup_show.
func ParseCgroup(data []byte) Membership {
	var unified, systemd, other string
	for line := range bytes.Lines(data) {
		// hierarchy-ID:controller-list:path; the path may hold colons
		_, rest, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		if !ok {
			continue
		}
		controllers, raw, ok := bytes.Cut(rest, []byte(":"))
		if !ok || len(raw) == 0 || raw[0] != '/' {
			continue
		}
		// The group was removed; its name is still the process'.
		path := strings.TrimSuffix(string(raw), " (deleted)")
		switch {
		case path == "/":
		case len(controllers) == 0 && unified == "" && bytes.HasPrefix(line, []byte("0:")):
			unified = path
		case string(controllers) == "name=systemd" && systemd == "":
			systemd = path
		case other == "":
			other = path
		}
	}
	for _, path := range []string{unified, systemd, other} {
		if path != "" {
			return membership(path)
		}
	}
	return Membership{}
}

func membership(path string) Membership {
	m := Membership{Path: path}
	perUser := false
	for segment := range strings.SplitSeq(path, "/") {
		id := containerID(segment)
		if id != "" {
			m.Container = id
		}
		// The service manager puts "_" before names that would clash with
		// cgroup's own files. systemd: src/basic/cgroup-util.c, cg_escape.
		name := strings.TrimPrefix(segment, "_")
		if id != "" || !isUnit(name) {
			continue
		}
		// The first unit on the way down is the service manager's; groups
		// below it are the service's own. Below a user's manager it begins
		// anew. systemd: cg_path_get_unit, cg_path_get_user_unit.
		if m.Unit == "" || perUser {
			m.Unit = name
			perUser = !perUser && strings.HasPrefix(name, "user@")
		}
	}
	return m
}

// isService reports whether a unit is a service: one program with what it
// started, where a scope holds whatever a login did.
func isService(unit string) bool { return strings.HasSuffix(unit, ".service") }

// isUnit reports whether name is a unit that can hold processes. Slices only
// hold other units. systemd: src/basic/unit-name.c, unit_name_is_valid.
func isUnit(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 || len(name) > 255 {
		return false
	}
	switch name[dot:] {
	case ".service", ".scope", ".socket", ".mount", ".swap":
	default:
		return false
	}
	for _, c := range []byte(name[:dot]) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case strings.IndexByte(`:-_.\@`, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// idLength is the number of hexadecimal digits of a container's id: SHA-256
// or as many random bits (docker, containerd, CRI-O, podman).
const idLength = 64

// containerID finds the id at the end of one segment of a path:
//
//	docker-ID.scope  cri-containerd-ID.scope  crio-ID.scope  libpod-ID.scope   by systemd
//	ID  libpod-ID                                             by plain cgroups
//	kubepods-….slice:cri-containerd:ID                        containerd, misconfigured and common
//
// The monitors that podman and CRI-O keep beside a container carry its id and
// are not inside it.
func containerID(segment string) string {
	segment = strings.TrimSuffix(segment, ".scope")
	at := len(segment) - idLength
	if at < 0 || at > 0 && segment[at-1] != '-' && segment[at-1] != ':' || strings.HasSuffix(segment[:at], "conmon-") {
		return ""
	}
	for _, c := range []byte(segment[at:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return segment[at:]
}

// Pod returns the first eight digits of the uid of the Kubernetes pod that a
// cgroup belongs to; empty when it is of none. The kubelet names a pod's group
// "pod" and its uid, by systemd "kubepods-burstable-podUID.slice" with "_" for
// "-". Kubernetes: pkg/kubelet/cm/pod_container_manager_linux.go.
func Pod(path string) string {
	const digits = 8 // the first group of a uid
	below := false
	for segment := range strings.SplitSeq(path, "/") {
		below = below || strings.HasPrefix(segment, "kubepods")
		if !below {
			continue
		}
		// containerd's mixed-up drivers: "kubepods-….slice:cri-containerd:ID"
		segment, _, _ = strings.Cut(segment, ":")
		segment = strings.TrimSuffix(segment, ".slice")
		uid, ok := strings.CutPrefix(segment, "pod")
		if !ok {
			_, uid, ok = strings.Cut(segment, "-pod")
		}
		if !ok || len(uid) < digits || strings.Trim(uid[:digits], "0123456789abcdef") != "" {
			continue
		}
		return uid[:digits]
	}
	return ""
}
