package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ref names one notice to one channel.
type Ref struct{ Channel, Key string }

// Ending is how the way of a notice to its channel ended.
type Ending struct {
	Ref
	State    State
	At       time.Time
	Attempts int // of this run, at all receivers together
	// Error is why it is undelivered. It names channel and host, never an address.
	Error string
	// Repeat: it said nothing new, so that nobody will ask for it.
	Repeat bool
}

// Stored is a notice as it is kept outside.
type Stored struct {
	Key, Channel string
	Kind         string // the channel's
	Over         bool   // it only says what is over
	JSON         []byte
	// Waited is for how long it has been tried; zero for a new one.
	Waited time.Duration
}

var (
	errLost      = errors.New("the history that kept it was lost")
	errUnwritten = errors.New("it waited to be written, and made room for newer ones")
)

// Stored returns notices as they are to be kept; those for no channel of ours are
// left out.
func (o *Outbox) Stored(notices []Notice) ([]Stored, error) {
	kinds := map[string]string{}
	o.mu.Lock()
	for _, c := range o.channels {
		kinds[c.config.Name] = c.config.Kind()
	}
	o.mu.Unlock()
	out := make([]Stored, 0, len(notices))
	for i := range notices {
		n := &notices[i]
		kind, there := kinds[n.Channel]
		if !there {
			continue
		}
		raw, err := n.JSON()
		if err != nil {
			return nil, err
		}
		out = append(out, Stored{Key: n.Key, Channel: n.Channel, Kind: kind, Over: n.Over(), JSON: raw})
	}
	return out, nil
}

// read is the notice of what was stored.
func (s *Stored) read() (Notice, error) {
	var n Notice
	if err := json.Unmarshal(s.JSON, &n); err != nil {
		return Notice{}, fmt.Errorf("cannot be read: %w", err)
	}
	switch {
	case n.Version != Version:
		return Notice{}, fmt.Errorf("cannot be read: it is of version %d, and this program knows %d", n.Version, Version)
	case n.Key != s.Key || n.Channel != s.Channel:
		return Notice{}, errors.New("cannot be read: it says another key or channel than it is kept under")
	}
	return n, nil
}

// Waiting returns what is in memory and undecided, in its order: to be kept anew.
func (o *Outbox) Waiting() []Notice {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Notice
	for _, c := range o.channels {
		seen := map[string]bool{}
		for _, l := range c.lanes {
			for i := range l.queue.letters {
				if n := &l.queue.letters[i].notice; !seen[n.Key] {
					seen[n.Key] = true
					out = append(out, *n)
				}
			}
		}
	}
	return out
}

// Written says that notices are kept: they go now.
func (o *Outbox) Written(notices []Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range notices {
		if c := o.find(r.Channel, ""); c != nil {
			delete(c.unwritten, r.Key)
			c.unhold(r.Key, true)
		}
	}
}

// Unwritten says that notices will not be kept. Those that are in memory go
// without.
func (o *Outbox) Unwritten(notices []Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, r := range notices {
		c := o.find(r.Channel, "")
		switch {
		case c == nil:
		case c.unwritten[r.Key]:
			delete(c.unwritten, r.Key)
			o.lose(now, c, 1, errUnwritten)
		default:
			c.unhold(r.Key, false)
		}
	}
}

func (c *channel) unhold(key string, kept bool) {
	p := c.open[key]
	if p == nil {
		return
	}
	p.kept = kept
	for _, l := range c.lanes {
		l.queue.unhold(key)
		l.nudge()
	}
}

// lose counts notices as undelivered that waited outside of memory.
func (o *Outbox) lose(now time.Time, c *channel, many int, why error) {
	c.beyond = max(0, c.beyond-many)
	c.undelivered += uint64(many)
	c.failed(now, why)
}

// Wanting are the channels for which notices wait outside of memory while there
// is room for them in it, by name and kind alone.
func (o *Outbox) Wanting() []Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Status
	for _, c := range o.channels {
		if c.beyond > 0 && !slices.ContainsFunc(c.lanes, func(l *Lane) bool { return len(l.queue.letters) > MaxQueued/2 }) {
			out = append(out, Status{Name: c.config.Name, Kind: c.config.Kind()})
		}
	}
	return out
}

// Has reports whether there is a channel of a name and kind.
func (o *Outbox) Has(name, kind string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.find(name, kind) != nil
}

// Restore takes the first of what is kept for a channel, in its order, and how
// much more there is. What is in memory already stays where it is in that order;
// what ends, as ended reports, has been settled and not yet been written so. What
// cannot be read is undelivered. opened says that what is kept was opened anew:
// what is beyond memory and not there is lost then.
func (o *Outbox) Restore(name, kind string, stored []Stored, more int, opened bool, ends func(Ref) bool) {
	type row struct {
		notice Notice
		err    error
	}
	rows := make([]row, len(stored))
	for i := range stored {
		rows[i].notice, rows[i].err = stored[i].read()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.find(name, kind)
	if c == nil {
		return
	}
	now := time.Now()
	var letters []letter
	for i := range stored {
		s := &stored[i]
		switch r := (Ref{name, s.Key}); {
		case ends(r):
		case rows[i].err != nil:
			c.undelivered++
			c.failed(now, rows[i].err)
			o.ended(Ending{Ref: r, State: Undelivered, At: now, Error: rows[i].err.Error()})
		default:
			letters = append(letters, letter{notice: rows[i].notice, queuedAt: now.Add(-s.Waited)})
		}
	}
	for i := range letters {
		if l := &letters[i]; c.open[l.notice.Key] == nil {
			c.open[l.notice.Key] = &passage{lanes: len(c.lanes), queuedAt: l.queuedAt, kept: true}
		} else {
			l.queuedAt = time.Time{} // only its place counts
		}
	}
	for _, l := range c.lanes {
		mine := slices.DeleteFunc(slices.Clone(letters), func(x letter) bool { return x.queuedAt.IsZero() && l.queue.find(x.notice.Key) < 0 })
		for _, end := range l.queue.restore(mine) {
			o.end(now, c, end)
		}
		l.nudge()
	}
	before := c.beyond
	c.beyond = more + len(c.unwritten)
	if lost := before - c.beyond; opened && lost > 0 {
		c.undelivered += uint64(lost)
		c.failed(now, errLost)
	}
}

// Again takes notices that were undelivered and are kept as waiting now, behind
// all others.
func (o *Outbox) Again(name, kind string, stored []Stored) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.find(name, kind)
	if c == nil {
		return
	}
	now := time.Now()
	for i := range stored {
		n, err := stored[i].read()
		switch {
		case err != nil:
			c.undelivered++
			c.failed(now, err)
			o.ended(Ending{Ref: Ref{name, stored[i].Key}, State: Undelivered, At: now, Error: err.Error()})
		case c.full():
			c.beyond++
		default:
			o.add(now, c, letter{notice: n, queuedAt: now}, true)
		}
	}
	for _, l := range c.lanes {
		l.queue.hurry() // somebody says that it is better
		l.nudge()
	}
}

// CrowdedOut says that what kept notices had no room for them, and gave them up.
func (o *Outbox) CrowdedOut(notices []Ref, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, r := range notices {
		c := o.find(r.Channel, "")
		if c == nil {
			continue
		}
		p := c.open[r.Key]
		if p == nil {
			o.lose(now, c, 1, errors.New(why))
			continue
		}
		p.kept = false
		for _, l := range c.lanes {
			if end, dropped := l.queue.drop(r.Key, errors.New(why)); dropped {
				o.end(now, c, end)
			}
		}
	}
}
