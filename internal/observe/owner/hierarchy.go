package owner

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/processes"
)

// hierarchy is where the cgroup v2 tree can be seen, and the ids of its groups
// that were asked for. The tree need not be at /sys/fs/cgroup: beside v1 it
// often is at /sys/fs/cgroup/unified, and a container has a part of it.
type hierarchy struct {
	mounts []cgroupMount
	ids    map[string]uint64
	err    error // why there are no mounts
}

// cgroupMount is one mount of the tree.
type cgroupMount struct {
	// root is the group that is mounted, as /proc/PID/cgroup would spell it:
	// the kernel prints both from the root of the reader's cgroup namespace
	// (kernel/cgroup/cgroup.c, cgroup_show_path and proc_cgroup_show).
	root string
	// point is the directory it is mounted on.
	point string
}

// errNoUnified: nothing to take ids from.
var errNoUnified = errors.New("no cgroup v2 hierarchy is mounted here")

// maxMountinfo bounds what is read of the list of mounts: hosts of many
// containers have thousands of about 200 bytes.
const maxMountinfo = 16 << 20

func openHierarchy(proc string) *hierarchy {
	h := &hierarchy{ids: map[string]uint64{}}
	data, err := processes.ReadFile(unix.AT_FDCWD, filepath.Join(proc, "self", "mountinfo"), maxMountinfo)
	if err != nil {
		h.err = err
		return h
	}
	if h.mounts = parseMountinfo(data); len(h.mounts) == 0 {
		h.err = errNoUnified
	}
	return h
}

// parseMountinfo finds the mounts of cgroup v2 in /proc/PID/mountinfo (proc(5)):
//
//	41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
//
// Mounts of larger parts of the tree come first. A line cut short is left out.
func parseMountinfo(data []byte) []cgroupMount {
	var out []cgroupMount
	for line := range bytes.Lines(data) {
		before, after, ok := bytes.Cut(line, []byte(" - ")) // behind the optional fields
		kind, _, named := bytes.Cut(after, []byte(" "))
		if !ok || !named || string(kind) != "cgroup2" {
			continue
		}
		fields := bytes.Fields(before)
		if len(fields) < 6 {
			continue
		}
		m := cgroupMount{root: unescape(fields[3]), point: unescape(fields[4])}
		if strings.HasPrefix(m.root, "/") && strings.HasPrefix(m.point, "/") {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b cgroupMount) int { return len(a.root) - len(b.root) })
	return out
}

// unescape undoes what the kernel writes for blanks and backslashes: "\040".
// Kernel: fs/seq_file.c, mangle_path.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		if b[0] == '\\' && len(b) >= 4 {
			if c, err := strconv.ParseUint(string(b[1:4]), 8, 8); err == nil {
				out, b = append(out, byte(c)), b[4:]
				continue
			}
		}
		out, b = append(out, b[0]), b[1:]
	}
	return string(out)
}

// directory returns where the group at path is seen through this mount. Groups
// outside of what is mounted are not seen.
func (m cgroupMount) directory(path string) (string, bool) {
	rest := path
	if m.root != "/" {
		var ok bool
		rest, ok = strings.CutPrefix(path, m.root)
		if !ok || rest != "" && rest[0] != '/' {
			return "", false
		}
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == ".." { // above the root of our cgroup namespace
			return "", false
		}
	}
	return filepath.Join(m.point, rest), true
}

// path returns the group's path behind a directory below one of the mounts, as
// a user may have written it down, and else the text itself.
func (h *hierarchy) path(text string) string {
	for _, m := range h.mounts {
		if rest, ok := strings.CutPrefix(text, m.point); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join("/", m.root, rest)
		}
	}
	return text
}

// id returns the id that the kernel notes on the sockets that are opened in
// the group at path; zero when the group cannot be seen.
func (h *hierarchy) id(path string) uint64 {
	if id, known := h.ids[path]; known {
		return id
	}
	var id uint64
	for _, m := range h.mounts {
		if dir, ok := m.directory(path); ok {
			if id = groupID(dir); id != 0 {
				break
			}
		}
	}
	h.ids[path] = id
	return id
}

// fileidKernfs is the type of handle that holds a kernfs node's 64-bit id.
// Kernel: FILEID_KERNFS; fs/kernfs/mount.c, kernfs_encode_fh.
const fileidKernfs = 0xfe

// groupID returns the id of the group whose directory dir is: the kernfs
// node's, which where an inode number has 64 bits is the inode number.
// Kernel: include/linux/cgroup.h, cgroup_id; include/linux/kernfs.h, kernfs_id_ino.
func groupID(dir string) uint64 {
	var fs unix.Statfs_t
	// Another mount may hide the one that was listed.
	if unix.Statfs(dir, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return 0
	}
	if handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0); err == nil && handle.Type() == fileidKernfs && handle.Size() == 8 {
		return binary.NativeEndian.Uint64(handle.Bytes())
	}
	// A sandbox may forbid handles.
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return 0
	}
	return st.Ino
}

// unifiedPath finds the v2 group in /proc/PID/cgroup. ok is false without one,
// and when it was removed: then nobody can open its directory.
func unifiedPath(data []byte) (path string, ok bool) {
	for line := range bytes.Lines(data) {
		rest, found := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("0::"))
		if found && len(rest) > 0 && rest[0] == '/' {
			return string(rest), !bytes.HasSuffix(rest, []byte(" (deleted)"))
		}
	}
	return "", false
}
