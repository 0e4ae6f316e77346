package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/replay"
)

// replayed is what it costs to play a made recording again.
type replayed struct {
	Steps, Tallies, Incidents int
	// Made is the processor time of making the steps, Played that of playing
	// them, without what it took to make them.
	Made, Played time.Duration
}

func (r replayed) String() string {
	return fmt.Sprintf("%d steps, %d tallies, %d incidents: made in %.1f s, played in %.1f s of processor time: %.2f µs for each tally\n",
		r.Steps, r.Tallies, r.Incidents, r.Made.Seconds(), r.Played.Seconds(), r.Played.Seconds()*1e6/float64(max(1, r.Tallies)))
}

// replay plays so long of a made host, 20 services and 80 backends that are
// looked at once a second, with an hour's fault at each hour. With pulses it has
// one of them a second, too.
func (b *bench) replay(ctx context.Context, span time.Duration, pulses bool) error {
	cfg := recordingtest.Config{Seed: 1, Services: 20, Backends: 80, Span: span, Focus: time.Second}
	if pulses {
		cfg.Pulse = time.Second
	}
	for i := range int(span / time.Hour) {
		at := time.Duration(i)*time.Hour + 30*time.Minute
		kinds := []recordingtest.Fault{
			{Kind: recordingtest.Blackhole, Scope: recordingtest.Backend(i % cfg.Backends)},
			{Kind: recordingtest.Hang, Scope: recordingtest.Backend(i % cfg.Backends)},
			{Kind: recordingtest.Exhaust, Scope: recordingtest.Service(i % cfg.Services)},
		}
		fault := kinds[i%len(kinds)]
		fault.From, fault.To = at, at+time.Minute
		cfg.Faults = append(cfg.Faults, fault)
	}
	name := fmt.Sprintf("replay-%s", span)
	if pulses {
		name += "-pulses"
	}
	r, err := cell(b, name, func() (replayed, error) {
		var r replayed
		began := processorTime()
		if err := each(ctx, recordingtest.New(cfg), func(recording.Step) { r.Steps++ }); err != nil {
			return r, err
		}
		r.Made = processorTime() - began
		p := replay.New(nil)
		began = processorTime()
		err := each(ctx, recordingtest.New(cfg), func(s recording.Step) {
			r.Tallies += len(s.Tallies.Scopes)
			for _, c := range p.Changes(s) {
				if c.Kind == replay.Opened {
					r.Incidents++
				}
			}
		})
		r.Played = processorTime() - began - r.Made
		return r, err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(b.out, r)
	return err
}

// each gives every step of a source.
func each(ctx context.Context, source replay.Source, do func(recording.Step)) error {
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
