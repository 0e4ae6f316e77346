package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a state directory. SQLite adds its log and its index of that
// to the name of the first: -wal and -shm.
const (
	fileName = "history.db"
	lockName = "agent.lock"
	// asideMark is between a file's name and the time when it was set aside.
	asideMark = ".corrupt-"
	// mostAside is how many corrupt files are kept before no new one is begun:
	// something is wrong with the disk, and each may be large.
	mostAside = 5
)

// InUseError says that another agent has the directory.
type InUseError struct {
	Dir string
	// PID is its process, as it sees itself; 0 when the lock does not say.
	PID int
}

func (e *InUseError) Error() string {
	who := "another foreshock agent"
	if e.PID > 0 {
		who += fmt.Sprintf(", process %d", e.PID)
	}
	return fmt.Sprintf("the state directory %s is in use by %s: stop that one, or give this one its own with --state-dir DIR, or --state-dir none to keep nothing", e.Dir, who)
}

// ErrTooManyAside says that so many corrupt files lie in the directory that no
// new one is begun.
var ErrTooManyAside = errors.New("corrupt histories were set aside again and again: look at the disk, and move them away")

// lockDir makes the directory where it is missing, and locks it for this
// process until the returned file is closed. Kernel: flock(2), which ends with
// the process, however that ends; what the file says is for people only.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the state directory: %w", err)
	}
	if fi.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("everybody may write to the state directory %s: chmod it to 0750 or less", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the state directory: %s: %w", f.Name(), err)
		}
		return nil, &InUseError{Dir: dir, PID: holder(f)}
	}
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // the lock holds without, also on a full disk
	}
	return f, nil
}

// holder reads who holds a lock; 0 when it does not say.
func holder(lock io.Reader) int {
	said, err := io.ReadAll(io.LimitReader(lock, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// setAside renames the file and what SQLite keeps beside it, and returns the
// new name. It deletes nothing.
func setAside(dir string, now time.Time) (string, error) {
	if aside, err := Aside(dir); err == nil && len(aside) >= mostAside {
		return "", fmt.Errorf("%s: %d files: %w", dir, len(aside), ErrTooManyAside)
	}
	path := filepath.Join(dir, fileName)
	to := path + asideMark + now.UTC().Format("20060102T150405Z")
	for i := 2; exists(to); i++ {
		to = fmt.Sprintf("%s%s%s-%d", path, asideMark, now.UTC().Format("20060102T150405Z"), i)
	}
	// The log first: beside a new file it would be taken for that one's.
	for _, end := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+end, to+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set the corrupt history aside: %w", err)
		}
	}
	return to, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Aside returns the corrupt histories that were set aside in a directory, the
// oldest first.
func Aside(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the state directory: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fileName+asideMark) && !strings.HasSuffix(e.Name(), "-wal") && !strings.HasSuffix(e.Name(), "-shm") {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}
