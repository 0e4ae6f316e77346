package main

import (
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/foreshock/foreshock/internal/court"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/recording/replay"
)

// kept makes the history of a host that never was, with its incidents, its
// minutes, and its raw tallies from a time after its start on: kept DIR SPAN RAW
// [KIND=SCOPE,FROM,TO …]. See made.
func kept(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: kept DIR SPAN RAW [KIND=SCOPE,FROM,TO …]")
	}
	cfg := madeHost(ts, args[1], args[3:])
	raw, err := time.ParseDuration(args[2])
	ts.Check(err)
	s, err := history.Open(ts.MkAbs(args[0]), history.Config{
		Limits: history.Limits{Raw: 24 * time.Hour, Minutes: 28 * 24 * time.Hour, MaxSize: 1 << 30},
		Ended:  func(document []byte, _ time.Time) ([]byte, error) { return document, nil },
		Wall:   func() time.Time { return recordingtest.Start },
		Steady: func() time.Duration { return 0 },
	})
	ts.Check(err)
	ts.Check(s.Batch(func() error {
		keepHost(ts, s, cfg, recordingtest.Start.Add(raw))
		return nil
	}))
	ts.Check(s.Close())
}

func keepHost(ts *testscript.TestScript, s *history.Store, cfg recordingtest.Config, raw time.Time) {
	c, minutes, encoder := court.New(nil, &judge.Numbers{}), baseline.NewMinutes(), recording.NewEncoder(recording.Limits{})
	put := func(seg *recording.Segment) {
		if seg != nil {
			ts.Check(s.PutSegment(*seg))
		}
	}
	var follower replay.Follower
	for host := recordingtest.New(cfg); ; {
		step, err := host.Next()
		if err != nil {
			break
		}
		_, view := c.Step(step)
		if m := minutes.Take(step.At, view); m != nil {
			ts.Check(s.PutMinute(m.Start, baseline.AppendMinute(nil, m)))
		}
		if !step.At.Before(raw) {
			seg, err := encoder.Add(step)
			ts.Check(err)
			put(seg)
		}
		for _, change := range follower.Changes(step.At, step.Offset, c.Life(), c.Incidents(step.At)) {
			i := &change.Incident
			if change.Kind == replay.Suspected || change.Kind == replay.Dropped {
				continue
			}
			ts.Check(s.PutIncidents([]history.Incident{{
				ID: i.ID, Scope: i.Finding.Scope.String(), Cause: i.Finding.Cause.String(), State: i.State.String(), Severity: i.Finding.Severity.String(), Peak: i.Peak.String(),
				Over: change.Kind == replay.Resolved, SuspectedAt: i.SuspectedAt, OpenedAt: i.OpenedAt, ResolvedAt: i.ResolvedAt, UpdatedAt: i.UpdatedAt, Document: []byte("{}"),
			}}))
		}
	}
	put(encoder.Flush())
}
