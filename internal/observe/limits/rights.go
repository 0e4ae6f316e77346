package limits

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rights are those of whoever runs a process. A process names its configuration
// itself, in a command line that it may write as it likes, and we mostly run
// with more rights than it has: nothing is read for it that it could not read.
//
// They are judged by the modes of the files and of each directory on the way,
// and so never more than the kernel would grant, but for what security modules
// and network file systems refuse beyond them.
type rights struct {
	known bool
	all   bool // root, with the capability that goes past the modes
	uid   uint32
	gids  []uint32
}

// errUnknownOwner: a process that ends, or a kernel that hides it.
var errUnknownOwner = errors.New("who runs the process cannot be told, so that nothing is read on its behalf")

// errDenied is the refusal to read what the process' owner could not.
type errDenied uint32

func (uid errDenied) Error() string {
	return fmt.Sprintf("not read on behalf of uid %d, who may not read it; write the limit into workers_from", uint32(uid))
}

// passesModes are the capabilities to read what the modes deny.
// Kernel: include/uapi/linux/capability.h, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
const passesModes = 1<<1 | 1<<2

// rights returns those of the process. Ids are as our own user namespace has
// them: root in a container with users of its own is not root here. Where the
// four ids of the process differ, one that is not root's decides.
// Kernel: fs/proc/array.c, task_state, "Uid", "Gid", "Groups".
func (p process) rights() rights {
	uids, ok := ids(p.status("Uid"))
	gids, okay := ids(p.status("Gid"))
	if !ok || !okay || len(uids) != 4 || len(gids) != 4 {
		return rights{}
	}
	groups, ok := ids(p.status("Groups"))
	if !ok {
		return rights{}
	}
	r := rights{known: true, gids: append(groups, gids[1])}
	if at := slices.IndexFunc(uids, func(id uint32) bool { return id != 0 }); at >= 0 {
		r.uid = uids[at]
		return r
	}
	capabilities, err := strconv.ParseUint(p.status("CapEff"), 16, 64)
	r.all = err == nil && capabilities&passesModes != 0
	return r
}

func ids(text string) ([]uint32, bool) {
	var out []uint32
	for word := range strings.FieldsSeq(text) {
		id, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return nil, false
		}
		out = append(out, uint32(id))
	}
	return out, true
}

// What a mode grants to one class of users: stat(2), S_IROTH and S_IXOTH.
const (
	toRead   = 4
	toSearch = 1
)

// check returns the refusal of what the modes of a file do not grant.
func (r rights) check(f *os.File, st *unix.Stat_t, want uint32) error {
	if r.all {
		return nil
	}
	if !r.known {
		return errUnknownOwner
	}
	granted := st.Mode
	switch {
	case st.Uid == r.uid:
		granted >>= 6
	case hasACL(f):
		return errDenied(r.uid) // the group's bits are then a mask, and others may be denied by name
	case slices.Contains(r.gids, st.Gid):
		granted >>= 3
	}
	if granted&want != want {
		return errDenied(r.uid)
	}
	return nil
}

// hasACL reports whether a file has an access control list beyond its mode, or
// that cannot be told. See acl(5).
func hasACL(f *os.File) bool {
	_, err := unix.Getxattr(link(f), "system.posix_acl_access", nil)
	return err != unix.ENODATA && err != unix.EOPNOTSUPP
}

// maxLinks is how many symbolic links one name may lead through.
// Kernel: include/linux/namei.h, MAXSYMLINKS.
const maxLinks = 40

// walk finds a file like locate, part by part, in directories that the
// process' owner may search only.
func (r *root) walk(name string) (*os.File, unix.Stat_t, error) {
	at := []*os.File{r.dir}
	up := func(to int) {
		for _, dir := range at[to:] {
			_ = dir.Close()
		}
		at = at[:to]
	}
	defer func() { up(1) }()
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			up(max(1, len(at)-1))
			continue
		}
		next, st, err := r.enter(at[len(at)-1], part)
		if err != nil {
			return nil, st, &os.PathError{Op: "open", Path: name, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at = append(at, next)
			continue
		}
		target, err := readLink(next)
		_ = next.Close()
		if links++; err == nil && links > maxLinks {
			err = unix.ELOOP
		}
		if err != nil {
			return nil, st, &os.PathError{Op: "open", Path: name, Err: err}
		}
		if strings.HasPrefix(target, "/") {
			up(1)
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	// A file of its own: what is on the way is closed.
	fd, err := unix.FcntlInt(at[len(at)-1].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, unix.Stat_t{}, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return held(fd, name)
}

// enter finds what a directory has under one name, itself where it is a link.
func (r *root) enter(dir *os.File, part string) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, st, unix.ENOTDIR
	}
	if err := r.rights.check(dir, &st, toSearch); err != nil {
		return nil, st, err
	}
	fd, err := unix.Openat(int(dir.Fd()), part, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, st, err
	}
	return held(fd, part)
}

// readLink returns where a symbolic link that is held leads.
// Kernel: readlinkat(2), an empty name and a descriptor of O_PATH.
func readLink(f *os.File) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buffer)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}
