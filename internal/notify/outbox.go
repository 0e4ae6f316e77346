package notify

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Outbox keeps what is to be delivered in memory, and knows what of it is kept
// outside too. It is safe for concurrent use.
type Outbox struct {
	mu       sync.Mutex
	random   *rand.Rand
	ended    func(Ending)
	channels []*channel
}

// channel counts what becomes of each notice over all of its lanes.
type channel struct {
	config Channel
	lanes  []*Lane
	// open holds what is in memory and not yet settled in every lane, by key.
	open map[string]*passage
	// beyond is how many notices wait where they are kept, and not in memory.
	// Those of unwritten, by key, are not yet written there.
	beyond    int
	unwritten map[string]bool

	delivered, undelivered, displaced, unkept uint64
	lastDelivered                             time.Time
	lastError                                 string
	lastErrorAt                               time.Time
}

// passage is one notice's way through a channel's lanes.
type passage struct {
	lanes     int // that still have it
	queuedAt  time.Time
	kept      bool // it is written
	tried     bool
	delivered bool
	givenUp   bool // by a lane
	attempts  int
	problem   error
}

// NewOutbox returns an empty outbox and the lanes to run. random spreads the
// retries; the outbox has it for itself from here. ended, unless nil, is told how
// each notice's way ended; it is called with the outbox locked, and must neither
// wait nor call it.
func NewOutbox(random *rand.Rand, ended func(Ending), channels []Channel) (*Outbox, []*Lane) {
	if ended == nil {
		ended = func(Ending) {}
	}
	o := &Outbox{random: random, ended: ended}
	return o, o.Configure(channels)
}

// Configure sets the channels anew and returns the lanes that are new, for
// the roof to run; Run of those that are no longer wanted returns. A channel
// that keeps name and kind keeps its queue and counts, also with another
// address or key, and tries again at once.
func (o *Outbox) Configure(channels []Channel) []*Lane {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	var fresh []*Lane
	before := o.channels
	o.channels = nil
	for _, config := range channels {
		c := &channel{open: make(map[string]*passage), unwritten: make(map[string]bool)}
		if i := slices.IndexFunc(before, func(b *channel) bool { return b.config.id() == config.id() }); i >= 0 {
			c = before[i]
			before = slices.Delete(before, i, i+1)
		}
		fresh = append(fresh, o.fit(now, c, config)...)
		o.channels = append(o.channels, c)
	}
	for _, c := range before {
		for _, l := range c.lanes {
			l.leave(now)
		}
	}
	return fresh
}

// fit gives a channel the lanes of its configuration and returns the new ones.
func (o *Outbox) fit(now time.Time, c *channel, config Channel) []*Lane {
	c.config = config
	var fresh, keep []*Lane
	for _, r := range receivers(&config) {
		i := slices.IndexFunc(c.lanes, func(l *Lane) bool { return l.name == r.name })
		var l *Lane
		if i < 0 {
			l = &Lane{
				outbox: o, channel: c, name: r.name, sender: r.sender,
				queue: queue{latestOnly: config.Alertmanager != nil, limit: MaxQueued},
				wake:  make(chan struct{}, 1), gone: make(chan struct{}),
			}
			fresh = append(fresh, l)
		} else {
			l = c.lanes[i]
			c.lanes = slices.Delete(c.lanes, i, i+1)
			l.sender.close()
			l.sender = r.sender
			l.queue.hurry()
		}
		l.queue.giveUp, l.queue.perHour = cmp.Or(config.GiveUp, GiveUpAfter), config.MaxPerHour
		l.nudge()
		keep = append(keep, l)
	}
	for _, l := range c.lanes {
		l.leave(now)
	}
	c.lanes = keep
	return fresh
}

// find returns the channel of a name, of one kind or, where that is empty, of
// any; nil when there is none.
func (o *Outbox) find(name, kind string) *channel {
	i := slices.IndexFunc(o.channels, func(c *channel) bool {
		return c.config.Name == name && (kind == "" || c.config.Kind() == kind)
	})
	if i < 0 {
		return nil
	}
	return o.channels[i]
}

// Put takes notices for delivery. Those for a channel that is not there any
// more are left out: the roof configures planner and outbox together.
//
// keep, unless nil, has them written outside, and reports whether that is to be
// waited for: then they are held until Written or Unwritten names them, for
// KeepWithin at most. It is called with the outbox locked, and must neither wait
// nor call it.
func (o *Outbox) Put(notices []Notice, keep func() bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	l := letter{queuedAt: now}
	held := keep != nil && keep()
	if held {
		l.heldUntil = now.Add(KeepWithin)
	}
	for i := range notices {
		l.notice = notices[i]
		c := o.find(l.notice.Channel, "")
		switch {
		case c == nil:
		case held && c.full():
			c.beyond++
			c.unwritten[l.notice.Key] = true
		default:
			o.add(now, c, l, false)
		}
	}
}

// full reports whether a notice that is kept goes to where it is kept, and not to
// memory: there is no room, or others wait there that go first. A channel with
// several receivers has its room for each of them, and there the oldest goes.
func (c *channel) full() bool {
	return len(c.lanes) == 1 && !c.lanes[0].queue.latestOnly && (c.beyond > 0 || len(c.lanes[0].queue.letters) >= MaxQueued)
}

// add puts a letter on every lane.
func (o *Outbox) add(now time.Time, c *channel, l letter, kept bool) {
	c.open[l.notice.Key] = &passage{lanes: len(c.lanes), queuedAt: l.queuedAt, kept: kept}
	for _, lane := range c.lanes {
		for _, end := range lane.queue.push(l) {
			o.end(now, c, end)
		}
		lane.nudge()
	}
}

// end notes that one lane is through with a notice. The notice is delivered
// with the first lane that delivers it; else it is undelivered when no lane
// has it any more and one gave it up.
func (o *Outbox) end(now time.Time, c *channel, e outcome) {
	p := c.open[e.notice.Key]
	if p == nil {
		return
	}
	p.lanes--
	p.attempts += e.attempts
	switch e.state {
	case Delivered:
		c.lastDelivered = now
		if !p.delivered {
			p.delivered = true
			c.delivered++
		}
	case Undelivered:
		p.givenUp, p.problem = true, e.err
		if e.err.Error() != c.lastError { // no attempt has noted it
			c.failed(now, e.err)
		}
	case Superseded:
	}
	if p.lanes > 0 {
		return
	}
	delete(c.open, e.notice.Key)
	x := Ending{Ref: Ref{c.config.Name, e.notice.Key}, At: now, State: Superseded, Attempts: p.attempts, Repeat: e.notice.Repeats()}
	switch {
	case p.delivered:
		x.State = Delivered
	case p.givenUp:
		c.undelivered++
		x.State, x.Error = Undelivered, strings.TrimPrefix(p.problem.Error(), c.prefix())
	default:
		c.displaced++
	}
	o.ended(x)
}

// failed notes what went wrong where no attempt did.
func (c *channel) failed(now time.Time, err error) {
	c.lastError, c.lastErrorAt = c.prefix()+err.Error(), now
}

// prefix is before each last error.
func (c *channel) prefix() string { return "channel " + c.config.Name + ": " }

// Status says how each channel does, in the order of the configuration.
func (o *Outbox) Status() []Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	out := make([]Status, 0, len(o.channels))
	for _, c := range o.channels {
		s := Status{
			Name: c.config.Name, Kind: c.config.Kind(), Queued: c.beyond, Kept: c.beyond - len(c.unwritten),
			Delivered: c.delivered, Undelivered: c.undelivered, Superseded: c.displaced, Unkept: c.unkept,
			LastError: c.lastError, LastErrorAt: c.lastErrorAt, LastDeliveredAt: c.lastDelivered,
		}
		for _, p := range c.open {
			if p.delivered {
				continue
			}
			s.Queued++
			if p.kept {
				s.Kept++
			}
			if s.OldestAt.IsZero() || p.queuedAt.Before(s.OldestAt) {
				s.OldestAt = p.queuedAt
			}
		}
		s.Failing = !slices.ContainsFunc(c.lanes, func(l *Lane) bool { return !l.failing })
		if !slices.ContainsFunc(c.lanes, func(l *Lane) bool { return !l.queue.freeAt().After(now) }) {
			s.Held = s.Queued
		}
		out = append(out, s)
	}
	return out
}
