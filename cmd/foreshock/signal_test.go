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
func program(t *testing.T, stdout *os.File, args ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{"foreshock"}, args...), Stdout: stdout, Stderr: os.Stderr}
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
	cmd := program(t, w, "look", "--by", "state", "--watch=100ms", "--output", "json")
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

// TestSecondSignalKills: a program that cannot end by the first interrupt, as
// nobody reads what it has to say, ends by the second.
func TestSecondSignalKills(t *testing.T) {
	_, w := pipe(t)
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Skipf("no size of a pipe: %v", err)
	}
	if _, err := w.Write(bytes.Repeat([]byte{' '}, size)); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, w, "look", "--by", "state")
	for deadline := time.Now().Add(5 * time.Second); !blocked(cmd.Process.Pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Skip("/proc/PID/wchan does not show who waits for a pipe")
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("it ended by the first signal: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	for range 500 {
		_ = cmd.Process.Signal(os.Interrupt) // the first of these may come too early
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("it ended by %v, want by the signal", err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("it did not end by the second signal")
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
