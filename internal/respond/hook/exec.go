package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

const (
	// MaxOutput is how much of what a hook prints is kept, in bytes; the rest
	// is read and counted.
	MaxOutput = 64 << 10
	// Grace is how long a hook may go on after SIGTERM, and how long it is
	// waited for what holds its output when it has ended itself.
	Grace = 2 * time.Second

	tailSize = 4 << 10 // of the output kept, for its end
	maxLine  = 200     // characters
	// Beyond freely bytes what is printed is read no faster than 32 KiB each
	// breath, 16 MiB a second: one that prints gigabytes waits, and the agent does
	// not spend a core on it.
	freely = 4 << 20
	breath = 2 * time.Millisecond
)

// Command is one run of a hook.
type Command struct {
	Path string // absolute
	Args []string
	// Timeout ends it: SIGTERM to its process group, and SIGKILL after Grace.
	Timeout time.Duration
	// Input is its standard input.
	Input []byte
	// Key names the action for ever; it is FORESHOCK_KEY in its environment.
	Key string
}

// Result is how a run ended.
type Result struct {
	// Err says that it could not be started; nothing else is set then.
	Err error
	// ExitCode is the one it ended with, -1 where a signal ended it.
	ExitCode int
	Signal   string // that ended it, as "killed"; empty for none
	// TimedOut: it was ended when its time was up. Stopped: because the agent
	// stops.
	TimedOut, Stopped bool
	// Left: it ended, and what it started holds its output and goes on.
	Left bool
	Took time.Duration
	// Output is what it printed to stdout and stderr, its middle left out where
	// it is more than MaxOutput; Bytes is all that was read.
	Output []byte
	Bytes  int64
	limit  time.Duration
}

// Failure says in a few words why a run failed; empty where it did not.
func (r *Result) Failure() string {
	why := ""
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.TimedOut:
		why = fmt.Sprintf("not done after %s, and ended", r.limit)
	case r.Stopped:
		why = "ended because the agent stops"
	case r.Signal != "":
		why = "ended by a signal: " + r.Signal
	case r.ExitCode != 0:
		why = fmt.Sprintf("exit code %d", r.ExitCode)
	default:
		return ""
	}
	if line := r.LastLine(); line != "" {
		why += ": " + line
	}
	return why
}

// LastLine is the last line of its output that is not empty, fit for one line
// of ours: without what moves a terminal's cursor or turns its text around.
func (r *Result) LastLine() string {
	lines := strings.Split(strings.TrimSpace(string(r.Output)), "\n")
	text := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(lines[len(lines)-1], "?"), func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }), " ")
	if runes := []rune(text); len(runes) > maxLine {
		return string(runes[:maxLine]) + "…"
	}
	return text
}

// environment is all that a hook gets: what is in ours may be a secret.
func environment(key string) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/", "LANG=C.UTF-8", "FORESHOCK_KEY=" + key,
	}
}

// Exec runs a hook to its end: no shell, a process group of its own, the
// directory /, and nothing of our environment. What it leaves in a session of
// its own, as a daemon does, is left alone; when its time is up the rest of its
// group is ended. A ctx that ends does the same.
func Exec(ctx context.Context, c Command) Result {
	if err := Check(c.Path); err != nil {
		return Result{Err: err}
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	out := &tape{}
	cmd := exec.CommandContext(limited, c.Path, c.Args...)
	cmd.Dir, cmd.Env = "/", environment(c.Key)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Input), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = Grace
	ended := false
	cmd.Cancel = func() error {
		ended = end(cmd.Process.Pid)
		return nil
	}
	began := time.Now()
	if err := start(cmd); err != nil {
		return Result{Err: startError(c.Path, err)}
	}
	err := cmd.Wait()
	r := Result{Took: time.Since(began), Bytes: out.all, ExitCode: cmd.ProcessState.ExitCode(), limit: c.Timeout}
	r.Output = out.text()
	switch status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case ended && err != nil: // the time may also be up while others hold its output: then it ended itself
		r.TimedOut, r.Stopped = ctx.Err() == nil, ctx.Err() != nil
	case ok && status.Signaled():
		r.Signal = status.Signal().String()
	case errors.Is(err, exec.ErrWaitDelay):
		r.Left = true
	}
	return r
}

// start starts a hook without the capabilities that the service manager gives
// the agent: ambient ones would be the hook's too (capabilities(7)). They are
// the thread's, so that what the agent may do stays. Nor does a hook get the
// descriptors that whoever started the agent left open; ours close anyway.
func start(cmd *exec.Cmd) error {
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // before Linux 5.11 they stay
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // before Linux 4.3 there are none
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return cmd.Start()
}

// startError says why a program that is there and may be executed was not.
func startError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist): // execve(2): also where a script's interpreter is not there
		return fmt.Errorf("start the hook: the interpreter that %s names in its first line, or its loader, is not there: %w", path, err)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("start the hook: %s is no program: a script begins with a line as #!/bin/sh: %w", path, err)
	}
	return fmt.Errorf("start the hook: %w", err)
}

// end ends a process group: politely, and after Grace at once. It reports
// whether there was anything to be ended. Package exec calls it in a goroutine
// of its own, and waits for it.
func end(group int) bool {
	if syscall.Kill(-group, syscall.SIGTERM) != nil {
		return false // it has ended
	}
	const pause = 20 * time.Millisecond
	for range Grace / pause {
		time.Sleep(pause)
		if syscall.Kill(-group, 0) != nil {
			return true // all of them have
		}
	}
	_ = syscall.Kill(-group, syscall.SIGKILL) // the last of them ended just now
	return true
}

// tape keeps the beginning and the end of what is written to it.
type tape struct {
	head, tail []byte
	all        int64
}

// Write implements io.Writer; it always takes all.
func (t *tape) Write(b []byte) (int, error) {
	n := len(b)
	if t.all += int64(n); t.all > freely {
		time.Sleep(breath)
	}
	if room := MaxOutput - tailSize - len(t.head); room > 0 {
		t.head = append(t.head, b[:min(room, n)]...)
		b = b[min(room, n):]
	}
	t.tail = append(t.tail, b[max(0, len(b)-tailSize):]...)
	t.tail = t.tail[max(0, len(t.tail)-tailSize):]
	return n, nil
}

// text is what was kept; it says what was left out.
func (t *tape) text() []byte {
	left := t.all - int64(len(t.head)+len(t.tail))
	if left == 0 {
		return append(t.head, t.tail...)
	}
	said := fmt.Appendf(slices.Clip(t.head), "\n… %d bytes left out …\n", left)
	return append(said, t.tail...)
}
