package netns

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

// asChild makes the test binary a process that says it runs and waits for the
// end of its input.
const asChild = "FORESHOCK_TEST_NETNS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		fmt.Println("up")
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// named makes a namespace with a name; remove takes the name away again.
func named(t *testing.T, what string) (path string, remove func()) {
	t.Helper()
	labtest.NeedRoot(t)
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("ip is not installed: package iproute2")
	}
	name := fmt.Sprintf("foreshock-test-%d-%s", os.Getpid(), what)
	if out, err := exec.Command(ip, "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add %s: %v\n%s", name, err, out)
	}
	remove = sync.OnceFunc(func() {
		if out, err := exec.Command(ip, "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del %s: %v\n%s", name, err, out)
		}
	})
	t.Cleanup(remove)
	return filepath.Join(namedDir, name), remove
}

// child starts a process in a namespace of its own.
func child(t *testing.T) labtest.Process {
	t.Helper()
	labtest.NeedRoot(t)
	return labtest.Start(t, asChild, unix.CLONE_NEWNET)
}

func self(t *testing.T) tcp.Namespace {
	t.Helper()
	id, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSelf(t *testing.T) {
	want, err := Of("/proc", os.Getpid())
	if got := self(t); err != nil || got != want {
		t.Errorf("%d, want %d, %v", got, want, err)
	}
}

func TestDo(t *testing.T) {
	path, _ := named(t, "do")
	want, err := identify(path)
	if err != nil {
		t.Fatal(err)
	}
	home := self(t)
	if want == home {
		t.Fatal("the new namespace is our own")
	}
	var inside tcp.Namespace
	socket := -1
	defer func() { _ = unix.Close(socket) }()
	errOfF := errors.New("as it is")
	err = Found{Path: path}.Do(func() error {
		inside = self(t)
		socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errOfF
	})
	if err != errOfF { //nolint:errorlint // must come back unwrapped
		t.Errorf("f's error came back as %v", err)
	}
	if inside != want || self(t) != home {
		t.Errorf("inside %d, afterwards %d; want %d and %d", inside, self(t), want, home)
	}

	// The socket stayed there: it has another namespace cookie than ours.
	here, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(here)
	thereCookie, err1 := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	hereCookie, err2 := unix.GetsockoptUint64(here, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("SO_NETNS_COOKIE, since Linux 5.14: %v", err)
	}
	if thereCookie == hereCookie {
		t.Error("the socket opened inside is in our own namespace")
	}
}

func TestDoGoesBackWhateverHappens(t *testing.T) {
	path, _ := named(t, "back")
	home := self(t)
	labtest.OnThread(func() {
		func() {
			defer func() { _ = recover() }()
			_ = Found{Path: path}.Do(func() error { panic("in f") })
		}()
		if got := self(t); got != home {
			t.Errorf("after a panic in %d, want %d", got, home)
		}
	})
	labtest.OnThread(func() {
		defer func() {
			if got := self(t); got != home {
				t.Errorf("after Goexit in %d, want %d", got, home)
			}
		}()
		_ = Found{Path: path}.Do(func() error { runtime.Goexit(); return nil })
	})
	// No thread may be left behind there.
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := (Found{Path: path}).Do(func() error { return nil }); err != nil {
				t.Error(err)
			}
			if got, err := Self(); err != nil || got != home {
				t.Errorf("afterwards in %d (%v), want %d", got, err, home)
			}
		})
	}
	wg.Wait()
}

func TestDoGone(t *testing.T) {
	never := func() error {
		return errors.New("f ran")
	}
	t.Run("the process ended", func(t *testing.T) {
		process := child(t)
		path := fmt.Sprintf("/proc/%d/ns/net", process.PID)
		if err := (Found{Path: path}).Do(func() error { return nil }); err != nil {
			t.Fatalf("while it lives: %v", err)
		}
		process.Stop()
		if err := (Found{Path: path}).Do(never); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
	t.Run("the name was removed", func(t *testing.T) {
		path, remove := named(t, "gone")
		remove()
		if err := (Found{Path: path}).Do(never); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
	t.Run("the name was given to another", func(t *testing.T) {
		path, _ := named(t, "other")
		id, err := identify(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Found{ID: id, Path: path}).Do(func() error { return nil }); err != nil {
			t.Errorf("the very one: %v", err)
		}
		if err := (Found{ID: id + 1, Path: path}).Do(never); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
	t.Run("the file is left and the mount is not", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "left")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (Found{Path: path}).Do(never); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
	t.Run("another kind of namespace", func(t *testing.T) {
		if err := (Found{Path: "/proc/self/ns/uts"}).Do(never); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
}

func TestDoUnprivileged(t *testing.T) {
	path, _ := named(t, "unprivileged")
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		err := Found{Path: path}.Do(func() error {
			t.Error("f ran")
			return nil
		})
		if !errors.Is(err, unix.EPERM) || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") {
			t.Errorf("got %v, want EPERM with the capability it takes", err)
		}
		ran := false
		if err := (Found{Path: "/proc/self/ns/net"}).Do(func() error { ran = true; return nil }); err != nil || !ran {
			t.Errorf("our own needs no privilege: %v, f ran: %t", err, ran)
		}
	})
}

func TestDoStuck(t *testing.T) {
	path, _ := named(t, "stuck")
	home := self(t)
	errOfF := errors.New("of f")
	labtest.OnThread(func() {
		err := Found{Path: path}.Do(func() error {
			labtest.BecomeNobody(t)
			return errOfF
		})
		if !errors.Is(err, ErrStuck) || !errors.Is(err, errOfF) || !errors.Is(err, unix.EPERM) {
			t.Errorf("got %v, want ErrStuck, its reason and f's error", err)
		}
	})
	if got := self(t); got != home {
		t.Errorf("now in %d, want %d", got, home)
	}
}

func TestList(t *testing.T) {
	path, _ := named(t, "list")
	id, err := identify(path)
	if err != nil {
		t.Fatal(err)
	}
	pid := child(t).PID
	childID, err := identify(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	found, limits, err := List("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if limits.Unreadable > 0 {
		t.Logf("limits: %+v", limits) // others' leftovers, perhaps
	}
	if len(found) == 0 || !found[0].Own || found[0].ID != self(t) || found[0].Processes < 1 {
		t.Errorf("our own does not come first: %+v", found)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(exe)
	for _, want := range []Found{
		{ID: id, Path: path, Name: filepath.Base(path)},
		{ID: childID, Path: fmt.Sprintf("/proc/%d/ns/net", pid), Name: name[:min(len(name), 15)], PID: pid, Processes: 1},
	} {
		at := slices.IndexFunc(found, func(f Found) bool { return f.ID == want.ID })
		if at < 0 {
			t.Errorf("not found: %+v", want)
			continue
		}
		if diff := cmp.Diff(want, found[at]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if err := found[at].Do(func() error { return nil }); err != nil {
			t.Error(err)
		}
	}
}

func TestListUnprivileged(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		found, limits, err := List("/proc")
		if err != nil {
			t.Error(err)
			return
		}
		// A process may always read its own.
		if len(found) == 0 || !found[0].Own {
			t.Errorf("our own is missing: %+v", found)
		}
		if limits.Unreadable == 0 || !slices.ContainsFunc(limits.Reasons, func(r string) bool { return strings.Contains(r, "permission denied") }) {
			t.Errorf("limits %+v, want processes that may not be read, and why", limits)
		}
	})
}

func TestMembers(t *testing.T) {
	pid := child(t).PID
	id, err := identify(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Members("/proc", map[tcp.Namespace]bool{id: true})
	if diff := cmp.Diff(map[tcp.Namespace][]int{id: {pid}}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	got, err = Members("/proc", map[tcp.Namespace]bool{self(t): true})
	if ours := got[self(t)]; err != nil || !slices.Contains(ours, os.Getpid()) || len(got) != 1 {
		t.Errorf("of our own: %v, %v", got, err)
	}
}

// TestListHidden: without privilege a namespace of another user's processes is
// told by its files.
func TestListHidden(t *testing.T) {
	pid := child(t).PID
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		found, _, err := List("/proc")
		if err != nil {
			t.Error(err)
			return
		}
		at := slices.IndexFunc(found, func(f Found) bool { return f.PID == pid })
		if at < 0 {
			t.Errorf("the namespace of process %d is not among %+v", pid, found)
			return
		}
		f := found[at]
		if !f.Hidden || f.ID&hiddenBit == 0 || f.Processes != 1 || f.Name == "" {
			t.Errorf("%+v, want a hidden one of one process", f)
		}
		if err := f.Still("/proc"); err != nil {
			t.Errorf("while it lives: %v", err)
		}
		f.ID++
		if err := f.Still("/proc"); !errors.Is(err, ErrGone) {
			t.Errorf("of another namespace: %v, want ErrGone", err)
		}
	})
}

func TestListMadeUp(t *testing.T) {
	proc, dir := t.TempDir(), t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for pid, target := range map[int]string{9: "net:[77]", 10: "net:[77]", 11: "net:[5]", 12: "uts:[6]", 13: "", 14: "-"} {
		ns := filepath.Join(proc, strconv.Itoa(pid), "ns")
		check(os.MkdirAll(ns, 0o755))
		switch target {
		case "": // vanishes
		case "-":
			check(os.WriteFile(filepath.Join(ns, "net"), nil, 0o600)) // no link: reading it fails
		default:
			check(os.Symlink(target, filepath.Join(ns, "net")))
		}
		check(os.WriteFile(filepath.Join(proc, strconv.Itoa(pid), "comm"), fmt.Appendf(nil, "p%d\x1b\n", pid), 0o600))
	}
	check(os.WriteFile(filepath.Join(dir, "left"), nil, 0o600))
	found, limits, err := list(proc, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Found{
		{ID: 5, Path: proc + "/11/ns/net", Name: "p11?", PID: 11, Processes: 1},
		{ID: 77, Path: proc + "/9/ns/net", Name: "p9?", PID: 9, Processes: 2},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantLimits := Limits{Unreadable: 3, Vanished: 1, Reasons: []string{
		`1 process: "uts:[6]" is no network namespace`,
		"1 process: invalid argument",
		filepath.Join(dir, "left") + ": not a network namespace: its mount was removed, or is in another mount namespace",
	}}
	slices.Sort(wantLimits.Reasons)
	if diff := cmp.Diff(wantLimits, limits); diff != "" {
		t.Errorf("limits (-want +got)\n%s", diff)
	}
	if _, _, err := list(filepath.Join(proc, "gone"), dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a proc: %v", err)
	}
	if _, limits, err := list(proc, filepath.Join(dir, "never")); err != nil || limits.Unreadable != 2 {
		t.Errorf("no namespace was ever named: %v, %+v", err, limits)
	}
}
