package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
)

// pastRules are what the back-test asks: of services and of backends, of one
// signal and of several, and two that look back.
const pastRules = `rules:
  - {name: waits, when: service.queue_wait_seconds > 0.5, hold: 10s}
  - {name: full, when: service.busy > 0.9 * service.accepted && service.queue_depth > 10, hold: 20s}
  - {name: sends-again, when: backend.retransmitting > 0.5 * backend.established, hold: 10s}
  - {name: falls, when: 'backend.established < 0.5 * mean(backend.established, "10m")', hold: 30s}
  - {name: busy-long, when: 'min_over(service.busy, "5m") > 35'}
`

// past is what the minutes of many days take, and what a back-test over them
// costs. It holds for a history that has minutes and nothing else.
type past struct {
	Days, Scopes, Minutes int
	// Encoded is the minutes as they are handed to the history, Bytes the file
	// that it makes of them.
	Encoded, Bytes int64
	// Made is the processor time of a day's minutes, Written that of writing all.
	Made, Written time.Duration
	BackTest      backTest
}

// backTest is what one call of rule backtest took and answered.
type backTest struct {
	Wall, CPU time.Duration
	Peak      int64 // the most memory that was resident, bytes
	Rules     []backTested
}

// backTested is what the answer's JSON says of one rule.
type backTested struct {
	Rule    string  `json:"rule"`
	Minutes float64 `json:"minutes_seconds"`
	Scopes  int     `json:"scopes_looked_at"`
	AtLeast int     `json:"at_least"`
	AtMost  int     `json:"at_most"`
}

func (p past) String() string {
	const mebi = 1 << 20
	var out strings.Builder
	fmt.Fprintf(&out, "%d days of minutes of %d scopes: %d minutes, %.1f MiB encoded, %.1f MiB in the file: %.2f MiB a day, %.0f bytes a minute; written in %.1f s of processor time\n",
		p.Days, p.Scopes, p.Minutes, float64(p.Encoded)/mebi, float64(p.Bytes)/mebi, float64(p.Bytes)/mebi/float64(p.Days), float64(p.Bytes)/float64(p.Minutes), p.Written.Seconds())
	b := &p.BackTest
	fmt.Fprintf(&out, "rule backtest over all of it, %d rules: %.1f s, %.1f s of processor time, peak RSS %.1f MiB\n", len(b.Rules), b.Wall.Seconds(), b.CPU.Seconds(), float64(b.Peak)/mebi)
	for _, r := range b.Rules {
		fmt.Fprintf(&out, "  %-12s %3d scopes, opened %d to %d times\n", r.Rule, r.Scopes, r.AtLeast, r.AtMost)
	}
	return out.String()
}

// past writes the minutes of a made host of so many scopes, a fifth of them
// services, into a history, and times the program's back-test over them. One day
// is measured, by the agent's own code, and written for each of the days.
func (b *bench) past(ctx context.Context, days, scopes int) error {
	if days < 1 || scopes < 5 || scopes > baseline.MostScopes {
		return usageError{fmt.Errorf("%d days of %d scopes: want a day or more, and 5 to %d scopes", days, scopes, baseline.MostScopes)}
	}
	p, err := cell(b, fmt.Sprintf("past-%dd-%d", days, scopes), func() (past, error) {
		dir, clean, err := pastDir(b.results)
		if err != nil {
			return past{}, err
		}
		defer clean()
		return b.measurePast(ctx, dir, days, scopes)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(b.out, p)
	return err
}

// pastDir makes a directory below a folder, to be removed by clean. It is locked
// for as long as this process lives, so that what a killed one left there is
// known, and removed here.
func pastDir(folder string) (dir string, clean func(), err error) {
	left, err := filepath.Glob(filepath.Join(folder, "past-*.tmp"))
	if err != nil {
		return "", nil, err
	}
	for _, name := range left {
		// A lock that is to be had is of nobody who lives.
		if lock, err := lockDir(name); err == nil {
			err = errors.Join(os.RemoveAll(name), lock.Close())
			if err != nil {
				return "", nil, fmt.Errorf("remove what an earlier run left: %w", err)
			}
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", nil, err
	}
	// The history wants a path that is absolute.
	if folder, err = filepath.Abs(folder); err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(folder, "past-*.tmp"); err != nil {
		return "", nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() { _, _ = os.RemoveAll(dir), lock.Close() }, nil
}

// lockDir locks a directory until what it returns is closed. Kernel: flock(2),
// which ends with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func (b *bench) measurePast(ctx context.Context, dir string, days, scopes int) (past, error) {
	p := past{Days: days, Scopes: scopes}
	b.say(fmt.Sprintf("measuring a day of %d scopes, two looks a second", scopes))
	began := processorTime()
	// The step after the day ends its last minute.
	day, err := minutesOf(ctx, madeHost(scopes/5, scopes-scopes/5, 24*time.Hour+time.Second, true))
	if err != nil {
		return p, err
	}
	p.Made = processorTime() - began
	b.say(fmt.Sprintf("%d minutes in %.0f s; writing them for each of %d days", len(day), p.Made.Seconds(), days))

	began = processorTime()
	first := time.Now().UTC().Truncate(time.Minute).Add(-time.Duration(days) * 24 * time.Hour)
	state := filepath.Join(dir, "state")
	if err := b.writeDays(ctx, &p, state, first, day); err != nil {
		return p, err
	}
	p.Written = processorTime() - began
	if p.Bytes, err = size(state); err != nil {
		return p, err
	}
	rules := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(rules, []byte(pastRules), 0o600); err != nil {
		return p, err
	}
	b.say(fmt.Sprintf("%.0f MiB; rule backtest over them", float64(p.Bytes)/(1<<20)))
	p.BackTest, err = b.backTest(ctx, "rule", "backtest", rules, "--state-dir", state, "--since", first.Format(time.RFC3339), "--output", "json")
	if err != nil {
		return p, err
	}
	for _, r := range p.BackTest.Rules {
		if want := float64(60 * p.Minutes); r.Minutes != want {
			return p, fmt.Errorf("rule backtest read %.0f s of minutes for the rule %s, of %.0f s", r.Minutes, r.Rule, want)
		}
	}
	return p, nil
}

// minutesOf are the encoded minutes of a made host, by the code that the agent
// runs.
func minutesOf(ctx context.Context, cfg recordingtest.Config) ([][]byte, error) {
	c, minutes := court.New(nil, &judge.Numbers{}), baseline.NewMinutes()
	var out [][]byte
	for host := recordingtest.New(cfg); ; {
		step, err := host.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		_, view := c.Step(step)
		if m := minutes.Take(step.At, view); m != nil {
			out = append(out, baseline.AppendMinute(nil, m))
		}
	}
}

// writeDays writes a day for each of the days, the first of which begins at
// first, an hour in each transaction.
func (b *bench) writeDays(ctx context.Context, p *past, dir string, first time.Time, day [][]byte) (err error) {
	clock := first
	all := time.Duration(p.Days) * 24 * time.Hour
	s, err := history.Open(dir, history.Config{
		Limits:  history.Limits{Raw: time.Hour, Minutes: 2 * all, MaxSize: 1 << 40}, // nothing goes
		Version: b.commit,
		Ended:   func(document []byte, _ time.Time) ([]byte, error) { return document, nil },
		Wall:    func() time.Time { return clock },
		Steady:  func() time.Duration { return clock.Sub(first) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for n := range p.Days {
		for at := 0; at < len(day); at += 60 {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := s.Batch(func() error {
				for i, data := range day[at:min(at+60, len(day))] {
					m, err := baseline.DecodeMinute(data)
					if err != nil {
						return err
					}
					m.Start = first.Add(time.Duration(n)*24*time.Hour + time.Duration(at+i)*time.Minute)
					clock = m.Start.Add(time.Minute)
					row := baseline.AppendMinute(nil, m)
					if err := s.PutMinute(m.Start, row); err != nil {
						return err
					}
					p.Minutes++
					p.Encoded += int64(len(row))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if n%7 == 6 {
			b.say(fmt.Sprintf("%d of %d days are written", n+1, p.Days))
		}
	}
	return nil
}

// size is that of all files below a directory.
func size(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			sum += fi.Size()
		}
		return err
	})
	return sum, err
}

// backTest runs the program and reads its answer.
func (b *bench) backTest(ctx context.Context, args ...string) (backTest, error) {
	// Kernel: PR_SET_PDEATHSIG is about the thread that forked, prctl(2).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, b.agent, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var answer, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &answer, &complaints
	var t backTest
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return t, err
	}
	peak := make(chan int64)
	ended := make(chan struct{})
	go func() { peak <- peakUntil(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	t.Wall = time.Since(began)
	close(ended)
	t.Peak = <-peak
	if err != nil {
		return t, fmt.Errorf("%s rule backtest: %w: %s", b.agent, errors.Join(err, ctx.Err()), bytes.TrimSpace(complaints.Bytes()))
	}
	t.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	var answered struct {
		Rules []backTested `json:"rules"`
	}
	if err := json.Unmarshal(answer.Bytes(), &answered); err != nil {
		return t, fmt.Errorf("read the answer of rule backtest: %w", err)
	}
	t.Rules = answered.Rules
	return t, nil
}

// peakUntil is the most memory that was resident in a process, as often as it is
// looked at until ended. What wait4 says of it is no less than what this process
// had when it forked. Kernel: fs/exec.c, exec_mmap.
func peakUntil(pid int, ended <-chan struct{}) int64 {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for {
		most = max(most, memory(pid, "VmHWM"))
		select {
		case <-ended:
			return most
		case <-tick.C:
		}
	}
}
