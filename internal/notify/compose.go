package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Message is what somebody else than the planner has to tell a channel: an
// escalation, or what a later look said.
type Message struct {
	Channel string
	Reason  Reason
	// Key names the message for ever; the same key to another channel is another
	// notice.
	Key       string
	Says      string
	Incidents []judge.Incident
}

// Gets reports whether the channel of that name is told of an incident anyway.
func (p *Planner) Gets(channel string, inc *judge.Incident) bool {
	at := slices.IndexFunc(p.cfg.Channels, func(c Channel) bool { return c.Name == channel })
	if at < 0 || inc.Because != judge.NoCause || inc.SilencedBy != "" {
		return false
	}
	c := &p.cfg.Channels[at]
	return c.wants(inc.Finding.Severity) && (len(c.Only) == 0 || c.takes(subjectOf(inc), inc.Finding.Severity))
}

// Compose makes a notice of a message. ok is false where there is no such
// channel any more. What it tells of an open incident is as if Plan had told it:
// Plan tells its end, to whichever channel, and repeats it where the channel asks
// for that. It is for after the Plan of the same look; Changed says what is to
// be kept of it.
func (p *Planner) Compose(now time.Time, offset time.Duration, m Message) (n Notice, ok bool) {
	c := slices.IndexFunc(p.cfg.Channels, func(c Channel) bool { return c.Name == m.Channel })
	if c < 0 {
		return Notice{}, false
	}
	p.offset = offset
	n = Notice{
		Version: Version, Channel: m.Channel, Reason: m.Reason, At: wall(now, offset), Says: m.Says,
		Key:  key(p.cfg.Host, m.Channel, []part{{step: Step(m.Key)}}),
		Host: p.cfg.Host, Labels: p.cfg.Labels, Incidents: []Item{}, More: []More{},
	}
	if p.cfg.PublicURL != "" {
		n.Link = p.cfg.PublicURL + "/"
	}
	worst, worstOpen := judge.NoSeverity, judge.NoSeverity
	open := map[subject]bool{}
	for i := range m.Incidents {
		if inc := &m.Incidents[i]; inc.State == judge.Open {
			open[about(inc)] = true
		}
	}
	for i := range m.Incidents {
		inc := &m.Incidents[i]
		if inc.State != judge.Open && open[about(inc)] || len(n.Incidents) == MostItems {
			continue // its end would be taken for that of the one that is open
		}
		worst = max(worst, inc.Finding.Severity)
		if inc.State == judge.Open {
			worstOpen = max(worstOpen, inc.Finding.Severity)
			n.Incidents = append(n.Incidents, p.mention(now, c, inc))
		} else {
			n.Incidents = append(n.Incidents, p.ended(c, inc))
		}
	}
	if n.Severity = worst.String(); worstOpen != judge.NoSeverity {
		n.Severity = worstOpen.String()
	}
	return n, true
}

// mention tells a channel of an open incident, whether it wants such or not.
func (p *Planner) mention(now time.Time, c int, inc *judge.Incident) Item {
	t := p.threads[about(inc)]
	if t == nil {
		t = p.thread(about(inc))
	}
	t.seen, t.incident = p.step, inc
	x := t.told[c]
	if x == nil {
		x = &told{}
		t.told[c] = x
	}
	if x.following != inc.ID {
		x.following, x.over, x.missed, x.movedAt = inc.ID, nil, false, now
	}
	x.awaited = false
	step := Lasting
	switch {
	case !x.open:
		step = Opened
	case inc.Finding.Severity > x.severity:
		step = Worse
	}
	item, _ := p.say(now, t, c, step)
	if step == Lasting {
		item.Note = "" // it is no reminder
	}
	return item
}

// ended is an incident that is over, at the severity that the channel knows it
// by. It moves nothing: where the channel is to hear of the end, Plan tells it.
func (p *Planner) ended(c int, inc *judge.Incident) Item {
	item := Item{Step: Resolved, Severity: inc.Finding.Severity.String(), OpenedAt: wall(inc.OpenedAt, p.offset), Earlier: []Told{}}
	if t := p.threads[about(inc)]; t != nil {
		if x := t.told[c]; x != nil && x.open && x.item.Incident == inc.ID {
			item.Severity, item.OpenedAt, item.Earlier = x.severity.String(), x.openedAt, append(item.Earlier, x.earlier...)
		}
	}
	if p.cfg.PublicURL != "" {
		item.Link = fmt.Sprintf("%s/incidents/%d", p.cfg.PublicURL, inc.ID)
	}
	item.describe(inc, p.offset)
	return item
}
