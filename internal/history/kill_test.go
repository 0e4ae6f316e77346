package history

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/recording"
)

// writerDir, in the environment, makes this program a writer that goes on until
// it is killed; fullDir one that fills a disk.
const (
	writerDir = "FORESHOCK_TEST_HISTORY_WRITER"
	fullDir   = "FORESHOCK_TEST_HISTORY_FULL"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(writerDir) != "":
		writer(os.Getenv(writerDir))
	case os.Getenv(fullDir) != "":
		fillDisk(os.Getenv(fullDir))
	default:
		os.Exit(m.Run())
	}
}

// writer writes and deletes as an agent does, only faster, and says the number
// of each incident whose write was confirmed.
func writer(dir string) {
	began := time.Now()
	c := (&times{}).config()
	c.Wall, c.Steady = time.Now, func() time.Duration { return time.Since(began) }
	c.Raw, c.Minutes = 20*time.Millisecond, 40*time.Millisecond
	s, err := Open(dir, c)
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	blob := make([]byte, 256<<10)
	fmt.Println("aside:" + s.SetAside())
	for id := s.LastIncident() + 1; ; id++ {
		for i := range blob {
			blob[i] = byte(i * int(id))
		}
		n := rand.IntN(len(blob))
		err := s.Batch(func() error {
			if err := s.PutSegment(recording.Segment{From: time.Now(), To: time.Now(), Data: blob[:n]}); err != nil {
				return err
			}
			if err := s.PutMinute(time.Now(), blob[:n/10]); err != nil {
				return err
			}
			return s.PutIncidents([]Incident{incident(id, time.Now()), over(incident(max(id, 5)-4, time.Now()), time.Now())})
		})
		if err == nil {
			fmt.Println(id) // one write: unbuffered
			_, err = s.Retain()
		}
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
}

// TestKills: however often the writer is killed, at whatever instant, the file
// is whole and has each incident whose write was confirmed. 100 times, or as
// FORESHOCK_HISTORY_KILLS says.
func TestKills(t *testing.T) {
	kills := 100
	if many, err := strconv.Atoi(os.Getenv("FORESHOCK_HISTORY_KILLS")); err == nil {
		kills = many
	} else if testing.Short() {
		kills = 10
	}
	exe, err := os.Executable()
	need(t, err)
	dir := t.TempDir()
	confirmed, unsaid := uint64(0), 0
	for kill := range kills {
		cmd := &exec.Cmd{Path: exe, Args: []string{exe}, Env: append(os.Environ(), writerDir+"="+dir)}
		out, err := cmd.StdoutPipe()
		need(t, err)
		need(t, cmd.Start())
		said := bufio.NewScanner(out)
		if !said.Scan() || said.Text() != "aside:" {
			t.Fatalf("the writer said %q at its start", said.Text())
		}
		// From here on it writes. It is killed at a random instant of that: each
		// second time after the first incident was confirmed, so that a slow
		// machine tests something too.
		last := confirmed
		if kill%2 == 1 {
			if !said.Scan() {
				t.Fatal("the writer ended by itself")
			}
			last, err = strconv.ParseUint(said.Text(), 10, 64)
			need(t, err)
		}
		timer := time.AfterFunc(time.Duration(rand.Int64N(int64(15*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		for said.Scan() {
			if last, err = strconv.ParseUint(said.Text(), 10, 64); err != nil {
				t.Fatalf("the writer said %q", said.Text())
			}
		}
		_ = cmd.Wait() // killed
		timer.Stop()
		if last == confirmed {
			unsaid++
		}
		confirmed = last
		sound(t, dir, confirmed)
	}
	t.Logf("%d kills, %d of them before the first incident was confirmed; %d incidents confirmed and there", kills, unsaid, confirmed)
}

// sound wants a file that is whole and has all incidents up to a number.
func sound(t *testing.T, dir string, confirmed uint64) {
	t.Helper()
	r, err := OpenReader(dir)
	need(t, err)
	defer r.Close()
	var says string
	need(t, r.conn.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&says))
	if says != "ok" {
		t.Fatalf("after %d incidents: %s", confirmed, says)
	}
	n, err := r.number("SELECT count(DISTINCT number) FROM incidents WHERE number <= ?", int64(confirmed))
	need(t, err)
	if uint64(n) != confirmed {
		t.Fatalf("%d of %d confirmed incidents are there", n, confirmed)
	}
}

// TestFullDisk: on a full disk writes fail and say so, what was confirmed stays,
// and once there is room again they succeed; one that is read-only is read. The disk is a tmpfs that only the
// helper sees.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system of its own needs root")
	}
	exe, err := os.Executable()
	need(t, err)
	cmd := &exec.Cmd{
		Path: exe, Args: []string{exe}, Env: append(os.Environ(), fullDir+"="+t.TempDir()),
		SysProcAttr: &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case bytes.HasPrefix(out, []byte("skip: ")):
		t.Skipf("%s", out)
	case err != nil || string(out) != "sound\n":
		t.Errorf("%v: %s", err, out)
	}
}

func fillDisk(dir string) {
	if err := mountSmall(dir); err != nil {
		fmt.Println("skip: a small file system:", err)
		return
	}
	if err := fill(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("sound")
}

func mountSmall(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700")
}

func fill(dir string) error {
	s, err := Open(dir, (&times{wall: start}).config())
	if err != nil {
		return err
	}
	ballast := dir + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		return err
	}
	last, failed := uint64(0), 0
	put := func(id uint64) error {
		return s.Batch(func() error {
			if err := s.PutMinute(start, noise(20<<10)); err != nil {
				return err
			}
			return s.PutIncidents([]Incident{incident(id, start)})
		})
	}
	for id := uint64(1); failed < 10; id++ {
		if id > 1000 {
			return fmt.Errorf("the disk is never full")
		}
		switch err := put(id); {
		case err == nil:
			last = id
		case Corrupt(err):
			return fmt.Errorf("a full disk is taken for damage: %w", err)
		default:
			failed++
		}
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := put(2000); err != nil {
		return fmt.Errorf("there is room again: %w", err)
	}
	all, err := s.Incidents(Query{})
	if err != nil || uint64(len(all)) < last {
		return fmt.Errorf("%d incidents, want %d at least: %w", len(all), last, err)
	}
	says := ""
	if err := s.conn.QueryRowContext(context.Background(), "PRAGMA integrity_check").Scan(&says); err != nil || says != "ok" {
		return fmt.Errorf("integrity: %s, %w", says, err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	return readOnly(dir)
}

// readOnly wants that a file system that cannot be written to is said, and that
// what is there is read.
func readOnly(dir string) error {
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if _, err := Open(dir, (&times{wall: start}).config()); !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("open on a read-only file system: %w", err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		return fmt.Errorf("read on a read-only file system: %w", err)
	}
	defer r.Close()
	if all, err := r.Incidents(Query{}); err != nil || len(all) == 0 {
		return fmt.Errorf("read on a read-only file system: %d incidents, %w", len(all), err)
	}
	return nil
}
