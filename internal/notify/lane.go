package notify

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// sender delivers to one receiver. nil means that the receiver took the
// notice. now is the wall's time.
type sender interface {
	send(ctx context.Context, now time.Time, n *Notice) error
	close()
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
	if p := l.channel.open[n.Key]; ok && p != nil {
		if !p.kept && !p.tried {
			l.channel.unkept++
		}
		p.tried = true
	}
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
		err = fmt.Errorf("%s%w", l.channel.prefix(), err)
		l.channel.lastError, l.channel.lastErrorAt = err.Error(), now
	}
	for _, end := range l.queue.settle(now, err, l.outbox.random) {
		l.outbox.end(now, l.channel, end)
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
		l.outbox.end(now, l.channel, end)
	}
	l.sender.close()
	close(l.gone)
}
