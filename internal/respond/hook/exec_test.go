package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// script writes an executable script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExec(t *testing.T) {
	for name, x := range map[string]struct {
		script  string
		timeout time.Duration
		want    Result
		failure string
	}{
		"done":              {"cat; echo $FORESHOCK_KEY; pwd; exit 0", 5 * time.Second, Result{Output: []byte("{}k1\n/\n"), Bytes: 7}, ""},
		"fails":             {"echo one; echo two >&2; exit 7", 5 * time.Second, Result{ExitCode: 7, Output: []byte("one\ntwo\n"), Bytes: 8}, "exit code 7: two"},
		"dies by a signal":  {"kill -9 $$", 5 * time.Second, Result{ExitCode: -1, Signal: "killed"}, "ended by a signal: killed"},
		"reads nothing":     {"exec <&-; exit 0", 5 * time.Second, Result{}, ""},
		"never ends":        {"echo here; sleep 600", 200 * time.Millisecond, Result{ExitCode: -1, TimedOut: true, Output: []byte("here\n"), Bytes: 5}, "not done after 200ms, and ended: here"},
		"will not be ended": {"trap '' TERM; while :; do sleep 0.05; done", 200 * time.Millisecond, Result{ExitCode: -1, TimedOut: true}, "not done after 200ms, and ended"},
		"ends in its own way": {"trap 'echo bye; exit 3' TERM; while :; do :; done", 200 * time.Millisecond,
			Result{ExitCode: 3, TimedOut: true, Output: []byte("bye\n"), Bytes: 4}, "not done after 200ms, and ended: bye"},
		"leaves one that holds the pipe": {"sleep 5 & exit 0", 20 * time.Second, Result{Left: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FORESHOCK_SECRET", "hunter2")
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			got := Exec(ctx, Command{Path: script(t, x.script), Timeout: x.timeout, Input: []byte("{}"), Key: "k1"})
			if diff := cmp.Diff(x.want, got, cmpopts.IgnoreFields(Result{}, "Took"), cmpopts.IgnoreUnexported(Result{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Failure() != x.failure {
				t.Errorf("it says %q, want %q", got.Failure(), x.failure)
			}
		})
	}
}

// TestTheWholeGroupEnds: what a hook forked is ended with it, and what went
// into a session of its own is not.
func TestTheWholeGroupEnds(t *testing.T) {
	dir := t.TempDir()
	path := script(t, fmt.Sprintf("sleep 600 & echo $! > %[1]s/forked\nsetsid sleep 600 </dev/null >/dev/null 2>&1 & \nsleep 0.1; pgrep -s 0 >/dev/null; echo $! > %[1]s/daemon\nsleep 600", dir))
	r := Exec(t.Context(), Command{Path: path, Timeout: time.Second})
	if !r.TimedOut {
		t.Fatalf("%+v", r)
	}
	forked, daemon := pid(t, dir+"/forked"), pid(t, dir+"/daemon")
	if alive(forked) {
		t.Errorf("the fork %d goes on", forked)
	}
	if !alive(daemon) {
		t.Errorf("the daemon %d was ended", daemon)
	}
	_ = syscall.Kill(daemon, syscall.SIGKILL)
}

func pid(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// alive: it is there, and more than a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// TestGigabytes: what is printed is read, counted, and mostly let go.
func TestGigabytes(t *testing.T) {
	r := Exec(t.Context(), Command{Path: script(t, "yes 0123456 | head -c 20000000; echo; echo the end"), Timeout: time.Minute})
	if want := int64(20_000_000 + 9); r.Bytes != want || len(r.Output) > MaxOutput+100 || r.LastLine() != "the end" || r.Failure() != "" {
		t.Errorf("%d bytes, want %d; %d kept; %q; %q", r.Bytes, want, len(r.Output), r.LastLine(), r.Failure())
	}
	if !bytes.Contains(r.Output, []byte("bytes left out")) {
		t.Error("it does not say that something was left out")
	}
}

// TestPrintsForEver: the agent does not read as fast as it prints.
func TestPrintsForEver(t *testing.T) {
	r := Exec(t.Context(), Command{Path: script(t, "yes 0123456"), Timeout: time.Second})
	if most := int64(freely) + int64(r.Took/breath)*(64<<10); r.Bytes > most || !r.TimedOut {
		t.Errorf("%d bytes were read within %s, want %d at most: %+v", r.Bytes, r.Took, most, r.Failure())
	}
}

// TestItsEnvironment: nothing of ours.
func TestItsEnvironment(t *testing.T) {
	t.Setenv("FORESHOCK_TOKEN", "hunter2")
	r := Exec(t.Context(), Command{Path: "/usr/bin/env", Timeout: 10 * time.Second, Key: "k1"})
	want := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/\nLANG=C.UTF-8\nFORESHOCK_KEY=k1\n"
	if diff := cmp.Diff(want, string(r.Output)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestItEndsBeforeItsTime: what it left holds its output until its time is up:
// it ended all the same.
func TestItEndsBeforeItsTime(t *testing.T) {
	for status, failure := range map[int]string{0: "", 7: "exit code 7: no"} {
		r := Exec(t.Context(), Command{Path: script(t, fmt.Sprintf("sleep 5 & echo no; exit %d", status)), Timeout: time.Second})
		if r.TimedOut || r.ExitCode != status || r.Failure() != failure {
			t.Errorf("%+v: %q", r, r.Failure())
		}
	}
}

// TestNotStarted: the reason says what is missing, which is not the program.
func TestNotStarted(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "hook")
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		"#!/no/such/interpreter\n": "the interpreter that",
		"echo no first line\n":     "a script begins with a line as #!/bin/sh",
		"":                         "a script begins with a line as #!/bin/sh",
	} {
		if r := Exec(t.Context(), Command{Path: write(text), Timeout: time.Minute}); !strings.Contains(r.Failure(), want) {
			t.Errorf("%q: %q, want %q", text, r.Failure(), want)
		}
	}
}

// TestNothingOfOursIsOpen: a hook has the three descriptors that it is given.
func TestNothingOfOursIsOpen(t *testing.T) {
	inherited, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // as whoever starts the agent may leave it one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(inherited) })
	r := Exec(t.Context(), Command{Path: script(t, "ls /proc/$$/fd"), Timeout: time.Minute})
	open := strings.Fields(string(r.Output))
	open = slices.DeleteFunc(open, func(n string) bool { return n == "10" || n == "255" }) // where the shell has its script
	if diff := cmp.Diff([]string{"0", "1", "2"}, open); diff != "" {
		t.Errorf("descriptors (-want +got):\n%s", diff)
	}
}

// TestLastLine: what a hook prints is shown in terminals.
func TestLastLine(t *testing.T) {
	for output, want := range map[string]string{
		"one\ntwo\n\n":                 "two",
		"\x1b[31mred\x07":              "[31mred",
		"\u009b2Jc1\u202eturned\u2066": "2Jc1 turned",
		"\xff\xfe":                     "?",
		strings.Repeat("é", 300):       strings.Repeat("é", maxLine) + "…",
	} {
		r := Result{Output: []byte(output)}
		if got := r.LastLine(); got != want {
			t.Errorf("%q: %q, want %q", output, got, want)
		}
	}
}

// TestTheAgentStops: a hook ends with it.
func TestTheAgentStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if r := Exec(ctx, Command{Path: script(t, "sleep 600"), Timeout: time.Minute}); !r.Stopped || r.Failure() != "ended because the agent stops" {
		t.Errorf("%+v", r)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	good := script(t, "")
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := filepath.Join(dir, "open")
	sticky := filepath.Join(dir, "sticky")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.Symlink(good, dir+"/link"), os.Symlink(good, open+"/link"),
		os.Symlink("loop", dir+"/loop"), os.Symlink("../"+filepath.Base(dir)+"/open", dir+"/to-open"), os.Symlink("open/link", dir+"/link-to-link"),
		os.Mkdir(sticky, 0o700), os.Chmod(sticky, 0o777|os.ModeSticky), os.Symlink(good, sticky+"/ours"), os.Symlink(good, sticky+"/theirs")); err != nil {
		t.Fatal(err)
	}
	inOpen := filepath.Join(open, "hook")
	if err := os.WriteFile(inOpen, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		good:                      "",
		dir + "/link":             "",
		"bin/hook":                "is not an absolute path",
		dir + "/none":             "is not there",
		dir:                       "is no plain file",
		write("plain", 0o644):     "cannot be executed by this user",
		write("everybody", 0o777): "everybody on this host may change " + dir + "/everybody (mode 0777)",
		inOpen:                    "everybody on this host may change " + open + " (mode 0777)",
		// Whoever may change a link on the way may change what is run.
		open + "/link":          "everybody on this host may change " + open + " (mode 0777)",
		dir + "/link-to-link":   "everybody on this host may change " + open + " (mode 0777)",
		dir + "/to-open/hook":   "everybody on this host may change " + open + " (mode 0777)",
		dir + "/open/../link":   "",
		dir + "/sticky/../link": "",
		sticky + "/ours":        "",
		sticky + "/theirs":      "is user 65534's",
		dir + "/loop":           "more than 40 symbolic links",
		dir + "/everybody/hook": "find the hook",
		dir + "//./link":        "",
	} {
		if strings.HasSuffix(path, "/theirs") {
			if err := os.Lchown(path, 65534, 65534); err != nil {
				t.Logf("a link of another user is not tried: %v", err)
				continue
			}
		}
		err := Check(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if r := Exec(t.Context(), Command{Path: path, Timeout: time.Minute}); (r.Err == nil) != (want == "") {
			t.Errorf("run %s: %v", path, r.Err)
		}
	}
	if _, unsafe := errors.AsType[*UnsafeError](Check(inOpen)); !unsafe {
		t.Error("a directory that everybody may write to is no *UnsafeError")
	}
}

// TestNoAmbientCapabilities: what the service manager gives the agent for the
// programs that it starts is not the hook's; the agent keeps what it has.
func TestNoAmbientCapabilities(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread goes with its capabilities
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Inheritable |= 1 << unix.CAP_SYS_PTRACE
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Skipf("no capabilities to give: %v", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_PTRACE, 0, 0); err != nil {
		t.Skipf("no ambient capability to give: %v", err)
	}
	r := Exec(t.Context(), Command{Path: "/bin/grep", Args: []string{"CapAmb", "/proc/self/status"}, Timeout: 10 * time.Second})
	if got := strings.Fields(string(r.Output)); len(got) != 2 || strings.Trim(got[1], "0") != "" {
		t.Errorf("the hook has ambient capabilities: %q", r.Output)
	}
	var after [2]unix.CapUserData
	if err := unix.Capget(&header, &after[0]); err != nil || after[0].Permitted != data[0].Permitted || after[0].Effective != data[0].Effective {
		t.Errorf("we have %+v now, and had %+v: %v", after, data, err)
	}
}
