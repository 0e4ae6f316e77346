package agent

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/notify"
	"github.com/foreshock/foreshock/internal/tcp"
)

// The agent's own trouble: what keeps it from its work is an incident too.

const (
	// troubleEvery is how often it is gathered.
	troubleEvery = time.Second
	// blindLooks on end must fail: of a tier that looks once a minute one failure
	// lasts longer than the hold.
	blindLooks = 2
	// lateTimes its interval is how old what a tier sees may be.
	lateTimes = 5
	// eventFor is how long something that has happened counts as trouble: long
	// enough to be seen, and then it is over.
	eventFor = 10 * time.Minute
	// gaveUpFor is how long a channel that gave up notices and has delivered none
	// since is in trouble. Where it ended sooner, the notice of that would be given
	// up too, and be a trouble again.
	gaveUpFor = 24 * time.Hour
)

// condition is one kind of trouble. docs/SIGNALS.md lists them.
type condition struct {
	what, trigger string
	severity      judge.Severity
	hold          time.Duration
}

// The conditions. What of the two of channels has the channel's name after it.
var (
	isBlind      = condition{"looks", "two looks on end fail or are partial, for 30 s", judge.Critical, 30 * time.Second}
	isLate       = condition{"pace", "what a tier sees is older than 5 of its intervals, for 30 s", judge.Warning, 30 * time.Second}
	lacksRights  = condition{"rights", "what could be read at the start cannot be any more, for 1 min", judge.Warning, time.Minute}
	keepsNothing = condition{"history", "the history is not written for 1 min", judge.Warning, time.Minute}
	setAside     = condition{"history_aside", "a corrupt history was set aside in the last 10 min", judge.Warning, 0}
	losesRecords = condition{"records", "something that was to be kept was dropped in the last 10 min", judge.Warning, 0}
	isUnheard    = condition{"channel", "every attempt of the channel fails, for 5 min", judge.Warning, 5 * time.Minute}
	gaveUp       = condition{"undelivered", "the channel gave up notices in the last 10 min, or has delivered none since, for a day at most", judge.Warning, 0}
	notHeard     = condition{"heartbeat", "the heartbeat is not heard, for 5 min", judge.Warning, 5 * time.Minute}
	refused      = condition{"configuration", "the configuration that was last tried is refused", judge.Warning, 0}
	lostToken    = condition{"token", "a token of the API cannot be read any more", judge.Warning, 0}
	// What renews a certificate may write one file after the other, and all is well
	// when both are there.
	badCertificate = condition{"certificate", "the certificate's files cannot be served with, or less than a tenth of its time is left, for 2 min", judge.Warning, 2 * time.Minute}
)

// trouble makes the value of a condition; of names what it is about, where there
// are several of its kind.
func (c condition) trouble(of, sentence string, advice ...string) judge.Trouble {
	what := c.what
	if of != "" {
		what += "/" + of
	}
	return judge.Trouble{What: what, Severity: c.severity, Trigger: c.trigger, Hold: c.hold, Sentence: sentence, Advice: advice}
}

// ownFacts is how the agent does at one instant.
type ownFacts struct {
	now   time.Time
	tiers []tierFacts
	// lost is what the readers could see at the start and cannot now, in words.
	lost     []string
	history  api.History
	leftOut  leftOut
	channels []notify.Status
	heart    api.Heartbeat
	refused  string // what was refused; empty where the last configuration holds
	token    string // why a token cannot be read; empty when they can
	// certificate is what is wrong with it or its files; empty for nothing.
	certificate string
}

// leftOut counts the steps that the flight recorder left out; why is the last
// error.
type leftOut struct {
	steps uint64
	why   string
}

// tierFacts is how one tier of the own namespace does.
type tierFacts struct {
	tier tcp.Tier
	// bad looks on end saw nothing or too little, the first at badSince; why is the
	// last error, empty where they were partial.
	bad      int
	badSince time.Time
	why      string
	// resting: it does not look of itself. age is how old what it sees is.
	resting       bool
	age, interval time.Duration
}

// ownTrouble remembers what has happened lately. The zero value has seen
// nothing.
type ownTrouble struct {
	events map[string]event
}

// event is a count that only grows, or a text, and when it last changed.
type event struct {
	last string
	from uint64 // the count before the last eventFor
	n    uint64
	at   time.Time // zero: not since the start
}

// of returns the troubles of an instant, in the order of docs/SIGNALS.md.
func (o *ownTrouble) of(f *ownFacts) []judge.Trouble {
	if o.events == nil {
		o.events = map[string]event{}
	}
	var out []judge.Trouble
	add := func(t judge.Trouble) { out = append(out, t) }
	if t, is := blind(f); is {
		add(t)
	}
	if t, is := late(f); is {
		add(t)
	}
	if len(f.lost) > 0 {
		add(lacksRights.trouble("", "What could be seen at the start cannot be any more: "+strings.Join(f.lost, "; ")+".",
			"See what took the capabilities or hid /proc: a changed unit, a security module, a remount. Then restart the agent."))
	}
	o.kept(f, add)
	o.told(f, add)
	if f.heart.State == api.HeartbeatFailing {
		add(notHeard.trouble("", "The heartbeat is not heard, so that somebody may be told that this agent is dead: "+f.heart.LastError+".",
			"See whether the switch may be reached from here, and whether its address is right; then reload."))
	}
	if f.refused != "" {
		add(refused.trouble("", "The configuration was refused when it was last read ("+f.refused+"): the one before it holds.",
			"Run foreshock config check: it says what is wrong, and where. A restart would not start with it."))
	}
	if f.token != "" {
		add(lostToken.trouble("", "A token of the API cannot be read any more: "+f.token+". What was read at the start holds.",
			"Put the file back, readable for the user that the agent runs as: a restart would not start without."))
	}
	if f.certificate != "" {
		add(badCertificate.trouble("", "The certificate of page and API: "+f.certificate+". The one that was last good is served with.",
			"Put a certificate and its key there that are good and of one pair, readable for the user that the agent runs as: they are read within a minute. See why what renews them has not."))
	}
	return out
}

// blind: looks see nothing, or so little that it may not be judged.
func blind(f *ownFacts) (judge.Trouble, bool) {
	var says []string
	var since time.Time
	for i := range f.tiers {
		x := &f.tiers[i]
		if x.bad < blindLooks {
			continue
		}
		if since.IsZero() || x.badSince.Before(since) {
			since = x.badSince
		}
		how := "is partial"
		if x.why != "" {
			how = "fails: " + x.why
		}
		says = append(says, fmt.Sprintf("its %s look %s", x.tier, how))
	}
	if says == nil {
		return judge.Trouble{}, false
	}
	t := isBlind.trouble("", "Foreshock is blind, whatever it says of services: "+strings.Join(says, "; ")+".",
		"See what the error names: rights taken away, no memory, or no file descriptors left.")
	t.Since = since
	return t, true
}

// late: looks come far behind their time.
func late(f *ownFacts) (judge.Trouble, bool) {
	var says []string
	for i := range f.tiers {
		if x := &f.tiers[i]; !x.resting && x.bad < blindLooks && x.interval > 0 && x.age > lateTimes*x.interval {
			says = append(says, fmt.Sprintf("what %s sees is %.0f s old, and should be %.1f s", x.tier, x.age.Seconds(), x.interval.Seconds()))
		}
	}
	if says == nil {
		return judge.Trouble{}, false
	}
	return isLate.trouble("", "Foreshock looks too seldom to be relied on: "+strings.Join(says, "; ")+".",
		"Give it more of a core (observe.cpu_budget), or see what takes the processor from it."), true
}

// kept is about what is to outlive the agent.
func (o *ownTrouble) kept(f *ownFacts, add func(judge.Trouble)) {
	h := &f.history
	if h.State == api.HistoryFailing || h.State == api.HistoryOpening {
		add(keepsNothing.trouble("", fmt.Sprintf("The history is not written: %s. Watching goes on; %s.", h.Reason, plural(h.Waiting, "entry waits", "entries wait")),
			"Make room on the disk of "+h.Directory+", or make it writable: what waits is written then."))
	}
	if e := o.said("aside", f.now, h.SetAside); e.recent(f.now) {
		add(setAside.trouble("", "The history was corrupt and was set aside as "+h.SetAside+"; a new one is begun.",
			"Look at the disk: a file that went bad once may again. foreshock history export reads what is left of the old one."))
	}
	dropped := o.counted("dropped", f.now, h.Dropped)
	var says []string
	if dropped.recent(f.now) {
		says = append(says, plural(int(dropped.n-dropped.from), "entry of the history was dropped", "entries of the history were dropped"))
	}
	if e := o.counted("left out", f.now, f.leftOut.steps); e.recent(f.now) {
		says = append(says, fmt.Sprintf("%s, %s", plural(int(e.n-e.from), "step is missing from the flight recording", "steps are missing from the flight recording"), f.leftOut.why))
	}
	if says != nil {
		add(losesRecords.trouble("", "What was to be kept is lost: "+strings.Join(says, "; ")+".",
			"See why the history is not written. Alerts are not concerned."))
	}
}

// told is about the channels.
func (o *ownTrouble) told(f *ownFacts, add func(judge.Trouble)) {
	for i := range f.channels {
		c := &f.channels[i]
		if c.Failing {
			add(isUnheard.trouble(c.Name, fmt.Sprintf("Nobody hears of incidents by %s: %s; %s.", c.Name, lastError(c), plural(c.Queued, "notice waits", "notices wait")),
				"See whether its receiver runs and may be reached from here, and whether address and key are right; then reload."))
		}
		e := o.counted("undelivered/"+c.Kind+"/"+c.Name, f.now, c.Undelivered)
		works := o.counted("delivered/"+c.Kind+"/"+c.Name, f.now, c.Delivered)
		if e.recent(f.now) || e.since(f.now) < gaveUpFor && !works.at.After(e.at) {
			add(gaveUp.trouble(c.Name, fmt.Sprintf("%s gave up %s: %s.", c.Name, plural(int(e.n-e.from), "notice", "notices"), lastError(c)),
				"Tell who should have been told: foreshock check and /api/v1/channels say what there is."))
		}
	}
}

// lastError is what went wrong with a channel, for a sentence that names it.
func lastError(c *notify.Status) string {
	return strings.TrimPrefix(c.LastError, "channel "+c.Name+": ")
}

// counted takes a count. What it is when it is first seen is no event; where it
// fell it has begun anew.
func (o *ownTrouble) counted(name string, now time.Time, n uint64) event {
	e, known := o.events[name]
	if !known || n < e.n {
		e = event{from: n, n: n}
	}
	if n > e.n {
		if !e.recent(now) {
			e.from = e.n
		}
		e.n, e.at = n, now
	}
	o.events[name] = e
	return e
}

// said takes a text that is empty until something happens.
func (o *ownTrouble) said(name string, now time.Time, text string) event {
	e := o.events[name]
	if text != e.last && text != "" {
		e.at = now
	}
	e.last = text
	o.events[name] = e
	return e
}

func (e *event) recent(now time.Time) bool { return e.since(now) < eventFor }

// since is how long ago it was; what has not happened was as long ago as can be.
func (e *event) since(now time.Time) time.Duration {
	if e.at.IsZero() {
		return math.MaxInt64
	}
	return now.Sub(e.at)
}

// troubled has the court judge how the agent itself does, and returns all
// incidents as they then are. It is the loop's.
func (a *agent) troubled(now time.Time, h *Host, incidents []judge.Incident) []judge.Incident {
	if now.Sub(a.troubledAt) < troubleEvery {
		return incidents
	}
	a.troubledAt = now
	h.court.Trouble(now, a.own.of(a.ownFacts(now, h)))
	return h.court.Incidents(now)
}

// ownFacts gathers them.
func (a *agent) ownFacts(now time.Time, h *Host) *ownFacts {
	f := &ownFacts{now: now, lost: h.own.lost(), history: a.keeper.shown(), leftOut: a.leftOut, channels: a.notices.status(), heart: a.heart.shown()}
	f.tiers = h.own.tierFacts(now)
	if refused := a.refused.Load(); refused != nil {
		f.refused = *refused
	}
	if token := a.tokenLost.Load(); token != nil {
		f.token = *token
	}
	if bad := a.certificateBad.Load(); bad != nil {
		f.certificate = *bad
	}
	return f
}

// tierFacts is how the tiers do.
func (p *Pipeline) tierFacts(now time.Time) []tierFacts {
	var out []tierFacts
	for _, t := range [...]tcp.Tier{tcp.Pulse, tcp.Focus, tcp.Odd, tcp.Full} {
		st := &p.status[t]
		x := tierFacts{tier: t, bad: st.bad, badSince: st.badSince, resting: p.schedule.Rests(t), interval: p.schedule.Interval(t)}
		if st.err != nil {
			x.why = st.err.Error()
		}
		if seen := p.schedule.Seen(t); !seen.IsZero() {
			x.age = now.Sub(seen)
		}
		out = append(out, x)
	}
	return out
}

// ableTo is what the readers can do.
type ableTo struct {
	fallback bool // sock_diag is refused
	missing  []string
}

func (p *Pipeline) able() ableTo { return ableTo{p.fallback != nil, p.reader.Abilities().Missing()} }

// lost is what the readers could see at the start and cannot now.
func (p *Pipeline) lost() []string {
	var out []string
	if p.fallback != nil && !p.began.fallback {
		out = append(out, "sock_diag is refused, /proc/net/tcp is read instead: "+p.fallback.Error())
	}
	for _, missing := range p.reader.Abilities().Missing() {
		if !slices.Contains(p.began.missing, missing) {
			out = append(out, missing)
		}
	}
	if p.ownersE != nil {
		out = append(out, "who owns which socket: "+p.ownersE.Error())
	}
	return out
}

// refuse notes why a configuration was not taken over; nil takes that back. Its
// words say how much is wrong and not what: that may quote a secret, and is in
// the log.
func (a *agent) refuse(path string, err error) {
	if err == nil {
		a.refused.Store(nil)
		return
	}
	n := strings.Count(strings.TrimSpace(err.Error()), "\n") + 1
	words := plural(n, "problem", "problems")
	if path != "" {
		words = path + ": " + words
	}
	a.refused.Store(&words)
}
