package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// What is flapping, and how long a restart is waited for.
const (
	// FlapOpenings of one thread within FlapWithin are flapping, which ends when
	// it neither opens nor ends for FlapCalm.
	FlapOpenings = 4
	FlapWithin   = 30 * time.Minute
	FlapCalm     = 15 * time.Minute
	mostOpenings = 100 // that are counted
	// BackWithin is how long after a restart what a channel knows of may take to
	// be seen again; SuspectedFor where it is suspected already.
	BackWithin   = 2 * time.Minute
	SuspectedFor = 10 * time.Minute
)

// told is what one channel knows of one thread, and what there is to tell it.
// Times are the pipeline's where nothing else is said.
type told struct {
	open     bool           // it was told that it opened, and not yet that it is over
	severity judge.Severity // the worst it was told of this opening
	earlier  []Told
	sequence int       // how often it was told; 0: never
	last     time.Time // when
	// openedAt is on the wall's clock and fixed with the first notice: a clock
	// that is set meanwhile must not move a start.
	openedAt time.Time
	endedAt  time.Time // when it was told of the last end; zero: of none
	item     Item      // as it was told last
	opened   time.Time // of that incident; it makes keys unique

	following uint64 // the incident's number
	awaited   bool   // of before a restart, and not seen again yet
	over      *ending
	missed    bool           // it ended while the first notice of it waited
	waiting   bool           // that is so now
	worst     judge.Severity // of the opening that waits or is told, so far
	openings  []time.Time
	movedAt   time.Time // it opened or ended last
	flapped   bool      // often enough, and not told
	flapping  bool      // told
}

// ending is an end that a channel is still to be told of. incident is nil where
// nobody follows it any more.
type ending struct {
	end      judge.End
	at       time.Time
	incident *judge.Incident
}

// follow notes what happened to a thread, for one channel.
func (p *Planner) follow(now time.Time, t *thread, c int, incidents []judge.Incident) {
	x, inc, calm := t.told[c], t.incident, &p.cfg.Channels[c].Calm
	open := inc != nil && inc.State == judge.Open
	if x == nil {
		if !open || !p.wanted(t, c, inc, inc.Finding.Severity) {
			return
		}
		x = &told{}
		t.told[c] = x
	}
	switch {
	case x.awaited && inc == nil:
		if since := now.Sub(p.awaitedSince); since >= SuspectedFor || since >= BackWithin && !t.suspected {
			x.awaited, x.over = false, &ending{judge.AgentStopped, now, nil}
		}
	case x.awaited: // it goes on under another number
		x.awaited, x.following, x.movedAt = false, inc.ID, now
		if !open {
			x.over = endOf(inc)
		}
	case open && inc.ID != x.following && x.open && x.over == nil && calm.Recovery == 0 && !x.flapping:
		// It ended and opened again at once: both are told.
		x.over = &ending{judge.NoEvidence, now, nil}
		if at := slices.IndexFunc(incidents, func(i judge.Incident) bool { return i.ID == x.following }); at >= 0 {
			x.over = endOf(&incidents[at])
		}
	case open && inc.ID != x.following && x.open && x.over != nil && calm.Recovery == 0 && !x.flapping:
		// Its end is told first.
	case open && inc.ID != x.following:
		if x.open || p.wanted(t, c, inc, inc.Finding.Severity) {
			x.begin(now, inc, calm)
			if x.sequence > 0 {
				p.touch(p.cfg.Channels[c].id(), t)
			}
		}
	case !open && x.over == nil && (x.open || x.following != 0):
		x.finish(now, inc, p.cfg.Channels[c].wants(judge.Critical))
	}
	if x.settled(now, calm, open) {
		p.drop(t, c)
	}
}

func endOf(inc *judge.Incident) *ending {
	kept := *inc // the list is another one at the next step
	return &ending{inc.End, inc.ResolvedAt, &kept}
}

// begin notes an opening.
func (x *told) begin(now time.Time, inc *judge.Incident, calm *Calm) {
	x.following, x.over, x.missed, x.movedAt, x.worst = inc.ID, nil, false, now, judge.NoSeverity
	if calm.Cooldown == 0 {
		return
	}
	x.openings = slices.DeleteFunc(x.openings, func(at time.Time) bool { return now.Sub(at) >= FlapWithin })
	if len(x.openings) < mostOpenings {
		x.openings = append(x.openings, now)
	}
	if len(x.openings) >= FlapOpenings && !x.flapping {
		x.flapped = true
	}
}

// finish notes an end; inc is nil where nobody follows it any more. What opened
// and ended before its first notice went is told once where it was critical.
func (x *told) finish(now time.Time, inc *judge.Incident, critical bool) {
	x.movedAt = now
	over := &ending{judge.NoEvidence, now, nil}
	if inc != nil && inc.ID >= x.following {
		over = endOf(inc)
	}
	switch {
	case x.open, x.flapped && (x.sequence > 0 || over.incident != nil):
		x.over = over
	case x.waiting && critical && over.incident != nil && over.incident.Peak == judge.Critical && over.incident.SilencedBy == "":
		x.over, x.missed = over, true
	}
	x.waiting = false
	if x.over == nil {
		x.following, x.flapped = 0, false
	}
}

// settled reports whether nothing of it matters any more.
func (x *told) settled(now time.Time, calm *Calm, open bool) bool {
	if x.open || x.missed || x.flapped || open && x.following != 0 {
		return false
	}
	x.openings = slices.DeleteFunc(x.openings, func(at time.Time) bool { return now.Sub(at) >= FlapWithin })
	return len(x.openings) == 0 && (x.endedAt.IsZero() || now.Sub(x.endedAt) >= calm.Cooldown)
}

// news is what there is to tell a channel of a thread; empty for nothing.
func (p *Planner) news(now time.Time, t *thread, c int) Step {
	x := t.told[c]
	if x == nil || x.awaited {
		return ""
	}
	channel, inc := &p.cfg.Channels[c], t.incident
	open := inc != nil && inc.State == judge.Open && inc.ID == x.following
	switch {
	case x.flapping && now.Sub(x.movedAt) >= FlapCalm:
		if !open {
			return Resolved
		}
		x.flapping, x.openings = false, nil // it stays open
		p.touch(channel.id(), t)
	case x.flapping && open && inc.SilencedBy == "" && inc.Finding.Severity > x.severity && channel.wants(inc.Finding.Severity):
		return Worse
	case x.flapping:
		return ""
	}
	switch {
	case x.missed:
		return Resolved
	case x.flapped:
		return Flapping
	case x.open && x.over != nil:
		if x.over.end == judge.Recovered && channel.Calm.Recovery > 0 && now.Sub(x.over.at) < channel.Calm.Recovery {
			return ""
		}
		return Resolved
	case !open:
		return ""
	case !x.open:
		return p.opening(now, t, c)
	case inc.SilencedBy == "" && inc.Finding.Severity > x.severity && channel.wants(inc.Finding.Severity):
		return Worse
	case channel.repeat() > 0 && now.Sub(x.last) >= channel.repeat():
		return Lasting
	case channel.Calm.Remind > 0 && inc.SilencedBy == "" && inc.AcknowledgedAt.IsZero() && now.Sub(x.last) >= channel.Calm.Remind:
		return Lasting
	}
	return ""
}

// opening is Opened where a channel is to be told of a thread's open incident now.
// What was critical while it waited is told though it is milder again, and what
// is critical waits for no cooldown: who was told that it is over must know.
func (p *Planner) opening(now time.Time, t *thread, c int) Step {
	x, inc := t.told[c], t.incident
	severity := inc.Finding.Severity
	if x.waiting {
		severity = max(severity, x.worst)
	}
	if !p.wanted(t, c, inc, severity) {
		return ""
	}
	x.worst = severity
	cooling := !x.endedAt.IsZero() && now.Sub(x.endedAt) < p.cfg.Channels[c].Calm.Cooldown
	if cooling && severity <= x.severity && severity < judge.Critical {
		return ""
	}
	return Opened
}

// say notes that a step is told, and returns it as an item.
func (p *Planner) say(now time.Time, t *thread, c int, step Step) (Item, part) {
	x, inc := t.told[c], t.incident
	if step == Resolved || inc == nil {
		inc = nil
		if x.over != nil {
			inc = x.over.incident
		}
	}
	if !x.open { // a new story
		x.sequence, x.earlier, x.severity, x.openedAt = 0, nil, judge.NoSeverity, time.Time{}
	}
	item := x.item
	item.Step, item.Note = step, ""
	if inc != nil {
		item.describe(inc, p.offset)
		x.opened = inc.OpenedAt
		if x.openedAt.IsZero() {
			x.openedAt = wall(inc.OpenedAt, p.offset)
		}
		p.worsen(now, x, inc, step)
	} else if x.over != nil { // nobody follows it any more
		item.ResolvedAt, item.End = new(wall(x.over.at, p.offset)), x.over.end.String()
	}
	x.note(&item, step, &p.cfg.Channels[c].Calm)
	x.sequence++
	item.Sequence, item.Severity, item.OpenedAt = x.sequence, x.severity.String(), x.openedAt
	item.Earlier = append([]Told{}, x.earlier...)
	if item.Link = ""; p.cfg.PublicURL != "" {
		item.Link = fmt.Sprintf("%s/incidents/%d", p.cfg.PublicURL, item.Incident)
	}
	x.last, x.item, x.waiting = now, item, false
	switch step {
	case Resolved:
		x.open, x.endedAt, x.over, x.missed, x.flapping, x.following = false, now, nil, false, false, 0
	case Flapping:
		x.open, x.flapping, x.flapped = true, true, false
	default:
		x.open = true
	}
	p.touch(p.cfg.Channels[c].id(), t)
	return item, part{item.Incident, x.opened, step, x.sequence}
}

// worsen takes over a severity above what was told. An end tells the worst that
// was told, or where nothing was, the worst there was.
func (p *Planner) worsen(now time.Time, x *told, inc *judge.Incident, step Step) {
	severity := inc.Finding.Severity
	switch {
	case step == Opened:
		severity = max(severity, x.worst)
	case step == Resolved && x.missed:
		severity = inc.Peak
	case step == Resolved || step == Lasting:
		severity = x.severity
	}
	if severity > x.severity {
		if x.severity != judge.NoSeverity {
			x.earlier = append(slices.Clip(x.earlier), Told{x.severity.String(), wall(now, p.offset)})
		}
		x.severity = severity
	}
}

// note says what the step alone does not.
func (x *told) note(item *Item, step Step, calm *Calm) {
	switch {
	case step == Flapping:
		item.Note = fmt.Sprintf("flapping: opened %d times in %s; nothing more is told of it until it is calm for %s, or worse", len(x.openings), words(FlapWithin), words(FlapCalm))
	case step == Resolved && x.flapping:
		item.Note = fmt.Sprintf("it was flapping, and is calm for %s", words(FlapCalm))
	case step == Resolved && x.missed:
		item.Note = "it was over before this notice of it went"
	case step == Resolved && item.End == judge.AgentStopped.String():
		item.Note = "the agent was restarted; whether it recovered is not known, it is not seen now"
	case step == Lasting && calm.Remind > 0:
		item.Note = "a reminder: it is still open, and nobody has acknowledged it"
	case step == Opened && !x.endedAt.IsZero() && calm.Cooldown > 0:
		item.Note = "it opened again after it was over"
	}
}

// words is a duration for a person: "30 min".
func words(d time.Duration) string { return fmt.Sprintf("%d min", int(d.Minutes())) }
