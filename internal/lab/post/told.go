package post

import (
	"fmt"
	"html"
	"io"
	"mime"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/notify/notifytest"
)

// The channels of the notification library.
const (
	mailbox   = "mail"
	slack     = "slack"
	pagerDuty = "pagerduty"
)

// Told is what came to one channel of the notification library, held against what
// came to the webhook, which is held against the history.
type Told struct {
	Channel string `json:"channel"`
	// Messages are the different ones. Again is how many of them came a second time
	// because the agent was killed between the receiver's yes and the row that notes
	// it: the last ones before that come again then, in their order, and nothing else
	// does. Rewinds is how often that was. These receivers take no key by which they
	// would know. Twice is how many came a second time in any other way.
	Messages int `json:"messages"`
	Again    int `json:"again"`
	Rewinds  int `json:"rewinds"`
	Twice    int `json:"twice"`
	// Missing are what the webhook has and this channel has not; Strange the other
	// way round, also where a severity or a time differs.
	// Unordered came before one that the webhook has earlier.
	Missing   int `json:"missing"`
	Strange   int `json:"strange"`
	Unordered int `json:"unordered"`
	// Refused are what the strict stand-in did not take.
	Refused int `json:"refused"`
	// Keys is how many dedup_keys PagerDuty has of the servers; of these Unresolved
	// were not triggered first, or not resolved at last.
	Keys       int `json:"dedup_keys,omitempty"`
	Unresolved int `json:"unresolved,omitempty"`
}

// sound reports whether all was told once and in order, but for what comes again
// by a kill.
func (t *Told) sound(kills int) bool {
	return t.Missing == 0 && t.Strange == 0 && t.Unordered == 0 && t.Twice == 0 && t.Rewinds <= kills && t.Refused == 0 && t.Unresolved == 0
}

func (t Told) String() string {
	text := fmt.Sprintf("%s: %d messages, %d missing, %d strange, %d out of order, %d told twice, %d came again after %d kills, %d refused",
		t.Channel, t.Messages, t.Missing, t.Strange, t.Unordered, t.Twice, t.Again, t.Rewinds, t.Refused)
	if t.Channel == pagerDuty {
		text += fmt.Sprintf(", %d dedup_keys, %d of them not triggered and resolved", t.Keys, t.Unresolved)
	}
	return text
}

// step is one thing that was told of an incident. Times are as people read them.
type step struct {
	Incident     uint64
	What         string // the severity, or "resolved"
	Since, Until string
}

const resolved = "resolved"

// clock is how notices write times.
func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 UTC") }

// steps are what came to the webhook, in order.
func (r *receivers) steps() []step {
	var out []step
	for _, d := range r.took {
		for _, i := range d.Incidents {
			s := step{i.Incident, i.Severity, clock(i.OpenedAt), ""}
			if i.Step == resolved {
				s.What = resolved
			}
			if i.ResolvedAt != nil {
				s.Until = clock(*i.ResolvedAt)
			}
			out = append(out, s)
		}
	}
	return out
}

// told holds what came to each channel against what came to the webhook.
func (o *outside) told(hook []step) ([]Told, error) {
	var slacks, events []step
	for _, m := range o.services.Slack() {
		s, err := read(html.UnescapeString(m.Text), html.UnescapeString(strings.Join(m.Lines, "\n")))
		if err != nil {
			return nil, fmt.Errorf("slack: %w", err)
		}
		slacks = append(slacks, s)
	}
	duty := o.services.PagerDuty()
	for i := range duty {
		s, err := read(duty[i].Summary, duty[i].Text)
		if err != nil {
			return nil, fmt.Errorf("pagerduty: %w", err)
		}
		events = append(events, s)
	}
	all := []Told{compare(slack, hook, slacks), compare(pagerDuty, hook, events)}
	all[1].keys(duty)
	for _, refused := range o.services.Refused() {
		if strings.HasPrefix(refused, "hooks.slack.com") {
			all[0].Refused++
		} else {
			all[1].Refused++
		}
	}
	if o.mail == nil {
		return all, nil
	}
	mails, err := o.mails()
	if err != nil {
		return nil, err
	}
	return append(all, compare(mailbox, hook, mails)), nil
}

// mails are what is in the mailbox, in its order.
func (o *outside) mails() ([]step, error) {
	mails, err := o.mail.Mails()
	if err != nil {
		return nil, err
	}
	var out []step
	for _, m := range mails {
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil {
			return nil, fmt.Errorf("read a subject: %w", err)
		}
		body, err := io.ReadAll(m.Body)
		if err != nil {
			return nil, fmt.Errorf("read a mail: %w", err)
		}
		s, err := read(subject, strings.ReplaceAll(string(body), "\r\n", "\n"))
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}

var (
	mark  = regexp.MustCompile(`^\[(\w+)\] `)
	times = regexp.MustCompile(`(?m)^Since: (\d.*? UTC)(?:, until (\d.*? UTC))?`)
	link  = regexp.MustCompile(`(?m)^More: \S+/incidents/(\d+)$`)
)

// read reads a notice of one incident, as docs/NOTICES.md words it.
func read(title, text string) (step, error) {
	what, of := mark.FindStringSubmatch(title), link.FindStringSubmatch(text)
	if what == nil || of == nil {
		return step{}, fmt.Errorf("no notice of one incident: %q: %q", title, text)
	}
	number, err := strconv.ParseUint(of[1], 10, 64)
	if err != nil {
		return step{}, fmt.Errorf("the number of an incident: %w", err)
	}
	s := step{Incident: number, What: what[1]}
	if at := times.FindStringSubmatch(text); at != nil {
		s.Since, s.Until = at[1], at[2]
	}
	return s, nil
}

// compare holds what came to a channel against what is to have come.
func compare(channel string, want, got []step) Told {
	out := Told{Channel: channel}
	place := make(map[step]int, len(want))
	for i, s := range want {
		place[s] = i
	}
	seen := map[step]int{} // by when it came first
	last := -1
	var rewound run
	for _, s := range got {
		if at, again := seen[s]; again {
			rewound.add(at)
			continue
		}
		rewound.end(&out, len(seen))
		at, known := place[s]
		switch {
		case !known:
			out.Strange++
		case at < last:
			out.Unordered++
		}
		last = max(last, at)
		seen[s] = len(seen)
	}
	rewound.end(&out, len(seen))
	out.Messages = len(seen)
	for s := range place {
		if _, came := seen[s]; !came {
			out.Missing++
		}
	}
	return out
}

// run is a run of messages that came before: next is where the one that follows
// the last of them came first.
type run struct{ messages, rewinds, next int }

// add adds the message that came first at that place.
func (r *run) add(at int) {
	if r.messages == 0 || at != r.next {
		r.rewinds++
	}
	r.messages, r.next = r.messages+1, at+1
}

// end says what the run was, with so many messages before it: what comes again by
// a kill goes on to the last of them.
func (r *run) end(out *Told, before int) {
	if r.messages > 0 && r.next != before {
		out.Twice += r.messages
	} else {
		out.Again, out.Rewinds = out.Again+r.messages, out.Rewinds+r.rewinds
	}
	*r = run{}
}

// keys follows PagerDuty's incidents of the servers: the first event of each
// triggers it, the last one resolves it.
func (t *Told) keys(events []notifytest.Event) {
	first, last := map[string]string{}, map[string]string{}
	for _, e := range events {
		if _, rest, _ := strings.Cut(e.DedupKey, "|"); !ours.MatchString(strings.SplitN(rest, "|", 2)[0]) {
			continue // the agent's own trouble, say, which may last
		}
		if first[e.DedupKey] == "" {
			first[e.DedupKey] = e.Action
		}
		last[e.DedupKey] = e.Action
	}
	t.Keys = len(last)
	for key := range last {
		if first[key] != "trigger" || last[key] != "resolve" {
			t.Unresolved++
		}
	}
}
