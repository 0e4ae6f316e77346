package measure

import (
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// The forecast. Levels and spans are the lab's (docs/SIGNALS.md).
const (
	fullInSpan = 60 * time.Second
	fastSpan   = 15 * time.Second
	riseSpan   = 5 * time.Minute
	// perSample: occupied is taken as the mean of each second, so that looking
	// closer while something is suspected does not make chance look certain.
	perSample = time.Second
	// fillingErrors is by how many standard errors the slope must be above
	// zero, and fillingLevel from which share of the limit on a forecast means
	// something.
	fillingErrors = 3
	fastErrors    = 5
	fillingLevel  = 0.3
	// learnAfter is for how long more than learnQueue connections must wait for
	// what is occupied to be all the workers there are; shorter stretches, as a
	// server starts more processes, teach too small a number.
	learnAfter = 5 * time.Second
	learnQueue = 2
	// contradictedAbove times the given limit occupied for disbelieveAfter say
	// that it is not this server's. A request that waits inside an event-driven
	// server looks like a served one, hence the margin.
	contradictedAbove = 1.5
	disbelieveAfter   = 30 * time.Second
	believeAgain      = 60 * time.Second
	// leakErrors is by how many standard errors leaked sockets must grow.
	leakErrors = 3
	// usualEvery: what new connections usually are, in means of so long. At
	// least usualLeast of it must have been seen.
	usualEvery = 10 * time.Second
	usualLeast = 10 * time.Minute

	descriptorsSpan = 5 * time.Minute
)

// workers is what Measure remembers of a service's workers; of a backend only
// what leaks and what is usual.
type workers struct {
	slow, fast *Window // occupied, one sample a second
	rise       *Window
	second     meanOf
	learning   *Window // occupied while connections wait
	learned    float64 // 0: never
	leaked     *Window
	descrs     *Window
	usual      baseline
	// disbelieved: more were occupied than the given limit; changing is since
	// when the opposite has been seen.
	disbelieved bool
	changing    time.Time
	flows       meanOf
}

func newWorkers() workers {
	return workers{
		slow: NewWindow(fullInSpan, 64), fast: NewWindow(fastSpan, 32), rise: NewWindow(riseSpan, 304),
		learning: everyLook(learnAfter), leaked: everyLook(slopeSpan),
		descrs: NewWindow(descriptorsSpan, 128), usual: usualFlows(usualLeast),
	}
}

// usualFlows learns what new connections usually are, once least of them was
// seen. Less than half of the usual is an outage.
func usualFlows(least time.Duration) baseline {
	return baseline{
		past: NewWindow(usualSpan, int(usualSpan/usualEvery)+2), least: least, settled: least,
		strange: func(mean, usual float64) bool { return mean < usual/2 },
	}
}

// meanOf adds up samples until a stretch of time is over.
type meanOf struct {
	emitted time.Time
	sum     float64
	count   int
}

// add takes a sample, and returns the mean of those since the last mean once
// every has passed.
func (m *meanOf) add(at time.Time, value float64, every time.Duration) (mean float64, done bool) {
	m.sum += value
	m.count++
	// Looks come a little early or late: nine tenths make a stretch.
	if !m.emitted.IsZero() && at.Sub(m.emitted) < every*9/10 {
		return 0, false
	}
	mean = m.sum / float64(m.count)
	*m = meanOf{emitted: at}
	return mean, true
}

// takeWorkers measures a service's workers from a look at all states.
func (h *history) takeWorkers(y *Tally, look *tcp.Look) {
	info := look.Abilities.Has(tcp.CanInfo) && look.Request.Info
	occupied, known := float64(y.Busy), info
	if y.Capacity.Held == scope.HeldByConnection {
		occupied, known = float64(y.Accepted), true
	}
	if !known {
		h.unknown(NoAbility, WorkersOccupied, WorkersSlope, WorkersFullIn, WorkersFullInError, WorkersFullInFast, WorkersRise, TurnAwayLimit)
	} else {
		h.takeOccupied(occupied, float64(y.Capacity.Workers), y.Capacity.TurnsAway)
	}
	h.setIf(info, SlowClients, float64(y.SlowClients), int(y.Accepted), NoAbility)
	h.set(StuckClosing, float64(y.StuckClosing), int(y.StuckClosing))
	h.takeLeaked(float64(y.Leaked))
	h.takeDescriptors(&y.Capacity)
	h.takeUsual()
}

func (h *history) takeOccupied(occupied, limit float64, turnsAway bool) {
	now := h.now
	w := &h.workers
	h.set(WorkersOccupied, occupied, int(occupied))
	if mean, done := w.second.add(now, occupied, perSample); done {
		w.slow.Add(now, mean)
		w.fast.Add(now, mean)
		w.rise.Add(now, mean)
	}
	w.learn(now, occupied, &h.signals)
	why := NoLimit
	if limit > 0 && !w.believable(now, occupied, limit) {
		limit, why = 0, Contradicted
	}
	if limit == 0 {
		limit = w.learned
	}
	h.setIf(limit > 0, WorkersLimit, limit, int(limit), why)
	if !turnsAway {
		why = NotSuch
	}
	h.setIf(limit > 0 && turnsAway, TurnAwayLimit, limit, int(limit), why)
	trend, ok := w.slow.Trend()
	h.setIf(ok && w.slow.Covers() >= fullInSpan/4, WorkersSlope, trend.PerSecond, w.slow.Len(), NotEnough)
	h.forecast(WorkersFullIn, w.slow, fillingErrors, limit)
	h.forecast(WorkersFullInFast, w.fast, fastErrors, limit)
	fullIn := h.signals.Readings[WorkersFullIn]
	h.setIf(fullIn.Validity == Known, WorkersFullInError, fullIn.Value*2*trend.Error/trend.PerSecond, w.slow.Len(), fullIn.Validity)
	since, ok := w.rise.SinceAtMost(occupied / 2)
	h.setIf(ok && occupied > 1, WorkersRise, since.Seconds(), w.rise.Len(), NotEnough)
}

// forecast says when the line through a window reaches the limit.
func (h *history) forecast(sig Signal, w *Window, errors, limit float64) {
	trend, ok := w.Trend()
	switch {
	case limit == 0:
		h.unknown(NoLimit, sig)
	case !ok || w.Covers() < w.span/2:
		h.unknown(NotEnough, sig)
	case h.workers.learning.Len() > 0 && h.workers.learned == limit:
		h.notFilling(sig, w.Len()) // it is full: that is how the limit is learned
	case !trend.Beyond(errors) || trend.Level < fillingLevel*limit || !w.StillRising(trend):
		h.notFilling(sig, w.Len())
	default:
		h.set(sig, math.Max(0, limit-trend.Level)/trend.PerSecond, w.Len())
	}
}

// believable reports whether a limit that somebody gave can be true: more are
// served at once only while a server is being replaced by the next, or when the
// limit is another's. Once disbelieved, it must fit for a while again.
func (w *workers) believable(now time.Time, occupied, limit float64) bool {
	fits := occupied <= limit*contradictedAbove
	if fits == w.disbelieved {
		if w.changing.IsZero() {
			w.changing = now
		}
		if held := now.Sub(w.changing); w.disbelieved && held >= believeAgain || !w.disbelieved && held >= disbelieveAfter {
			w.disbelieved, w.changing = !w.disbelieved, time.Time{}
		}
	} else {
		w.changing = time.Time{}
	}
	return !w.disbelieved
}

func (h *history) notFilling(sig Signal, samples int) {
	h.set(sig, 0, samples)
	h.unknown(NotFilling, sig)
}

// learn takes what is occupied while connections wait for all the workers
// there are.
func (w *workers) learn(now time.Time, occupied float64, s *ScopeSignals) {
	if w.learned > 0 && occupied > w.learned {
		w.learned = occupied // so many are served at once
	}
	depth, known := s.Readings[QueueDepth].Get()
	if !known || depth <= learnQueue {
		w.learning.Reset()
		return
	}
	w.learning.Add(now, occupied)
	if w.learning.Covers() < learnAfter {
		return
	}
	if median, ok := w.learning.Median(); ok && median >= 1 {
		w.learned = median
	}
}

func (h *history) takeLeaked(leaked float64) {
	w := h.workers.leaked
	h.set(CloseWaitLeaked, leaked, int(leaked))
	w.Add(h.now, leaked)
	if leaked == 0 && w.Covers() >= slopeSpan/2 {
		h.set(CloseWaitLeakedSlope, 0, w.Len())
		return
	}
	trend, ok := w.Trend()
	switch {
	case !ok || w.Covers() < slopeSpan/2:
		h.unknown(NotEnough, CloseWaitLeakedSlope)
	case !trend.Beyond(leakErrors):
		h.set(CloseWaitLeakedSlope, 0, w.Len())
	default:
		h.set(CloseWaitLeakedSlope, trend.PerSecond, w.Len())
	}
}

func (h *history) takeDescriptors(c *Capacity) {
	w := h.workers.descrs
	if c.DescriptorsLimit == 0 {
		w.Reset()
		h.unknown(NoAbility, DescriptorsUsed, DescriptorsLimit, DescriptorsSlope)
		return
	}
	h.set(DescriptorsUsed, float64(c.DescriptorsUsed), 1)
	h.set(DescriptorsLimit, float64(c.DescriptorsLimit), 1)
	if w.Len() == 0 || w.Since(h.now) >= 5*time.Second {
		w.Add(h.now, float64(c.DescriptorsUsed))
	}
	trend, ok := w.Trend()
	if !ok || w.Covers() < time.Minute {
		h.unknown(NotEnough, DescriptorsSlope)
		return
	}
	h.set(DescriptorsSlope, trend.PerSecond, w.Len())
}

// takeUsual follows what new connections usually are.
func (h *history) takeUsual() {
	w := &h.workers
	rate, known := h.signals.Readings[NewFlowsRate].Get()
	if !known {
		w.flows = meanOf{}
	} else if mean, done := w.flows.add(h.now, rate, usualEvery); done {
		w.usual.learn(h.now, mean)
	}
	h.setUsual(NewFlowsUsual, &w.usual)
	h.setNorm()
}
