package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/series"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// A series begins seriesBefore the suspicion and ends seriesAfter the end.
	seriesBefore = 5 * time.Minute
	seriesAfter  = time.Minute
	// Raw tallies are played of its beginning and of its end, as far as the
	// history keeps them for it; minutes answer for what is between.
	seriesHead = 15 * time.Minute
	seriesTail = 5 * time.Minute
	// mostSeries bounds the signals of one; causes show up to fifteen.
	mostSeries = 32
)

// SeriesSource gives what was kept. Times are the wall's.
type SeriesSource struct {
	// Segments hands on the raw tallies that overlap a span, and those of five
	// minutes before it, in the order in which they were written.
	Segments func(ctx context.Context, from, to time.Time, each func(recording.Segment) error) error
	// Minutes hands on those that began in a span, likewise.
	Minutes func(ctx context.Context, from, to time.Time, each func(data []byte) error) error
}

// SeriesOf makes the series of an incident of what was kept of it; now is for
// one that goes on. The error is that of ctx, or of the source; what is damaged
// is passed over, and noted.
func SeriesOf(ctx context.Context, i *api.Incident, now time.Time, from SeriesSource) (api.Series, error) {
	plan, err := planSeries(i, now)
	if err != nil {
		return api.Series{}, err
	}
	drawn := series.New(plan.wanted)
	damaged := 0
	for _, span := range plan.raw {
		if err := plan.play(ctx, drawn, span, from, &damaged); err != nil {
			return api.Series{}, err
		}
	}
	unreadable := 0
	err = from.Minutes(ctx, plan.wanted.From, plan.wanted.To, func(data []byte) error {
		m, err := baseline.DecodeMinute(data)
		if err != nil {
			unreadable++
			return ctx.Err()
		}
		drawn.Minute(m)
		return ctx.Err()
	})
	if bad, ok := errors.AsType[*history.UnreadableError](err); ok {
		unreadable, err = unreadable+bad.Rows, nil
	}
	if err != nil {
		return api.Series{}, err
	}
	if damaged > 0 {
		plan.note("%s of raw tallies cannot be read", plural(damaged, "piece", "pieces"))
	}
	if unreadable > 0 {
		plan.note("%s cannot be read", plural(unreadable, "minute", "minutes"))
	}
	return plan.answer(i, drawn), nil
}

// span is a time of the wall's clock.
type span struct{ from, to time.Time }

// seriesPlan is what a series is made of.
type seriesPlan struct {
	wanted series.Wanted
	raw    []span
	levels map[measure.Signal]*float64 // nil: context
	notes  []string
}

func (p *seriesPlan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// planSeries reads from an incident what is to be drawn. Its JSON may be of
// another program: what is not known is left out, and noted.
func planSeries(i *api.Incident, now time.Time) (*seriesPlan, error) {
	id, ok := scope.Parse(i.Scope)
	if !ok {
		return nil, fmt.Errorf("make the series of incident %d: this program knows no scope %.200q", i.ID, i.Scope)
	}
	if i.SuspectedAt == nil {
		return nil, fmt.Errorf("make the series of incident %d: it does not say when it was suspected", i.ID)
	}
	p := &seriesPlan{wanted: series.Wanted{Scope: id, From: i.SuspectedAt.Add(-seriesBefore), To: now}, levels: make(map[measure.Signal]*float64)}
	if i.ResolvedAt != nil && i.ResolvedAt.Add(seriesAfter).Before(now) {
		p.wanted.To = i.ResolvedAt.Add(seriesAfter)
	}
	if !p.wanted.To.After(p.wanted.From) {
		return nil, fmt.Errorf("make the series of incident %d: it ended before it was suspected: the clock was set", i.ID)
	}
	named := make(map[string]measure.Signal, measure.NumSignals)
	for _, sig := range measure.Signals() {
		named[sig.String()] = sig
	}
	for k := range i.Evidence {
		e := &i.Evidence[k]
		sig, known := named[strings.TrimPrefix(e.Signal, "host.")] // as rules write it
		switch {
		case !known:
			p.note("%.200s is worked out, or of another version: it is not drawn", e.Signal)
		case len(p.wanted.Signals) == mostSeries:
		case !slices.Contains(p.wanted.Signals, sig):
			p.wanted.Signals = append(p.wanted.Signals, sig)
			p.levels[sig] = e.Threshold
		}
	}
	p.raw = rawSpans(i, p.wanted)
	return p, nil
}

// rawSpans are those of which raw tallies are played: all of a short incident,
// else its beginning and its end.
func rawSpans(i *api.Incident, w series.Wanted) []span {
	opened := *i.SuspectedAt
	if i.OpenedAt != nil && i.OpenedAt.Sub(opened) < seriesHead { // else it was about to for long
		opened = *i.OpenedAt
	}
	head, tail := span{w.From, opened.Add(seriesHead)}, span{w.To.Add(-seriesTail - seriesAfter), w.To}
	if !head.to.Before(tail.from.Add(-normsWithin)) {
		return []span{{w.From, w.To}}
	}
	return []span{head, tail}
}

// play plays the raw tallies of a span.
func (p *seriesPlan) play(ctx context.Context, drawn *series.Series, of span, from SeriesSource, damaged *int) error {
	decoder := recording.NewDecoder()
	err := from.Segments(ctx, of.from, of.to, func(s recording.Segment) error {
		err := decoder.Reset(s.Data)
		for err == nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var one recording.Record
			if one, err = decoder.Next(); err != nil || one.Frame != nil {
				continue
			}
			switch at := one.Step.At.Add(one.Step.Offset); {
			case at.Before(of.from):
				drawn.Warm(one.Step)
			case at.Before(of.to):
				drawn.Step(one.Step)
			}
		}
		if !errors.Is(err, io.EOF) {
			*damaged++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("play what was kept again: %w", err)
	}
	return nil
}

// answer is the series as the API has it.
func (p *seriesPlan) answer(i *api.Incident, drawn *series.Series) api.Series {
	out := api.Series{
		Incident: i.ID, From: p.wanted.From.UTC(), To: p.wanted.To.UTC(),
		Sources: []api.SeriesSource{}, Signals: []api.SignalSeries{}, Notes: append([]string{}, p.notes...),
	}
	for _, s := range drawn.Spans() {
		out.Sources = append(out.Sources, api.SeriesSource{From: s.From, To: s.To, Source: string(s.Source)})
	}
	for _, x := range drawn.Signals() {
		def := x.Signal.Definition()
		y := api.SignalSeries{Signal: x.Signal.String(), Scope: x.Scope.String(), Unit: string(def.Unit), Help: def.Help, Threshold: p.levels[x.Signal], Points: make([]api.SeriesPoint, 0, len(x.Points))}
		for _, point := range x.Points {
			z := api.SeriesPoint{At: point.At, Seconds: point.For.Seconds(), Unknown: point.Unknown}
			if point.Unknown == "" {
				z.Least, z.Mean, z.Greatest = &point.Least, &point.Mean, &point.Greatest
			}
			y.Points = append(y.Points, z)
		}
		out.Signals = append(out.Signals, y)
	}
	return out
}

// Series implements api.Player: one is made at a time.
func (a *agent) Series(ctx context.Context, i *api.Incident) (api.Series, error) {
	select {
	case a.playing <- struct{}{}:
		defer func() { <-a.playing }()
	case <-ctx.Done():
		return api.Series{}, api.ErrSeriesBusy
	}
	if err := a.ask(ctx, func(*Host) error { a.recorder.flush(); return nil }); err != nil {
		return api.Series{}, err
	}
	now := a.clock.Now().Add(a.clock.Offset()).UTC()
	return SeriesOf(ctx, i, now, SeriesSource{Segments: a.recorded, Minutes: a.keeper.minutes})
}

// HistorySeries reads from a history that is open for reading.
func HistorySeries(r *history.Reader) SeriesSource {
	return SeriesSource{
		Segments: func(_ context.Context, from, to time.Time, each func(recording.Segment) error) error {
			return r.Segments(from.Add(-normsWithin), to, each)
		},
		Minutes: func(_ context.Context, from, to time.Time, each func([]byte) error) error {
			return r.Minutes(from, to, func(_ time.Time, data []byte) error { return each(data) })
		},
	}
}

// minutes hands on those of a span that are in the file; without one there are
// none.
func (k *keeper) minutes(ctx context.Context, from, to time.Time, each func([]byte) error) error {
	if k.dir == "" {
		return nil
	}
	select {
	case k.reading <- struct{}{}:
		defer func() { <-k.reading }()
	case <-ctx.Done():
		return fmt.Errorf("read the history: others do: %w", ctx.Err())
	}
	r, err := history.OpenReader(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return HistorySeries(r).Minutes(ctx, from, to, each)
}
