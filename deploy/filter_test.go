package deploy

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestUnitAllowsWhatIsCalled traces the agent, the process that sends for the
// notification library, and a hook's, and holds every system call they make to
// the unit's SystemCallFilter: what it does not allow fails there and nowhere
// else.
func TestUnitAllowsWhatIsCalled(t *testing.T) {
	for program, from := range map[string]string{"systemd-analyze": "systemd", "strace": "strace"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing: install %s", program, from)
		}
	}
	if out, err := exec.Command("strace", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("nothing may be traced here: %s", out)
	}
	allowed := unitFilter(t)
	for _, call := range []string{"read", "setns", "capset", "prctl"} {
		if !allowed[call] {
			t.Errorf("%s is not allowed, or the filter is read wrongly", call)
		}
	}
	if allowed["chown"] || allowed["setuid"] || allowed["mount"] {
		t.Error("chown, setuid or mount is allowed, or the filter is read wrongly")
	}
	// SQLite calls it when it is root, and this user may be; foreshock's never is.
	allowed["fchown"] = allowed["fchown"] || os.Geteuid() == 0

	dir := t.TempDir()
	program := filepath.Join(dir, "foreshock")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/foreshock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make builds it: with C's threads it makes other calls
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	address, file := filepath.Join(dir, "ntfy.url"), filepath.Join(dir, "foreshock.yaml")
	config := fmt.Sprintf("notify:\n  - {name: oncall, url: {file: %q}}\nrespond:\n  default:\n    - {after: 1s, hook: {exec: [/bin/true]}}\n", address)
	for name, text := range map[string]string{address: "ntfy://127.0.0.1:1/none?scheme=http\n", file: config} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args  []string
		calls string // one that shows that what is meant was traced
	}{
		"agent":  {[]string{"agent", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(dir, "state"), "--config", file}, "listen"},
		"notice": {[]string{"notify", "test", "oncall", "--config", file}, "connect"},
		"hook":   {[]string{"respond", "test", "true", "--config", file}, "execve"},
	} {
		t.Run(name, func(t *testing.T) {
			called := traced(t, append([]string{program}, c.args...))
			if !called[c.calls] {
				t.Fatalf("%s was not called, only %v", c.calls, slices.Sorted(maps.Keys(called)))
			}
			for _, call := range slices.Sorted(maps.Keys(called)) {
				if !allowed[call] {
					t.Errorf("the unit does not allow %s", call)
				}
			}
		})
	}
}

// unitFilter is the set of system calls that the unit allows: lines merge, in
// their order, and what begins with ~ is taken out (systemd.exec(5)).
func unitFilter(t *testing.T) map[string]bool {
	t.Helper()
	unit, err := os.ReadFile("foreshock.service")
	if err != nil {
		t.Fatal(err)
	}
	allowed := make(map[string]bool)
	maps.Copy(allowed, callsOf(t, "@default")) // always
	for _, line := range regexp.MustCompile(`(?m)^SystemCallFilter=(.*)$`).FindAllStringSubmatch(string(unit), -1) {
		text, out := strings.CutPrefix(line[1], "~")
		for name := range strings.FieldsSeq(text) {
			for call := range callsOf(t, name) {
				allowed[call] = !out
			}
		}
	}
	return allowed
}

// callsOf are the system calls of a set of systemd's, of the sets in it too; a
// name without @ is itself.
func callsOf(t *testing.T, name string) map[string]bool {
	t.Helper()
	if !strings.HasPrefix(name, "@") {
		return map[string]bool{name: true}
	}
	out, err := exec.Command("systemd-analyze", "--no-pager", "syscall-filter", name).Output()
	if err != nil {
		t.Fatalf("systemd-analyze syscall-filter %s: %v", name, err)
	}
	calls := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" || line == name || strings.HasPrefix(line, "#") {
			continue
		}
		maps.Copy(calls, callsOf(t, line))
	}
	return calls
}

// traced runs a program and what it starts, until it ends or has said where its
// page is, and says which system calls were made.
func traced(t *testing.T, argv []string) map[string]bool {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), "strace", append([]string{"-f", "-qq", "-o", trace, "--"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "page ") {
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil { // strace passes it on, and ends with it
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // a notice to nobody fails
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]bool)
	for _, call := range regexp.MustCompile(`(?m)^\d+ +([a-z_0-9]+)\(`).FindAllStringSubmatch(string(raw), -1) {
		calls[call[1]] = true
	}
	return calls
}
