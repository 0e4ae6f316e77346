package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/replay"
)

// replayed is what it costs to play a made recording again.
type replayed struct {
	Steps, Tallies, Incidents int
	Bytes                     int64 // of the file
	// Made is the processor time of making and writing it, Read that of reading
	// it alone, Played that of reading and playing it.
	Made, Read, Played time.Duration
	// Anon is the anonymous memory at the end.
	Anon int64
}

func (r replayed) String() string {
	each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(max(1, r.Tallies)) }
	return fmt.Sprintf("%d steps, %d tallies, %.1f MB, %d incidents: written in %.1f s, read in %.1f s (%.2f µs for each tally), read and played in %.1f s (%.2f µs), of processor time; RssAnon %.1f MiB\n",
		r.Steps, r.Tallies, float64(r.Bytes)/1e6, r.Incidents, r.Made.Seconds(), r.Read.Seconds(), each(r.Read), r.Played.Seconds(), each(r.Played), float64(r.Anon)/(1<<20))
}

// madeHost is a host that is looked at once a second, with a minute's fault in
// each hour; with pulses it has one of them a second, too.
func madeHost(services, backends int, span time.Duration, pulses bool) recordingtest.Config {
	cfg := recordingtest.Config{Seed: 1, Services: services, Backends: backends, Span: span, Focus: time.Second}
	if pulses {
		cfg.Pulse = time.Second
	}
	for i := range int(span / time.Hour) {
		at := time.Duration(i)*time.Hour + 30*time.Minute
		kinds := []recordingtest.Fault{
			{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(i % backends)},
			{Kind: recordingtest.Hang, Scope: recordingtest.Backend(i % backends)},
			{Kind: recordingtest.Exhaust, Scope: recordingtest.Service(i % services)},
		}
		fault := kinds[i%len(kinds)]
		fault.From, fault.To = at, at+time.Minute
		cfg.Faults = append(cfg.Faults, fault)
	}
	return cfg
}

// replay plays so long of a made host of 20 services and 80 backends.
func (b *bench) replay(ctx context.Context, span time.Duration, pulses bool) error {
	cfg := madeHost(20, 80, span, pulses)
	name := fmt.Sprintf("replay-%s", span)
	if pulses {
		name += "-pulses"
	}
	r, err := cell(b, name, func() (replayed, error) {
		file := filepath.Join(b.results, name+".rec")
		if err := os.MkdirAll(b.results, 0o755); err != nil {
			return replayed{}, err
		}
		defer os.Remove(file)
		return playFile(ctx, file, cfg)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(b.out, r)
	return err
}

// playFile writes a recording, and reads it twice: alone, and to play it.
func playFile(ctx context.Context, file string, cfg recordingtest.Config) (replayed, error) {
	var r replayed
	began := processorTime()
	size, err := recordingtest.Write(file, recordingtest.New(cfg))
	if err != nil {
		return r, err
	}
	r.Bytes = size
	r.Made = processorTime() - began
	read := func(do func(measure.Step)) (time.Duration, error) {
		began := processorTime()
		source, err := recording.Open(file)
		if err != nil {
			return 0, err
		}
		err = errors.Join(each(ctx, source, do), source.Close())
		return processorTime() - began, err
	}
	if r.Read, err = read(func(measure.Step) { r.Steps++ }); err != nil {
		return r, err
	}
	p := replay.New(nil)
	r.Played, err = read(func(s measure.Step) {
		r.Tallies += len(s.Tallies.Scopes)
		for _, c := range p.Changes(s) {
			if c.Kind == replay.Opened {
				r.Incidents++
			}
		}
	})
	r.Anon = memory(os.Getpid(), "RssAnon")
	return r, err
}

// memory is a line of a process's status in bytes, 0 where there is none: RssAnon
// is its own memory, VmHWM the most that ever was resident. Kernel:
// fs/proc/task_mmu.c, task_mem.
func memory(pid int, line string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), line+":")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.ParseInt(text, 10, 64)
	return kib << 10
}

// each gives every step of a source.
func each(ctx context.Context, source replay.Source, do func(measure.Step)) error {
	for {
		s, err := source.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		do(s)
	}
}

// processorTime is that of the whole process so far, the collector's too.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
