package agent

import (
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

const (
	// publishEvery is how old a snapshot may be that somebody is given, while
	// nothing happens.
	publishEvery = time.Second
	// aliveEvery is how old the last snapshot may grow while nobody asks for
	// one: it is the sign of life of the loop.
	aliveEvery = api.AliveWithin / 2
	// answerWithin is how long a reader waits for the loop to make a new one: it
	// may be in the middle of a look. Then he is given the last one, which says
	// how old it is.
	answerWithin = 2 * time.Second
)

// desk is where snapshots lie for those who read them. A view of hundreds of
// namespaces is some megabytes, which are only copied when somebody reads them:
// a reader who finds the last ones too old leaves a wish and waits for the loop.
type desk struct {
	now  func() time.Time // the clock of the snapshots' At
	wake chan struct{}    // room for one: there is a wish

	mu       sync.Mutex
	snapshot *api.Snapshot
	wholeAt  time.Time     // when its view was taken
	changed  chan struct{} // closed when the next snapshot is there
	awaited  bool          // somebody has that channel
	whole    bool          // the wish is for a view too
}

func newDesk(now func() time.Time, first *api.Snapshot) *desk {
	return &desk{now: now, wake: make(chan struct{}, 1), snapshot: first, wholeAt: first.At, changed: make(chan struct{})}
}

// Snapshot implements api.Source.
func (d *desk) Snapshot() *api.Snapshot { return d.read(true) }

// Status implements api.Source.
func (d *desk) Status() *api.Snapshot { return d.read(false) }

// Changed implements api.Source.
func (d *desk) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awaited = true
	return d.changed
}

// read returns a snapshot that is fresh, or whose view is, too, if the loop
// makes one in time.
func (d *desk) read(whole bool) *api.Snapshot {
	timeout := time.NewTimer(answerWithin)
	defer timeout.Stop()
	for {
		s, changed, fresh := d.wish(whole)
		if fresh {
			return s
		}
		select {
		case <-changed:
		case <-timeout.C:
			return d.latest()
		}
	}
}

// wish returns the last snapshot and whether it is fresh, or else wishes for
// another.
func (d *desk) wish(whole bool) (s *api.Snapshot, changed <-chan struct{}, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.snapshot.At
	if whole {
		at = d.wholeAt
	}
	if d.now().Sub(at) < publishEvery {
		return d.snapshot, nil, true
	}
	d.whole = d.whole || whole
	select {
	case d.wake <- struct{}{}:
	default: // the loop has not yet come to the last wish
	}
	return d.snapshot, d.changed, false
}

// latest is the last snapshot, of whatever age.
func (d *desk) latest() *api.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.snapshot
}

// due reports whether a snapshot is to be published though nobody left a wish,
// and whether with a view: somebody waits for the next one, or it is time for a
// sign of life.
func (d *desk) due() (publish, whole bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	age := d.now().Sub(d.snapshot.At)
	return d.awaited && age >= publishEvery || age >= aliveEvery, d.awaited || d.whole
}

// publish lays out a new snapshot and wakes who waits for it. One that is not
// whole has the view of the last.
func (d *desk) publish(s *api.Snapshot, whole bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Sequence = d.snapshot.Sequence + 1
	if whole {
		d.wholeAt, d.whole = s.At, false
	} else {
		s.View = d.snapshot.View
	}
	d.snapshot, d.awaited = s, false
	close(d.changed)
	d.changed = make(chan struct{})
}
