package notify

import (
	"cmp"
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
	open map[string]*passage
	// ended holds the last endings, the newest last.
	ended                             []Entry
	delivered, undelivered, displaced uint64
	lastDelivered                     time.Time
	lastError                         error
	lastErrorAt                       time.Time
}

// passage is one notice's way through a channel's lanes.
type passage struct {
	lanes     int // that still have it
	delivered bool
	err       error // why a lane gave up
	attempts  int
}

// maxEnded is how many endings of each channel are remembered.
const maxEnded = 100

// Lane is the way to one receiver: a webhook's, one Alertmanager member's, or
// our log's. The roof runs each in a goroutine of its own, so that one that
// hangs holds up no other.
type Lane struct {
	outbox  *Outbox
	channel *channel
	name    string // the receiver's identity within its channel
	host    string // for people
	// The fields below are the outbox's to guard.
	sender        sender
	queue         queue
	lastDelivered time.Time
	lastError     error
	// wake has room for one: something has changed. gone is closed by
	// Configure when the lane is no longer wanted.
	wake chan struct{}
	gone chan struct{}
}

// errRemoved is why a notice was not delivered to a receiver that is no more.
var errRemoved = errors.New("the receiver was taken out of the configuration")

// NewOutbox returns an empty outbox and the lanes to run. random spreads the
// retries; the outbox has it for itself from here.
func NewOutbox(random *rand.Rand, channels []Channel) (*Outbox, []*Lane, error) {
	o := &Outbox{random: random}
	lanes, err := o.Configure(channels)
	if err != nil {
		return nil, nil, err
	}
	return o, lanes, nil
}

// Configure sets the channels anew and returns the lanes that are new, for
// the roof to run; Run of those that are no longer wanted returns. A channel
// that keeps name and kind keeps its queue and counts, also with another
// address or key, and tries again at once. With an error nothing changes.
func (o *Outbox) Configure(channels []Channel) ([]*Lane, error) {
	if err := validate(channels); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	var fresh []*Lane
	before := o.channels
	o.channels = nil
	for _, config := range channels {
		c := &channel{open: make(map[string]*passage)}
		if i := slices.IndexFunc(before, func(b *channel) bool {
			return b.config.Name == config.Name && b.config.Kind() == config.Kind()
		}); i >= 0 {
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
	return fresh, nil
}

// fit gives a channel the lanes of its configuration and returns the new ones.
func (o *Outbox) fit(now time.Time, c *channel, config Channel) []*Lane {
	c.config = config
	var fresh, keep []*Lane
	for _, r := range receivers(&config) {
		i := slices.IndexFunc(c.lanes, func(l *Lane) bool { return l.name == r.name })
		if i < 0 {
			l := &Lane{
				outbox: o, channel: c, name: r.name, host: r.host, sender: r.sender,
				queue: queue{latestOnly: config.Alertmanager != nil, limit: MaxQueued},
				wake:  make(chan struct{}, 1), gone: make(chan struct{}),
			}
			fresh, keep = append(fresh, l), append(keep, l)
			continue
		}
		l := c.lanes[i]
		c.lanes = slices.Delete(c.lanes, i, i+1)
		l.sender.close()
		l.sender, l.host = r.sender, r.host
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
	name, host string
	sender     sender
}

// receivers are where a checked channel's notices go. A webhook's lane has no
// name, so that it stays when the address is corrected.
func receivers(c *Channel) []receiver {
	switch {
	case c.Webhook != nil:
		u, _ := url.Parse(c.Webhook.URL) // validate has seen it
		return []receiver{{"", u.Host, &webhook{newClient(u, c.Webhook.RootCAs, c.Webhook.Dial), slices.Clone(c.Webhook.Key)}}}
	case c.Alertmanager != nil:
		var out []receiver
		for _, text := range c.Alertmanager.URLs {
			u, _ := url.Parse(text)
			out = append(out, receiver{text, u.Host, &member{newClient(u.JoinPath("api/v2/alerts"), c.Alertmanager.RootCAs, c.Alertmanager.Dial)}})
		}
		return out
	}
	return []receiver{{"", "", &journal{c.Log}}}
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
	if err != nil {
		err = fmt.Errorf("channel %s: %w", l.channel.config.Name, err)
		l.lastError, l.channel.lastError, l.channel.lastErrorAt = err, err, now
	} else {
		l.lastError, l.lastDelivered = nil, now
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
	p.attempts += e.attempts
	switch e.state {
	case Delivered:
		c.lastDelivered = now
		if !p.delivered {
			p.delivered = true
			c.delivered++
			c.remember(entry(&e.letter, Delivered, now, nil))
		}
	case Undelivered:
		p.err = e.err
		if errors.Is(e.err, errOverflow) || errors.Is(e.err, errRemoved) { // no attempt has noted these
			c.lastError, c.lastErrorAt = fmt.Errorf("channel %s: %w", c.config.Name, e.err), now
		}
	case Queued, Superseded:
	}
	if p.lanes > 0 {
		return
	}
	delete(c.open, e.notice.Key)
	e.attempts = p.attempts
	switch {
	case p.delivered:
	case p.err != nil:
		c.undelivered++
		c.remember(entry(&e.letter, Undelivered, now, p.err))
	default:
		c.displaced++
		c.remember(entry(&e.letter, Superseded, now, nil))
	}
}

// remember keeps an ending. What only repeats is counted and not kept: it
// would push out what people look for.
func (c *channel) remember(e Entry) {
	if e.Step == Lasting && e.State != Undelivered {
		return
	}
	if len(c.ended) >= maxEnded {
		c.ended = slices.Delete(c.ended, 0, 1)
	}
	c.ended = append(c.ended, e)
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
			LastError: words(c.lastError), LastErrorAt: c.lastErrorAt, LastDeliveredAt: c.lastDelivered,
		}
		for _, p := range c.open {
			if !p.delivered {
				s.Queued++
			}
		}
		for _, l := range c.lanes {
			s.Receivers = append(s.Receivers, Receiver{
				Host: l.host, Queued: len(l.queue.letters), LastError: words(l.lastError), LastDeliveredAt: l.lastDelivered,
			})
		}
		out = append(out, s)
	}
	return out
}

// Entries returns what is queued for each receiver, then each channel's last
// endings, the newest first.
func (o *Outbox) Entries() []Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Entry
	for _, c := range o.channels {
		for _, l := range c.lanes {
			for i := range l.queue.letters {
				e := entry(&l.queue.letters[i], Queued, l.queue.letters[i].queuedAt, l.queue.letters[i].problem)
				e.Host, e.NextTry = l.host, l.queue.letters[i].next
				if l.queue.pausedUntil.After(e.NextTry) {
					e.NextTry = l.queue.pausedUntil
				}
				out = append(out, e)
			}
		}
	}
	ended := len(out)
	for _, c := range o.channels {
		out = append(out, c.ended...)
	}
	slices.SortStableFunc(out[ended:], func(a, b Entry) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
	return out
}
