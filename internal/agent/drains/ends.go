package drains

import (
	"time"

	"github.com/foreshock/foreshock/internal/drain"
)

// What is over ends by itself, and is forgotten: who stops it by hand is done
// with it, and many forget to.
const (
	// quietFor is for how long nobody is known to be on the old addresses, nor
	// anything else to be in the way, before a switch that is followed ends.
	quietFor = 7 * 24 * time.Hour
	// forgetAfter is for how long one that was ended can be read.
	forgetAfter = 30 * 24 * time.Hour
)

// ByItself is who ends what is over.
const ByItself = "the agent"

// Tidy ends the switches that have long been over, which it returns, and forgets
// those that were ended long ago but for the configuration's, which would be
// armed again.
func (b *Book) Tidy(now time.Time, offset time.Duration) (ended []*Entry) {
	wall := now.Add(offset).UTC()
	for _, e := range b.Entries() {
		switch e.State() {
		case Stopped:
			if !e.configured && wall.Sub(e.StoppedAt) > forgetAfter {
				b.drop(e)
			}
		case Running:
			is, quiet := e.quiet(now, offset), !e.QuietSince.IsZero()
			switch {
			case !is && quiet:
				e.QuietSince, e.unsaved = time.Time{}, true
			case is && !quiet:
				e.QuietSince, e.unsaved = wall, true
			case is && wall.Sub(e.QuietSince) > quietFor:
				if b.Stop(now, offset, e.Name, ByItself) == nil {
					ended = append(ended, e)
				}
			}
		}
	}
	b.forgetStopped()
	return ended
}

// quiet reports whether nothing is known to be in the way of a switch whose
// deadline has passed: it has settled, or there is nothing to see.
func (e *Entry) quiet(now time.Time, offset time.Duration) bool {
	if now.Sub(e.Switch.Since) < e.Deadline() {
		return false
	}
	v := drain.Merge([]drain.Report{e.Report(now, offset, Seen{}, true)}).Verdict
	return v == drain.Settled || v == drain.Unclear
}
