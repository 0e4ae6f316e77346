package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/scope"
)

// Spans of the windows. The accept queue is judged in seconds, so its rates
// look back three; slopes over 60 s are what the lab measured
// (docs/SIGNALS.md).
const (
	rateSpan     = 3 * time.Second
	slopeSpan    = 60 * time.Second
	gaveUpSpan   = 10 * time.Second
	flowRateSpan = 10 * time.Second

	// fastestLook: 4 Hz, and at most four more looks a second while a finding is
	// suspected.
	fastestLook = 125 * time.Millisecond
)

// history is what Measure remembers of one scope.
type history struct {
	signals ScopeSignals
	// now is when the look in hand was made, and goodFor for how long what it
	// says may be relied on; see begin.
	now     time.Time
	goodFor time.Duration
	// touched: a reading changed since the view was brought up to date; none
	// grows stale before stalesAt.
	touched   bool
	stalesAt  time.Time
	drops     *Window
	dropSet   uint64
	lastSum   uint64
	slope     *Window // accepted
	gaveUp    *Window // un-accepted CLOSE_WAIT
	arrived   *Window // new flows, added up
	left      *Window
	waiting   time.Time       // since when no pulse saw the queue empty
	workers   workers         // of a service
	backend   *backend        // of a backend, and of a region
	region    *region         // of a region
	address   *address        // of one side of a switch
	namespace *counterHistory // the counters of its namespace
}

// everyLook returns a window that takes a sample at each look and covers span
// whatever their pace.
func everyLook(span time.Duration) *Window { return NewWindow(span, int(span/fastestLook)+2) }

func newHistory(id scope.ID, namespace *counterHistory) *history {
	h := &history{
		signals:   ScopeSignals{Scope: id},
		drops:     everyLook(rateSpan),
		slope:     everyLook(slopeSpan),
		gaveUp:    everyLook(gaveUpSpan),
		arrived:   everyLook(flowRateSpan),
		left:      everyLook(flowRateSpan),
		namespace: namespace,
	}
	switch id.Kind {
	case scope.KindService:
		h.workers = newWorkers()
	case scope.KindAddress:
		h.address = newAddress(id)
	case scope.KindBackend, scope.KindRegion:
		h.workers = workers{leaked: everyLook(slopeSpan), usual: usualFlows(flowsLeast)}
		h.backend = newBackend()
		if id.Kind == scope.KindRegion {
			h.region = newRegion()
		}
	}
	return h
}

// show brings the view's copy of the signals up to date. Most scopes of most
// steps have nothing new: a pulse says nothing of backends.
func (h *history) show(now time.Time, to *ScopeSignals) {
	if !now.Before(h.stalesAt) {
		h.expire(now)
	}
	if !h.touched && now.Before(h.stalesAt) && to.Scope == h.signals.Scope {
		to.Fresh = false
		return
	}
	h.signals.Fresh = true
	h.touched = false
	*to = h.signals
}

// begin takes up what a look of now says, which may be relied on for so long.
func (h *history) begin(now time.Time, good time.Duration) {
	h.now, h.goodFor = now, good
	if until := now.Add(good); until.Before(h.stalesAt) {
		h.stalesAt = until
	}
}

// set takes what the look in hand says of a signal.
func (h *history) set(sig Signal, value float64, samples int) {
	h.signals.Readings[sig] = Reading{Value: value, Samples: samples, Seen: h.now, Good: h.goodFor, Validity: Known}
	h.touched = true
}

// unknown says why signals cannot be told.
func (h *history) unknown(why Validity, sigs ...Signal) {
	for _, sig := range sigs {
		h.signals.Readings[sig].Validity = why
	}
	h.touched = true
}

// setIf sets a signal where it is known, and says why not where it is not.
func (h *history) setIf(known bool, sig Signal, value float64, samples int, why Validity) {
	if known {
		h.set(sig, value, samples)
	} else {
		h.unknown(why, sig)
	}
}

// setRate sets a signal to how many events a second the window has counted.
func (h *history) setRate(sig Signal, w *Window) {
	events, over := w.Change()
	h.setIf(over > 0, sig, events/over.Seconds(), int(events), NotEnough)
}

// expire marks what was seen too long ago, and notes when that is so next. A
// reading that is seen again until then makes it later than that.
func (h *history) expire(now time.Time) {
	h.stalesAt = now.Add(time.Hour)
	for i := range h.signals.Readings {
		r := &h.signals.Readings[i]
		if r.Validity != Known && r.Validity != NotFilling {
			continue
		}
		stales := r.Until()
		if now.After(stales) {
			r.Validity, h.touched = Stale, true
		} else if stales.Before(h.stalesAt) {
			h.stalesAt = stales
		}
	}
}
