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
// channel any more. Its incidents are at the step lasting or resolved, and their
// sequence is 0: they are no news of the planner's.
func (p *Planner) Compose(now time.Time, offset time.Duration, m Message) (n Notice, ok bool) {
	if !slices.ContainsFunc(p.cfg.Channels, func(c Channel) bool { return c.Name == m.Channel }) {
		return Notice{}, false
	}
	n = Notice{
		Version: Version, Channel: m.Channel, Reason: m.Reason, At: wall(now, offset), Says: m.Says,
		Key:  key(p.cfg.Host, m.Channel, []part{{step: Step(m.Key)}}),
		Host: p.cfg.Host, Labels: p.cfg.Labels, Incidents: []Item{}, More: []More{},
	}
	if p.cfg.PublicURL != "" {
		n.Link = p.cfg.PublicURL + "/"
	}
	worst, worstOpen := judge.NoSeverity, judge.NoSeverity
	for i := range m.Incidents[:min(len(m.Incidents), MostItems)] {
		inc := &m.Incidents[i]
		item := Item{Step: Lasting, Severity: inc.Finding.Severity.String(), OpenedAt: wall(inc.OpenedAt, offset), Earlier: []Told{}}
		worst = max(worst, inc.Finding.Severity)
		if inc.State == judge.Resolved {
			item.Step = Resolved
		} else {
			worstOpen = max(worstOpen, inc.Finding.Severity)
		}
		if p.cfg.PublicURL != "" {
			item.Link = fmt.Sprintf("%s/incidents/%d", p.cfg.PublicURL, inc.ID)
		}
		item.describe(inc, offset)
		n.Incidents = append(n.Incidents, item)
	}
	if n.Severity = worst.String(); worstOpen != judge.NoSeverity {
		n.Severity = worstOpen.String()
	}
	return n, true
}
