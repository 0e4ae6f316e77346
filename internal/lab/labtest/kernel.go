package labtest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// NeedRoot skips a test that makes network namespaces or becomes another user.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot make network namespaces, nor become another user for one thread")
	}
}

// InNamespace runs f on a thread in a network namespace of its own whose
// loopback is up, and which is gone with the thread and what f opened. f must
// not end the test: it is not on the test's goroutine.
func InNamespace(t testing.TB, f func()) {
	t.Helper()
	NeedRoot(t)
	var err error
	OnThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			err = loopbackUp()
		}
		if err == nil {
			f()
		}
	})
	if err != nil {
		t.Skipf("no network namespace of our own: %v", err)
	}
}

// BecomeNobody takes every privilege from the calling thread, and lets it read
// files as another user, of no group of ours. See OnThread.
func BecomeNobody(t testing.TB) {
	t.Helper()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		t.Errorf("leave our groups: %v", errno)
	}
	_ = unix.Setfsgid(65534)
	_ = unix.Setfsuid(65534)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Errorf("drop capabilities: %v", err)
	}
}

// WithoutDescriptors runs f while this process can open no file.
func WithoutDescriptors(t testing.TB, f func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	f()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}

// Process is another process of the test's own program.
type Process struct {
	PID  int
	In   io.Writer
	Out  *bufio.Reader
	Stop func() // it, by the end of its input; also when the test ends
}

// Start starts this program once more, with the variable set, and waits for a
// line of its output. It has new namespaces by flags, unix.CLONE_NEWNET, and
// inherits files from descriptor 3 on.
func Start(t testing.TB, variable string, flags uintptr, files ...*os.File) Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := Process{PID: cmd.Process.Pid, In: in, Out: bufio.NewReader(out)}
	p.Stop = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(p.Stop)
	if _, err := p.Out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return p
}

// Fixtures are the files of a folder that match a pattern. None at all is a
// failure: the folder has moved away unnoticed.
func Fixtures(t testing.TB, folder, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixture matches %s in %s (%v)", pattern, folder, err)
	}
	return names
}

// Read returns what is in a file.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
