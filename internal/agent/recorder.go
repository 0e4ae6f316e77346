package agent

import (
	"context"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// flightSpan is how far back the flight recorder goes, flightSize how many
	// bytes it keeps at most: 100 scopes under load take 2 MB.
	flightSpan = 15 * time.Minute
	flightSize = 4 << 20
	// normsEvery is how often a namespace's step is recorded with all norms that
	// hold there, not only those that changed; normsWithin is how much earlier
	// than was asked for a part of a recording begins, so that they are in it
	// before: findings that rest on them come out as they did.
	normsEvery  = 4 * time.Minute
	normsWithin = 5 * time.Minute
)

// recorder is the flight recorder: it encodes each step in the loop and hands the
// segments on, or keeps what the last minutes were. add and flush are the loop's; segments may be
// called by anybody.
type recorder struct {
	encoder *recording.Encoder
	// finished, when set, is given each segment that is finished, in the loop: it
	// must not wait. Its data is never changed.
	finished func(recording.Segment)

	mu   sync.Mutex
	ring *recording.Ring // nil: somebody else keeps the segments
}

func newRecorder() *recorder {
	return &recorder{encoder: recording.NewEncoder(recording.Limits{}), ring: recording.NewRing(flightSpan+normsWithin, flightSize)}
}

// add takes a step and keeps nothing of it. An error says that it was left out.
func (r *recorder) add(s measure.Step) error {
	done, err := r.encoder.Add(s)
	if done != nil {
		r.keep(*done)
	}
	return err
}

// flush finishes the segment under way, so that segments has all there is.
func (r *recorder) flush() {
	if done := r.encoder.Flush(); done != nil {
		r.keep(*done)
	}
}

func (r *recorder) keep(s recording.Segment) {
	if r.finished != nil {
		r.finished(s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring != nil {
		r.ring.Add(s)
	}
}

// segments returns those that are finished and hold a step between two times of
// the wall clock, oldest first.
func (r *recorder) segments(from, to time.Time) []recording.Segment {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring == nil {
		return nil
	}
	return r.ring.Segments(from, to)
}

// record gives the loop's recorder what each step takes.
func (a *agent) record(h *Host) {
	failed := false
	told := make(map[string]time.Time) // when all norms of a namespace were recorded
	h.tap(func(s measure.Step) {
		s.Offset, s.Began = a.clock.Offset(), a.started
		if s.Left {
			delete(told, s.Namespace)
		} else if s.At.Sub(told[s.Namespace]) >= normsEvery {
			if all := h.normsOf(s.Namespace); len(all) > 0 {
				s.Tallies.Norms = append(all, s.Tallies.Norms...) // who is gone comes last
				told[s.Namespace] = s.At
			}
		}
		err := a.recorder.add(s)
		if err != nil {
			a.leftOut = leftOut{a.leftOut.steps + 1, err.Error()}
		}
		if err != nil && !failed {
			a.log.Warn("the flight recorder leaves something out", "error", err.Error())
		}
		failed = err != nil
	}, nil)
}

// Recording implements api.Recorder: it writes what there is between two times
// to w as a file.
func (a *agent) Recording(ctx context.Context, w io.Writer, from, to time.Time) error {
	if err := a.ask(ctx, func(*Host) error { a.recorder.flush(); return nil }); err != nil {
		return err
	}
	now := a.clock.Now().Add(a.clock.Offset()).UTC()
	if from.IsZero() {
		from = now.Add(-flightSpan)
		if to.Before(now) {
			from = to.Add(-flightSpan)
		}
	}
	var file *recording.Writer
	write := func(s recording.Segment) (err error) {
		if file == nil {
			s := a.latest()
			file, err = recording.NewWriter(w, recording.Header{Host: s.Host, Foreshock: s.Version, Created: now, ScopeKinds: recording.ScopeKinds(), Labels: s.Labels})
			if err != nil {
				return err
			}
		}
		return file.Write(s)
	}
	if err := a.recorded(ctx, from, to, write); err != nil {
		return err
	}
	if file == nil {
		return api.ErrNoRecording
	}
	return file.Close()
}

// recorded hands the segments of a span to each, oldest first, with those before
// it that tell which norms held.
func (a *agent) recorded(ctx context.Context, from, to time.Time, each func(recording.Segment) error) error {
	from = from.Add(-normsWithin)
	if a.recorder.ring == nil {
		return a.keeper.segments(ctx, from, to, each)
	}
	for _, s := range a.recorder.segments(from, to) {
		if err := each(s); err != nil {
			return err
		}
	}
	return nil
}

// tap has every namespace's steps, and its end, given to steps, and what its
// Tallier is told to frames; either may be nil. It must be called before the
// first Tick.
func (h *Host) tap(steps func(measure.Step), frames func(recording.Frame)) {
	h.own.place.steps = steps
	h.own.tallier.frames = frames
}

// Tap is given what Record sees. What it is given is good until it returns.
type Tap struct {
	Steps func(measure.Step)
	// Frames, when set, is given every socket too.
	Frames func(recording.Frame)
}

// Record looks at this host in the calling goroutine until ctx ends, as the
// agent does and in all namespaces that the configuration wants, and gives the
// tap what it sees. It serves nothing; what balancers say of their backends it
// does not ask. A cancelled ctx is a nil return; the third look of the own
// namespace that fails on end is the error.
func Record(ctx context.Context, cfg config.Config, tap Tap) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rules, _, err := Rules(cfg, "the configuration")
	if err != nil {
		return err
	}
	h, err := NewHost(cfg, rules, observe.Auto, dial.New())
	if err != nil {
		return err
	}
	defer h.Close()
	h.own.place.processes.read = limitReader()
	clock := NewClock()
	began := clock.Now()
	steps := func(s measure.Step) { s.Offset, s.Began = clock.Offset(), began; tap.Steps(s) }
	if tap.Frames == nil {
		h.tap(steps, nil)
	} else {
		h.tap(steps, func(f recording.Frame) { f.Offset = clock.Offset(); tap.Frames(f) })
	}
	return watch(ctx, h, clock, nil)
}

// tallier is a Tallier whose every call is told to frames, where that is set.
type tallier struct {
	*measure.Tallier
	namespace string
	frames    func(recording.Frame)
	at        time.Time // of the look under way, or the last
	backends  []scope.Backend
	regions   []scope.Region
	switches  []scope.Switch
}

// tell gives a frame on. Before the first look there is nothing to tell: scopes
// are set after it, or by a reload, which a recording has none of.
func (t *tallier) tell(f recording.Frame) {
	if t.at.IsZero() {
		return
	}
	f.Namespace, f.At = t.namespace, t.at
	t.frames(f)
}

// SetScopes does, and tells.
func (t *tallier) SetScopes(services []scope.Service, backends []scope.Backend) {
	t.Tallier.SetScopes(services, backends)
	t.backends = backends
	if t.frames != nil {
		t.tell(recording.Frame{Kind: recording.FrameScopes, Scopes: &recording.Scopes{Services: services, Backends: backends, Regions: t.regions, Switches: t.switches}})
	}
}

// SetRegions does; SetScopes, which follows, tells.
func (t *tallier) SetRegions(all []scope.Region, index *scope.RegionIndex, always bool) {
	t.Tallier.SetRegions(all, index, always)
	t.regions = all
}

// SetSwitches does; SetScopes, which follows, tells.
func (t *tallier) SetSwitches(all []scope.Switch, always bool) {
	t.Tallier.SetSwitches(all, always)
	t.switches = all
}

// SetCapacity does, and tells.
func (t *tallier) SetCapacity(i int, c measure.Capacity) {
	t.Tallier.SetCapacity(i, c)
	if t.frames != nil {
		t.tell(recording.Frame{Kind: recording.FrameCapacity, Service: i, Capacity: c})
	}
}

// SetPorts does, and tells.
func (t *tallier) SetPorts(ports measure.Ports) {
	t.Tallier.SetPorts(ports)
	if t.frames != nil {
		t.tell(recording.Frame{Kind: recording.FramePorts, Ports: recording.PortsOf(ports, t.backends)})
	}
}

// Begin does, and tells.
func (t *tallier) Begin(look tcp.Look) {
	t.at = look.Begin
	t.Tallier.Begin(look)
	if t.frames != nil {
		t.tell(recording.Frame{Kind: recording.FrameBegin, Look: look})
	}
}

// Add does, and tells.
func (t *tallier) Add(batch []tcp.Socket) {
	t.Tallier.Add(batch)
	if t.frames != nil {
		t.tell(recording.Frame{Kind: recording.FrameBatch, Sockets: batch})
	}
}

// End does, and tells.
func (t *tallier) End(look tcp.Look, interval time.Duration) measure.Tallies {
	if t.frames != nil {
		t.tell(recording.Frame{Kind: recording.FrameEnd, Look: look, Interval: interval})
	}
	return t.Tallier.End(look, interval)
}
