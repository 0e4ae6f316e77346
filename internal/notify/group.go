package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// outlet is when a channel that groups is told something. The zero value was
// told nothing.
type outlet struct {
	since    time.Time          // when the oldest news that waits came; zero: there is none
	urgent   time.Time          // the same of the first critical that is not gathered
	last     time.Time          // when its last notice went
	critical map[kind]time.Time // when it was last told of a critical of that kind
}

// kind is what one storm is made of: incidents of one cause, or of one rule of
// the user's.
type kind struct {
	cause judge.Cause
	rule  string
}

// criticalGathered is for how long criticals of one kind are gathered at most,
// where the interval is longer: nobody waits an hour for the second of two
// servers that are down.
const criticalGathered = time.Minute

// news is one step that is due.
type news struct {
	thread *thread
	step   Step
}

// tell returns what a channel is told now, and notes it. What must wait for more
// stays as it is, to be asked for again.
func (p *Planner) tell(now time.Time, c int) []Notice {
	channel, o := &p.cfg.Channels[c], &p.outlets[c]
	due := p.due[:0]
	urgent := false
	for _, t := range p.order {
		step := p.news(now, t, c)
		if x := t.told[c]; x != nil {
			x.waiting = step == Opened // until it is said
		}
		if step != "" {
			due = append(due, news{t, step})
			urgent = urgent || t.critical(c, step) && o.urges(now, t, &channel.Calm)
		}
	}
	p.due = due
	if len(due) == 0 {
		o.since, o.urgent = time.Time{}, time.Time{}
		return nil
	}
	if !channel.Calm.grouped() {
		out := make([]Notice, 0, len(due))
		for _, d := range inOrder(due) {
			out = append(out, p.notice(now, c, []news{d}))
		}
		return out
	}
	if !o.ready(now, urgent, &channel.Calm) {
		return nil
	}
	o.went(now, c, due)
	if channel.Library != nil && channel.Library.follows() {
		// Each incident is an event of its own there, to be ended by its name:
		// none may be a mere count.
		var out []Notice
		for some := range slices.Chunk(inOrder(due), MostItems) {
			out = append(out, p.notice(now, c, some))
		}
		return out
	}
	return []Notice{p.notice(now, c, inOrder(due))}
}

// critical reports whether a step tells a channel of something critical.
func (t *thread) critical(c int, step Step) bool {
	if step != Opened && step != Worse && step != Flapping || t.incident == nil {
		return false
	}
	return max(t.incident.Finding.Severity, t.told[c].worst) == judge.Critical
}

// urges reports whether a critical is not to be gathered with others of its kind.
func (o *outlet) urges(now time.Time, t *thread, calm *Calm) bool {
	told, known := o.critical[kind{t.cause, t.rule}]
	return !known || now.Sub(told) >= min(calm.Interval, criticalGathered)
}

// went notes that a notice of everything due goes now.
func (o *outlet) went(now time.Time, c int, due []news) {
	o.since, o.urgent, o.last = time.Time{}, time.Time{}, now
	maps.DeleteFunc(o.critical, func(_ kind, told time.Time) bool { return now.Sub(told) >= criticalGathered })
	for _, d := range due {
		if d.thread.critical(c, d.step) {
			if o.critical == nil {
				o.critical = make(map[kind]time.Time)
			}
			o.critical[kind{d.thread.cause, d.thread.rule}] = now
		}
	}
}

// ready reports whether a channel with news is told them now: the first of a
// quiet channel after the wait, what follows when the interval is over. What is
// urgent waits for neither a storm of lesser ones nor one of another kind.
func (o *outlet) ready(now time.Time, urgent bool, calm *Calm) bool {
	if o.since.IsZero() {
		o.since = now
	}
	if !urgent {
		o.urgent = time.Time{}
	} else if o.urgent.IsZero() {
		o.urgent = now
	}
	if urgent && now.Sub(o.urgent) >= calm.Wait {
		return true
	}
	return now.Sub(o.since) >= calm.Wait && (o.last.IsZero() || now.Sub(o.last) >= calm.Interval)
}

// inOrder puts news in the order in which they happened, by incident.
func inOrder(due []news) []news {
	slices.SortStableFunc(due, func(a, b news) int { return cmp.Compare(a.number(), b.number()) })
	return due
}

func (n *news) number() uint64 {
	if n.thread.incident != nil {
		return n.thread.incident.ID
	}
	return 0 // of before a restart, or followed no more: the oldest
}

// notice writes one notice of everything that is due to a channel.
func (p *Planner) notice(now time.Time, c int, due []news) Notice {
	items, parts := make([]Item, 0, len(due)), make([]part, 0, len(due))
	for _, d := range due {
		item, part := p.say(now, d.thread, c, d.step)
		items, parts = append(items, item), append(parts, part)
	}
	name := p.cfg.Channels[c].Name
	slices.SortStableFunc(items, func(a, b Item) int { return cmp.Compare(rank(&b), rank(&a)) })
	n := Notice{
		Version: Version, Channel: name, Reason: News, At: wall(now, p.offset), Key: key(p.cfg.Host, name, parts),
		Host: p.cfg.Host, Labels: p.cfg.Labels, Severity: items[0].Severity, More: []More{},
	}
	if p.cfg.PublicURL != "" {
		n.Link = p.cfg.PublicURL + "/"
	}
	if len(items) > 1 {
		n.Says = says(p.cfg.Host, items)
	}
	n.Incidents = slices.Clip(items[:min(len(items), MostItems)])
	for i := len(n.Incidents); i < len(items); i++ {
		n.add(&items[i])
	}
	return n
}

// rank puts the worst first, and what is over behind what is not.
func rank(i *Item) int {
	severity := slices.Index([]string{judge.Watch.String(), judge.Warning.String(), judge.Critical.String()}, i.Severity)
	if i.Step == Resolved {
		return severity
	}
	return severity + 10
}

// add adds an item to those that are only counted.
func (n *Notice) add(i *Item) {
	for k := range n.More {
		if m := &n.More[k]; m.Step == i.Step && m.Cause == i.Cause && m.Severity == i.Severity {
			m.Count++
			return
		}
	}
	n.More = append(n.More, More{i.Step, i.Cause, i.Severity, 1})
}

// mostCauses is how many causes a sentence names.
const mostCauses = 5

// says is one sentence for many items: how many of what, and where.
func says(host string, items []Item) string {
	steps := []struct {
		step      Step
		one, many string
	}{
		{Opened, "1 incident opened", "%d incidents opened"},
		{Worse, "1 got worse", "%d got worse"},
		{Flapping, "1 opens again and again", "%d open again and again"},
		{Lasting, "1 is still open", "%d are still open"},
		{Resolved, "1 is over", "%d are over"},
	}
	var counts, causes []string
	for _, s := range steps {
		n := 0
		for i := range items {
			if items[i].Step == s.step {
				n++
			}
		}
		switch n {
		case 0:
			continue
		case 1:
			counts = append(counts, s.one)
		default:
			counts = append(counts, fmt.Sprintf(s.many, n))
		}
		causes = append(causes, causesOf(items, s.step))
	}
	text := strings.Join(counts, ", ") + " on " + host + ": "
	if !strings.Contains(counts[0], "incident") {
		text = fmt.Sprintf("%d incidents on %s: %s: ", len(items), host, strings.Join(counts, ", "))
	}
	return text + strings.Join(causes, "; ")
}

// causesOf counts the causes of a step in words, the most frequent first: "12
// path lost, 2 workers full".
func causesOf(items []Item, step Step) string {
	var causes []More
	for i := range items {
		if items[i].Step != step {
			continue
		}
		name := items[i].cause()
		at := slices.IndexFunc(causes, func(m More) bool { return m.Cause == name })
		if at < 0 {
			at, causes = len(causes), append(causes, More{Cause: name})
		}
		causes[at].Count++
	}
	slices.SortStableFunc(causes, func(a, b More) int { return cmp.Compare(b.Count, a.Count) })
	var text []string
	rest := 0
	for i, m := range causes {
		if i < mostCauses {
			text = append(text, fmt.Sprintf("%d %s", m.Count, m.Cause))
		} else {
			rest += m.Count
		}
	}
	if rest > 0 {
		text = append(text, fmt.Sprintf("%d of other causes", rest))
	}
	over := ""
	if step == Resolved {
		over = "over: "
	}
	return over + strings.Join(text, ", ")
}
