package privilege

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// asChild makes the test binary a process that lowers a capability, says what
// its threads have then, and what a program has that it starts.
const asChild = "FORESHOCK_TEST_PRIVILEGE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		fmt.Println("up")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Println(lowered())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// capability is one that tests have as root.
const capability = unix.CAP_NET_ADMIN

// needCapability skips a test that raises one.
func needCapability(t *testing.T) {
	t.Helper()
	if !Permitted(capability) {
		t.Skip("CAP_NET_ADMIN is not permitted here: run as root")
	}
}

// inForce reports whether the calling thread has the capability in force, by
// what /proc says.
func inForce(t *testing.T) bool {
	t.Helper()
	on, err := has("/proc/thread-self/status", "CapEff")
	if err != nil {
		t.Error(err)
	}
	return on
}

// has reads whether a set of a thread has the capability.
func has(status, set string) (bool, error) {
	raw, err := os.ReadFile(status)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(raw)) {
		if name, hex, _ := strings.Cut(line, ":"); name == set {
			bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return bits&(1<<capability) != 0, err
		}
	}
	return false, fmt.Errorf("%s has no %s", status, set)
}

// down takes the capability out of force on the calling thread alone.
func down(t *testing.T) {
	t.Helper()
	s, err := get()
	half, bit := place(capability)
	s[half].Effective &^= bit
	if err := errors.Join(err, set(&s)); err != nil {
		t.Error(err)
	}
}

func TestWith(t *testing.T) {
	needCapability(t)
	labtest.OnThread(func() {
		down(t)
		if inForce(t) {
			t.Error("it is in force still")
			return
		}
		asItIs := errors.New("as it is")
		err := With(capability, func() error {
			if !inForce(t) {
				t.Error("it is not in force within")
			}
			return asItIs
		})
		if err != asItIs { //nolint:errorlint // must come back unwrapped
			t.Errorf("f's error came back as %v", err)
		}
		if inForce(t) {
			t.Error("it is in force afterwards")
		}
		func() {
			defer func() { _ = recover() }()
			_ = With(capability, func() error { panic("in f") })
		}()
		if inForce(t) {
			t.Error("it is in force after a panic")
		}
	})
}

// TestWithout: f runs without the capability too, and one that is in force stays
// so.
func TestWithout(t *testing.T) {
	needCapability(t)
	labtest.OnThread(func() {
		ran := false
		if err := With(capability, func() error { ran = true; return nil }); err != nil || !ran || !inForce(t) {
			t.Errorf("in force: ran %v, %v; in force afterwards %v", ran, err, inForce(t))
		}
		labtest.BecomeNobody(t)
		if Permitted(capability) {
			t.Error("it is permitted to nobody")
		}
		ran = false
		if err := With(capability, func() error { ran = true; return nil }); err != nil || !ran || inForce(t) {
			t.Errorf("not permitted: ran %v, %v; in force afterwards %v", ran, err, inForce(t))
		}
	})
}

func TestLower(t *testing.T) {
	needCapability(t)
	child := labtest.Start(t, asChild, 0)
	if _, err := fmt.Fprintln(child.In, "go"); err != nil {
		t.Fatal(err)
	}
	got, err := child.Out.ReadString('\n')
	if err == nil && got == errors.ErrUnsupported.Error()+"\n" && os.Getenv("CGO_ENABLED") != "0" {
		// With cgo, which the race detector takes: once more as the program is built.
		again := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestLower$", ".")
		again.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("without cgo: %v\n%s", err, out)
		}
		return
	}
	if err != nil || got != "ok\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// lowered is what the child does.
func lowered() string {
	// An ambient capability is what the service manager gives, to all threads; it
	// shows on this one.
	runtime.LockOSThread()
	s, err := get()
	half, bit := place(capability)
	s[half].Inheritable |= bit
	if err := errors.Join(err, set(&s), unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, capability, 0, 0)); err != nil {
		return "raise an ambient one: " + err.Error()
	}
	if err := Lower(capability); errors.Is(err, errors.ErrUnsupported) {
		return errors.ErrUnsupported.Error()
	} else if err != nil {
		return err.Error()
	}
	for range 8 { // threads of later on
		done := make(chan struct{})
		go func() { runtime.LockOSThread(); close(done); select {} }()
		<-done
	}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) < 8 {
		return fmt.Sprintf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		for set, want := range map[string]bool{"CapEff": false, "CapPrm": true, "CapInh": false, "CapAmb": false} {
			if got, err := has(thread, set); err != nil || got != want {
				return fmt.Sprintf("%s: %s %v, %v; want %v", thread, set, got, err, want)
			}
		}
	}
	if err := With(capability, func() error {
		if on, err := has("/proc/thread-self/status", "CapEff"); !on {
			return fmt.Errorf("it cannot be raised again: %w", err)
		}
		return nil
	}); err != nil {
		return err.Error()
	}
	return "ok"
}
