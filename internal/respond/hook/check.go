package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// UnsafeError says that others than its owner can change what a hook runs.
type UnsafeError struct {
	Path string // what they can change: the program, a directory or a link on the way to it
	Mode fs.FileMode
	// Owner is the user whose it is, where that is the problem: in a directory
	// where everybody may put things.
	Owner  uint32
	Theirs bool
}

func (e *UnsafeError) Error() string {
	if e.Theirs {
		return fmt.Sprintf("%s is in a directory where everybody on this host may put things, and is user %d's: what it leads to runs with the agent's rights; put it elsewhere, or run chown root %[1]s", e.Path, e.Owner)
	}
	return fmt.Sprintf("everybody on this host may change %s (mode %04o), and so what runs with the agent's rights; run chmod o-w %s", e.Path, e.Mode.Perm(), e.Path)
}

// mostLinks are followed, as the kernel does (MAXSYMLINKS, include/linux/namei.h).
const mostLinks = 40

// Check says why a program cannot be run as a hook, or nil. The error is an
// *UnsafeError where others may change it, or a directory or a symbolic link on
// the way to it, the way that the kernel takes. In a directory that is sticky, as
// /tmp, what is there is protected from others: there it must be root's or this
// user's. As nobody else can change any of it, what is checked is what is run.
func Check(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("the hook %q is not an absolute path", path)
	}
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at) // what at is has no link in it
			continue
		}
		next, err := step(at, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("the hook %s is not there", path)
		case err != nil:
			return err
		case next != "":
			if links++; links > mostLinks {
				return fmt.Errorf("find the hook %s: more than %d symbolic links", path, mostLinks)
			}
			if filepath.IsAbs(next) {
				at = "/"
			}
			rest = append(strings.Split(next, "/"), rest...)
		default:
			at = filepath.Join(at, name)
		}
	}
	file, err := os.Lstat(at)
	switch {
	case err != nil:
		return fmt.Errorf("find the hook: %w", err)
	case !file.Mode().IsRegular():
		return fmt.Errorf("the hook %s is no plain file", path)
	case file.Mode()&0o002 != 0:
		return &UnsafeError{Path: at, Mode: file.Mode()}
	}
	if err := unix.Access(at, unix.X_OK); err != nil {
		return fmt.Errorf("the hook %s cannot be executed by this user: run chmod +x %s", path, path)
	}
	return nil
}

// step looks up a name in a directory: an *UnsafeError where others may put
// another thing there, else where it leads if it is a symbolic link.
func step(dir, name string) (link string, err error) {
	above, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("find the hook: %w", err)
	}
	open := above.IsDir() && above.Mode()&0o002 != 0
	if open && above.Mode()&fs.ModeSticky == 0 {
		return "", &UnsafeError{Path: dir, Mode: above.Mode()}
	}
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("find the hook: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && open && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return "", &UnsafeError{Path: path, Mode: info.Mode(), Owner: stat.Uid, Theirs: true}
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return "", nil
	}
	if link, err = os.Readlink(path); err != nil {
		return "", fmt.Errorf("find the hook: %w", err)
	}
	return link, nil
}
