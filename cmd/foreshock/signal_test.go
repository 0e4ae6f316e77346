package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// program runs this very binary as foreshock; TestMain sees it by its name.
func program(t *testing.T, stdout, stderr *os.File, args ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{"foreshock"}, args...), Env: append(os.Environ(), "STATE_DIRECTORY="+t.TempDir()), Stdout: stdout, Stderr: stderr}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // nothing, when it has ended
	return cmd
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

// TestWatchEndsWell: look --watch prints one JSON object per line until the
// first interrupt, and ends with 0 and a whole line.
func TestWatchEndsWell(t *testing.T) {
	r, w := pipe(t)
	cmd := program(t, w, os.Stderr, "look", "--by", "state", "--watch=100ms", "--output", "json")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for in := bufio.NewScanner(r); in.Scan(); {
		if !json.Valid(in.Bytes()) {
			t.Errorf("line %d is no JSON: %s", lines, in.Bytes())
		}
		if lines++; lines == 2 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || lines < 2 {
		t.Errorf("%d lines, then %v; want 2 at least and no error", lines, err)
	}
}

// stuck runs the program with a standard output that nobody reads, until it
// waits for that.
func stuck(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	_, w := pipe(t)
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Skipf("no size of a pipe: %v", err)
	}
	if _, err := w.Write(bytes.Repeat([]byte{' '}, size)); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, w, os.Stderr, args...)
	for deadline := time.Now().Add(5 * time.Second); !blocked(cmd.Process.Pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Skip("/proc/PID/wchan does not show who waits for a pipe")
		}
	}
	return cmd
}

// killed waits for a program to end by the signal.
func killed(t *testing.T, cmd *exec.Cmd, by syscall.Signal) {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != by {
		t.Errorf("it ended by %v, want by %s", err, by)
	}
}

// TestFirstSignalKills what has nothing to put in order: timeout(1), Nagios and
// CI send one.
func TestFirstSignalKills(t *testing.T) {
	cmd := stuck(t, "look", "--by", "state")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	killed(t, cmd, syscall.SIGTERM)
}

// TestSecondSignalKills: a program that cannot end in good order by the first
// interrupt, as nobody reads what it has to say, ends by the second.
func TestSecondSignalKills(t *testing.T) {
	cmd := stuck(t, "look", "--by", "state", "--watch")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for cmd.Process.Signal(os.Interrupt) == nil { // one that comes too early is the first again
			time.Sleep(10 * time.Millisecond)
		}
	}()
	killed(t, cmd, syscall.SIGINT)
	<-done
}

// TestAgentOutlivesItsReader: nobody reads the greeting, which is no reason to
// end.
func TestAgentOutlivesItsReader(t *testing.T) {
	r, w := pipe(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	said, stderr := pipe(t)
	cmd := program(t, w, stderr, "agent", "--listen", "127.0.0.1:0")
	if err := stderr.Close(); err != nil {
		t.Fatal(err)
	}
	told := false
	for in := bufio.NewScanner(said); in.Scan(); {
		if strings.Contains(in.Text(), "the greeting could not be written") {
			told = true
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !told {
		t.Errorf("it ended with %v; said that nobody reads: %v", err, told)
	}
}

// blocked reports whether a thread of the process waits to write to a pipe.
func blocked(pid int) bool {
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/wchan")
	for _, path := range paths {
		if where, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(where), "pipe_write") {
			return true
		}
	}
	return false
}
