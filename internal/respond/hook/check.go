package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// UnsafeError says that others than its owner can change what a hook runs.
type UnsafeError struct {
	Path string // what they can change: the program or a directory above it
	Mode fs.FileMode
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("everybody on this host may change %s (mode %04o), and so what runs with the agent's rights; run chmod o-w %s", e.Path, e.Mode.Perm(), e.Path)
}

// Check says why a program cannot be run as a hook, or nil. The error is an
// *UnsafeError where others may change it, or a directory that it is in; one
// that is sticky, as /tmp, protects what others put there.
func Check(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("the hook %q is not an absolute path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the hook %s is not there", path)
	case err != nil:
		return fmt.Errorf("find the hook: %w", err)
	}
	file, err := os.Stat(real)
	switch {
	case err != nil:
		return fmt.Errorf("find the hook: %w", err)
	case !file.Mode().IsRegular():
		return fmt.Errorf("the hook %s is no plain file", path)
	case file.Mode()&0o002 != 0:
		return &UnsafeError{real, file.Mode()}
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		above, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("find the hook: %w", err)
		}
		if above.Mode()&0o002 != 0 && above.Mode()&fs.ModeSticky == 0 {
			return &UnsafeError{dir, above.Mode()}
		}
		if dir == "/" {
			break
		}
	}
	if err := unix.Access(real, unix.X_OK); err != nil {
		return fmt.Errorf("the hook %s cannot be executed by this user: run chmod +x %s", path, path)
	}
	return nil
}
