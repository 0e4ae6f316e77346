package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// roleVariable names what a child of the lab has to be.
	roleVariable = "FORESHOCK_LAB_ROLE"
	// childArgument makes a binary whose main forgot to call Child stop at
	// an unknown flag, instead of running its tests or command again.
	childArgument = "-foreshock-lab-child"
	// stopWait bounds the wait for a child or server to end by itself.
	stopWait = 5 * time.Second
)

// role is what a child does: its configuration is one line of JSON. It reports
// once it is ready, and ends when it is done or when ctx is, which is when the
// parent closes the child's standard input or dies. Each line its parent writes
// after the configuration is an order; a role that takes none is sent none.
type role func(ctx context.Context, config []byte, orders <-chan json.RawMessage, ready func(report any) error) error

func roleNamed(name string) role {
	return map[string]role{
		"app":         roleOf(runApp),
		"load":        roleOf(runLoad),
		"established": roleOf(runEstablished),
		"odd":         roleOf(runOdd),
		"pool":        roleOf(runPool),
		"poller":      roleOf(runPoller),
		"fanout":      roleOf(runFanOut),
		"take":        roleOf(runTake),
		"visitors":    roleOf(runVisitors),
	}[name]
}

// roleOf is the role whose configuration is a C.
func roleOf[C any](run func(ctx context.Context, config C, orders <-chan json.RawMessage, ready func(report any) error) error) role {
	return func(ctx context.Context, line []byte, orders <-chan json.RawMessage, ready func(any) error) error {
		var config C
		if err := json.Unmarshal(line, &config); err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		return run(ctx, config, orders, ready)
	}
}

// Child must be the first thing that main, or TestMain, of a program that uses
// the lab does. In the lab's own children, which are that program started
// again, it does the child's work and exits. Elsewhere it returns at once.
func Child() {
	if os.Getenv(containVariable) != "" {
		fmt.Fprintf(os.Stderr, "lab: %v\n", becomeContained(os.Args[2:]))
		os.Exit(1)
	}
	name := os.Getenv(roleVariable)
	if name == "" {
		return
	}
	run := roleNamed(name)
	if run == nil {
		fmt.Fprintf(os.Stderr, "lab child: unknown role %q\n", name)
		os.Exit(2)
	}
	// So that ps and an agent show what it is.
	_ = os.WriteFile("/proc/self/comm", []byte("lab-"+name), 0)
	if err := runChild(run, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "lab child %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild reads the configuration, one line of JSON, runs the role until the
// input ends, and writes one line of JSON per report.
func runChild(run role, in io.Reader, out io.Writer) error {
	input := bufio.NewReader(in)
	config, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := make(chan json.RawMessage)
	go func() {
		defer cancel()
		for {
			order, err := input.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case orders <- order:
			case <-ctx.Done():
				return
			}
		}
	}()
	encoder := json.NewEncoder(out)
	return run(ctx, config, orders, encoder.Encode)
}

// child is a running child as its parent sees it.
type child struct {
	*Program
	stdin io.WriteCloser
	pipe  *os.File // its standard output
	out   *bufio.Reader
}

// startChild starts this binary again with a role inside the host's namespace,
// and waits for its report. It is stopped by halt, never by ctx; ctx bounds the
// wait for the report, which is decoded into report.
func (h *Host) startChild(ctx context.Context, roleName string, config, report any) (*child, error) {
	c, err := h.launchChild(ctx, roleName, config)
	if err == nil {
		if err = c.read(ctx, report); err != nil {
			err = errors.Join(err, c.halt())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start lab child %s: %w", roleName, err)
	}
	return c, nil
}

// launchChild is startChild without the wait for the first report.
func (h *Host) launchChild(ctx context.Context, roleName string, config any, extra ...*os.File) (*child, error) {
	line, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := h.Command(context.WithoutCancel(ctx), self, childArgument)
	// A child of a binary with the race detector would sleep for a second
	// before it exits.
	cmd.Env = append(os.Environ(), roleVariable+"="+roleName, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.ExtraFiles = extra
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: exec's StdoutPipe is closed by Wait, which runs
	// beside the reader.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	p, err := cmd.Launch()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	c := &child{Program: p, stdin: stdin, pipe: r, out: bufio.NewReader(r)}
	if _, err := stdin.Write(append(line, '\n')); err != nil {
		return nil, errors.Join(fmt.Errorf("write configuration: %w", err), c.halt())
	}
	return c, nil
}

// read waits for the child's next report.
func (c *child) read(ctx context.Context, report any) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
	line, err := c.out.ReadBytes('\n')
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		<-c.ended
		return fmt.Errorf("ended without a report: %w: %s", cmp.Or(c.result, err), c.said)
	}
	if report == nil {
		return nil
	}
	if err := json.Unmarshal(line, report); err != nil {
		return fmt.Errorf("read report %q: %w", line, err)
	}
	return nil
}

// order gives the child an order and waits until it says that it follows.
func (c *child) order(ctx context.Context, order any) error {
	line, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("write order: %w", err)
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write order: %w", err)
	}
	return c.read(ctx, nil)
}

// halt asks the child to end, kills it when it does not, and waits for it.
func (c *child) halt() error {
	_ = c.stdin.Close()
	err := c.End(unix.SIGCONT) // a stopped one would not see it
	_ = c.pipe.Close()
	return err
}

// waitFor reports whether ended was closed within d.
func waitFor(ended <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

// tail keeps the last bytes written to it. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// descriptorRoom returns how many descriptors a process of the lab may use for
// sockets. Go raises the soft limit to the hard one as a program starts
// (os/rlimit.go).
func descriptorRoom() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read descriptor limit: %w", err)
	}
	return usableDescriptors(limit.Max), nil
}

// usableDescriptors leaves room for what the process itself has open. Where we
// test a process may have 20,000 at most.
func usableDescriptors(hard uint64) int { return max(int(min(hard, 20_000))-100, 0) }
