package owner

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/processes"
)

// asChild makes the test binary a process that says it runs, opens a listener
// for each line of its input, whose inode it prints, and ends with its input.
const asChild = "FORESHOCK_TEST_OWNER_CHILD"

// TestFindAmongSome: only the processes that are asked are searched.
func TestFindAmongSome(t *testing.T) {
	_, inode := listen(t)
	held, _, _ := Find("/proc", []int{os.Getpid()}, []uint64{inode}, Thorough)
	if len(held[inode]) != 1 || held[inode][0].PID != os.Getpid() {
		t.Errorf("held by %+v, want this process", held[inode])
	}
	if held, _, _ := Find("/proc", []int{1}, []uint64{inode}, Thorough); len(held) != 0 {
		t.Errorf("held by %+v among others", held)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		fmt.Println("up")
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if _, inode, err := openListener(); err == nil {
				fmt.Println(inode)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func listen(t *testing.T) (*net.TCPListener, uint64) {
	t.Helper()
	ln, inode, err := openListener()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, inode
}

func openListener() (*net.TCPListener, uint64, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	tl := ln.(*net.TCPListener)
	inode, err := inodeOf(tl)
	return tl, inode, err
}

func inodeOf(conn syscall.Conn) (uint64, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	var statErr error
	err = raw.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &st) })
	return st.Ino, errors.Join(err, statErr)
}

// self is what Find must say of this process.
func self(t *testing.T) Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(exe)
	return Process{PID: os.Getpid(), Name: name[:min(len(name), 15)], Exe: exe} // TASK_COMM_LEN 16
}

// What the cgroup says depends on where the tests run; the parser has its own.
var withoutCgroup = cmpopts.IgnoreFields(Process{}, "Unit", "Container")

func TestFindSelf(t *testing.T) {
	_, inode := listen(t)
	got, limits, _ := Find("/proc", nil, []uint64{0, inode}, Thorough)
	t.Logf("limits: %+v", limits) // others' processes come and go
	want := map[uint64][]Process{inode: {self(t)}}
	if diff := gocmp.Diff(want, got, withoutCgroup); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// process is another process of this program.
type process struct{ labtest.Process }

// child starts a process, which inherits files from descriptor 3 on.
func child(t *testing.T, files ...*os.File) process {
	t.Helper()
	return process{labtest.Start(t, asChild, 0, files...)}
}

// listen makes the process open a listener.
func (p process) listen(t *testing.T) (inode uint64) {
	t.Helper()
	if _, err := fmt.Fprintln(p.In); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(p.Out, &inode); err != nil {
		t.Fatal(err)
	}
	return inode
}

// TestFindSharing: children share their parent's listener, as a prefork
// server's do.
func TestFindSharing(t *testing.T) {
	ln, inode := listen(t)
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := []Process{self(t)}
	for range 3 {
		p := self(t)
		p.PID = child(t, file, file).PID // twice: still one holder
		want = append(want, p)
	}
	got, _, _ := Find("/proc", nil, []uint64{inode}, Thorough)
	sorted := cmpopts.SortSlices(func(a, b Process) bool { return a.PID < b.PID })
	if diff := gocmp.Diff(want, got[inode], withoutCgroup, sorted); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for i := 1; i < len(got[inode]); i++ {
		if got[inode][i-1].PID >= got[inode][i].PID {
			t.Errorf("not in the order of pids: %v", got[inode])
		}
	}
}

// fake is a process of a made-up /proc.
type fake struct {
	comm, cgroup, exe string
	fds               []string
	parent, started   int
	namespace         string // where ns/net leads
	state             string // S when empty
}

func fakeProc(t *testing.T, processes map[int]fake) string {
	t.Helper()
	proc := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Mkdir(filepath.Join(proc, "sys"), 0o755))
	check(os.WriteFile(filepath.Join(proc, "uptime"), nil, 0o600))
	for pid, p := range processes {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		check(os.Mkdir(dir, 0o755))
		if p.comm == "" {
			continue // it ends while it is read
		}
		check(os.Mkdir(filepath.Join(dir, "fd"), 0o755))
		check(os.WriteFile(filepath.Join(dir, "comm"), []byte(p.comm+"\n"), 0o600))
		check(os.WriteFile(filepath.Join(dir, "cgroup"), []byte(p.cgroup), 0o600))
		if p.exe != "" {
			check(os.Symlink(p.exe, filepath.Join(dir, "exe")))
		}
		text := fmt.Sprintf("%d (%s) %s %d 1 1 0 -1 4194560 1 1 0 0 1 1 0 0 20 0 1 0 %d 0 0\n", pid, p.comm, cmp.Or(p.state, "S"), p.parent, p.started)
		check(os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o600))
		if p.namespace != "" {
			check(os.Mkdir(filepath.Join(dir, "ns"), 0o755))
			check(os.Symlink(p.namespace, filepath.Join(dir, "ns", "net")))
		}
		for i, target := range p.fds {
			check(os.Symlink(target, filepath.Join(dir, "fd", strconv.Itoa(i))))
		}
	}
	return proc
}

func TestFindInMadeUpProc(t *testing.T) {
	proc := fakeProc(t, map[int]fake{
		9:   {comm: "nginx", cgroup: "0::/system.slice/nginx.service\n", exe: "/usr/sbin/nginx (deleted)", fds: []string{"/dev/null", "socket:[70]", "socket:[71]", "socket:[70]"}},
		10:  {comm: "nginx", cgroup: "0::/system.slice/nginx.service\n", exe: "/usr/sbin/nginx", fds: []string{"socket:[70]", "anon_inode:[eventpoll]"}},
		100: {comm: "evil\x1b[2J\nname\xff", cgroup: "0::/docker/" + id1 + "\n", fds: []string{"socket:[72]"}},
		11:  {comm: "other", fds: []string{"socket:[7]", "pipe:[70]"}},
		12:  {}, // vanishes
		13:  {comm: "brief", fds: []string{"socket:[70]"}},
	})
	if err := os.Remove(filepath.Join(proc, "13", "comm")); err != nil { // it ends when its descriptors have been read
		t.Fatal(err)
	}
	got, limits, _ := Find(proc, nil, []uint64{70, 72, 99}, Thorough)
	nginx := Process{PID: 9, Name: "nginx", Exe: "/usr/sbin/nginx", Unit: "nginx.service"}
	worker := nginx
	worker.PID = 10
	want := map[uint64][]Process{
		70: {nginx, worker},
		72: {{PID: 100, Name: "evil?[2J?name?", Container: id1}},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := gocmp.Diff(Limits{Vanished: 2}, limits); diff != "" {
		t.Errorf("limits (-want +got)\n%s", diff)
	}
}

// TestFindIsBounded: two giants come first by pid and hold more descriptors
// than a search reads; the small server after them is found all the same. The
// giants' descriptors are this process' own, as only the kernel lists them in
// order: some forty, the listener last.
func TestFindIsBounded(t *testing.T) {
	proc := fakeProc(t, map[int]fake{1: {comm: "a"}, 2: {comm: "b"}, 3: {comm: "c", fds: []string{"socket:[7]"}}})
	for _, giant := range []string{"1", "2"} {
		fd := filepath.Join(proc, giant, "fd")
		if err := os.Remove(fd); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/proc/self/fd", fd); err != nil {
			t.Fatal(err)
		}
	}
	for range 30 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	_, inode := listen(t)
	tests := []struct {
		name         string
		inodes       []uint64
		last, budget int
		want         map[uint64][]int
		limits       Limits
	}{
		{"among the first of a late process", []uint64{7}, 1000, 1000, map[uint64][]int{7: {3}}, Limits{}},
		{"among the later ones, once nobody has it among the first", []uint64{7, inode}, 1000, 1000, map[uint64][]int{7: {3}, inode: {1, 2}}, Limits{}},
		{"beyond what is read of one process", []uint64{inode}, 20, 1000, map[uint64][]int{}, Limits{Cut: 2}},
		{"nobody's, everything read", []uint64{1}, 1000, 1000, map[uint64][]int{}, Limits{}},
		{"the budget is spent on the first of all", []uint64{inode, 7}, 1000, 10, map[uint64][]int{7: {3}}, Limits{Cut: 2}},
		{"the budget is spent before", []uint64{7}, 1000, 6, map[uint64][]int{}, Limits{Cut: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := search{proc: proc, wanted: map[uint64]bool{}, held: map[uint64][]Process{}, left: tt.budget}
			for _, inode := range tt.inodes {
				s.wanted[inode] = true
			}
			pids, err := processes.List(proc)
			if err != nil {
				t.Fatal(err)
			}
			s.among(pids, 4, tt.last)
			got := map[uint64][]int{}
			for inode, holders := range s.held {
				for _, p := range holders {
					got[inode] = append(got[inode], p.PID)
				}
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := gocmp.Diff(tt.limits, s.limits); diff != "" {
				t.Errorf("limits (-want +got)\n%s", diff)
			}
		})
	}
}

func TestFindWithoutProc(t *testing.T) {
	held, limits, err := Find(filepath.Join(t.TempDir(), "gone"), nil, []uint64{1}, Thorough)
	if len(held) != 0 || err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("held %v, limits %+v", held, limits)
	}
	if held, limits, err := Find("/nowhere", nil, nil, Thorough); err != nil || len(held) != 0 || limits != (Limits{}) {
		t.Errorf("nothing was asked for, yet: %v, %+v", held, limits)
	}
}

// TestFindUnprivileged searches as nobody: what may not be read is counted,
// not taken for absent. A process may always read its own descriptors.
// Kernel: fs/proc/fd.c, proc_fd_permission.
func TestFindUnprivileged(t *testing.T) {
	labtest.NeedRoot(t)
	_, inode := listen(t)
	type answer struct {
		held   map[uint64][]Process
		limits Limits
		err    error
	}
	var a answer
	labtest.OnThread(func() {
		labtest.BecomeNobody(t)
		a.held, a.limits, a.err = Find("/proc", nil, []uint64{inode}, Thorough)
	})
	if len(a.held[inode]) != 1 || a.limits.Unreadable == 0 || a.err != nil {
		t.Errorf("held %v, limits %+v; want only this process, and unreadable ones counted", a.held, a.limits)
	}
}

// TestOutOfDescriptors: what could not be told is an error, and not "nobody".
func TestOutOfDescriptors(t *testing.T) {
	_, inode := listen(t)
	var errs [3]error
	labtest.WithoutDescriptors(t, func() {
		_, _, errs[0] = Find("/proc", nil, []uint64{inode}, Thorough)
		_, _, errs[1] = Find("/proc", []int{os.Getpid()}, []uint64{inode}, Thorough)
		_, _, errs[2] = Choose("/proc", []Selector{{Name: "x"}}, nil)
	})
	for i, err := range errs {
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("%s: %v, want %v", []string{"Find", "Find among some", "Choose"}[i], err, unix.EMFILE)
		}
	}
}
