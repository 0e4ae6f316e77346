package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Outbox keeps what is to be delivered, in memory. It is safe for concurrent
// use.
type Outbox struct {
	mu       sync.Mutex
	random   *rand.Rand
	channels []*channel
}

// sender delivers to one receiver. nil means that the receiver took the
// notice. now is the wall's time.
type sender interface {
	send(ctx context.Context, now time.Time, n *Notice) error
	close()
}

// channel counts what becomes of each notice over all of its lanes.
type channel struct {
	config Channel
	lanes  []*Lane
	// open holds what is not yet settled in every lane, by key.
	open                              map[string]*passage
	delivered, undelivered, displaced uint64
	lastDelivered                     time.Time
	lastError                         string
	lastErrorAt                       time.Time
}

// passage is one notice's way through a channel's lanes.
type passage struct {
	lanes     int // that still have it
	delivered bool
	givenUp   bool // by a lane
}

// Lane is the way to one receiver: a webhook's, one Alertmanager member's, or
// our log's. The roof runs each in a goroutine of its own, so that one that
// hangs holds up no other.
type Lane struct {
	outbox  *Outbox
	channel *channel
	name    string // the receiver's identity within its channel
	// The fields below are the outbox's to guard.
	sender  sender
	queue   queue
	failing bool // the last attempt failed
	// wake has room for one: something has changed. gone is closed by
	// Configure when the lane is no longer wanted.
	wake chan struct{}
	gone chan struct{}
}

// errRemoved is why a notice was not delivered to a receiver that is no more.
var errRemoved = errors.New("the receiver was taken out of the configuration")

// NewOutbox returns an empty outbox and the lanes to run. random spreads the
// retries; the outbox has it for itself from here.
func NewOutbox(random *rand.Rand, channels []Channel) (*Outbox, []*Lane) {
	o := &Outbox{random: random}
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
		c := &channel{open: make(map[string]*passage)}
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
		if i < 0 {
			l := &Lane{
				outbox: o, channel: c, name: r.name, sender: r.sender,
				queue: queue{latestOnly: config.Alertmanager != nil, limit: MaxQueued},
				wake:  make(chan struct{}, 1), gone: make(chan struct{}),
			}
			fresh, keep = append(fresh, l), append(keep, l)
			continue
		}
		l := c.lanes[i]
		c.lanes = slices.Delete(c.lanes, i, i+1)
		l.sender.close()
		l.sender = r.sender
		l.queue.hurry(now)
		l.nudge()
		keep = append(keep, l)
	}
	for _, l := range c.lanes {
		l.leave(now)
	}
	c.lanes = keep
	return fresh
}

type receiver struct {
	name   string
	sender sender
}

// receivers are where a channel's notices go. A webhook's lane has no
// name, so that it stays when the address is corrected.
func receivers(c *Channel) []receiver {
	switch {
	case c.Webhook != nil:
		u, _ := url.Parse(c.Webhook.URL) // the configuration has been read as one
		return []receiver{{"", &webhook{newClient(u, c.Webhook.RootCAs, c.Webhook.Dial), slices.Clone(c.Webhook.Key)}}}
	case c.Alertmanager != nil:
		var out []receiver
		for _, text := range c.Alertmanager.URLs {
			u, _ := url.Parse(text)
			out = append(out, receiver{text, &member{newClient(u.JoinPath("api/v2/alerts"), c.Alertmanager.RootCAs, c.Alertmanager.Dial)}})
		}
		return out
	case c.Library != nil:
		return []receiver{{"", &child{*c.Library}}}
	}
	return []receiver{{"", &journal{c.Log}}}
}

// Put takes notices for delivery. Those for a channel that is not there any
// more are left out: the roof configures planner and outbox together.
func (o *Outbox) Put(notices []Notice) {
	if len(notices) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for i := range notices {
		for _, c := range o.channels {
			if c.config.Name != notices[i].Channel {
				continue
			}
			c.open[notices[i].Key] = &passage{lanes: len(c.lanes)}
			for _, l := range c.lanes {
				for _, end := range l.queue.push(now, notices[i]) {
					c.end(now, end)
				}
				l.nudge()
			}
		}
	}
}

// Run delivers the lane's notices until ctx ends or the lane is taken out of
// the configuration, and returns nil then. What is queued stays queued.
func (l *Lane) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		n, sender, at, ok := l.take()
		if ok {
			l.settle(ctx, sender.send(ctx, time.Now(), &n))
			continue
		}
		timer.Stop()
		if !at.IsZero() {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
		case <-l.gone:
			return nil
		case <-l.wake:
		case <-timer.C:
		}
	}
	return nil
}

func (l *Lane) take() (Notice, sender, time.Time, bool) {
	l.outbox.mu.Lock()
	defer l.outbox.mu.Unlock()
	n, at, ok := l.queue.take(time.Now())
	return n, l.sender, at, ok
}

func (l *Lane) settle(ctx context.Context, err error) {
	l.outbox.mu.Lock()
	defer l.outbox.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		l.queue.release()
		return
	}
	now := time.Now()
	if l.failing = err != nil; err != nil {
		err = fmt.Errorf("channel %s: %w", l.channel.config.Name, err)
		l.channel.lastError, l.channel.lastErrorAt = err.Error(), now
	}
	if end, ended := l.queue.settle(now, err, l.outbox.random); ended {
		l.channel.end(now, end)
	}
}

// nudge wakes Run; one nudge is enough for any number of changes.
func (l *Lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// leave ends the lane and what waits in it.
func (l *Lane) leave(now time.Time) {
	for _, end := range l.queue.empty(errRemoved) {
		l.channel.end(now, end)
	}
	l.sender.close()
	close(l.gone)
}

// end notes that one lane is through with a notice. The notice is delivered
// with the first lane that delivers it; else it is undelivered when no lane
// has it any more and one gave it up.
func (c *channel) end(now time.Time, e outcome) {
	p := c.open[e.notice.Key]
	if p == nil {
		return
	}
	p.lanes--
	switch e.state {
	case Delivered:
		c.lastDelivered = now
		if !p.delivered {
			p.delivered = true
			c.delivered++
		}
	case Undelivered:
		p.givenUp = true
		if errors.Is(e.err, errOverflow) || errors.Is(e.err, errRemoved) { // no attempt has noted these
			c.lastError, c.lastErrorAt = fmt.Sprintf("channel %s: %v", c.config.Name, e.err), now
		}
	case Superseded:
	}
	if p.lanes > 0 {
		return
	}
	delete(c.open, e.notice.Key)
	switch {
	case p.delivered:
	case p.givenUp:
		c.undelivered++
	default:
		c.displaced++
	}
}

// Status says how each channel does, in the order of the configuration.
func (o *Outbox) Status() []Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]Status, 0, len(o.channels))
	for _, c := range o.channels {
		s := Status{
			Name: c.config.Name, Kind: c.config.Kind(),
			Delivered: c.delivered, Undelivered: c.undelivered, Superseded: c.displaced,
			LastError: c.lastError, LastErrorAt: c.lastErrorAt, LastDeliveredAt: c.lastDelivered,
		}
		for _, p := range c.open {
			if !p.delivered {
				s.Queued++
			}
		}
		s.Failing = !slices.ContainsFunc(c.lanes, func(l *Lane) bool { return !l.failing })
		out = append(out, s)
	}
	return out
}
