package drains

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/scope"
)

// MemoryKind is the kind of their memories in the history.
const MemoryKind = "drain"

// Most is how many switches are armed and running at once; as many that were
// stopped are kept, and those running that are watched too.
const Most = config.MaxDrains

// Book has the switches by name. Make one with New.
type Book struct {
	entries map[string]*Entry
	changed bool // since the last Changed
	forget  map[string]bool
}

// Entry is one switch, or a name that is watched for one.
type Entry struct {
	Record
	// Switch is what is counted; zero while the name is only watched.
	Switch scope.Switch
	// Watch: the configuration wants switches of the name noticed.
	Watch bool
	// Restored is why the time since the switch is by the wall's clock; empty
	// where it is not.
	Restored string

	configured bool
	unsaved    bool
	says       *says
	curve      curve
	now        drain.Point     // by the last looks
	lookedAt   time.Time       // when the last of our own namespace was
	arrivals   *drain.Arrivals // the same
}

// New is an empty book.
func New() *Book { return &Book{entries: map[string]*Entry{}, forget: map[string]bool{}} }

// Entry is that of a name, nil where there is none.
func (b *Book) Entry(name string) *Entry { return b.entries[name] }

// Entries are all of them, by name.
func (b *Book) Entries() []*Entry {
	out := make([]*Entry, 0, len(b.entries))
	for _, name := range slices.Sorted(maps.Keys(b.entries)) {
		out = append(out, b.entries[name])
	}
	return out
}

// Shared says which old addresses of a switch other names that are followed have
// too, a sentence each: whose connections go there no look can tell.
func (b *Book) Shared(e *Entry) (out []string) {
	mine := &e.Switch
	for _, o := range b.Entries() {
		theirs := &o.Switch
		both := len(mine.Ports) == 0 || len(theirs.Ports) == 0 || slices.ContainsFunc(mine.Ports, theirs.Counts)
		if o == e || !both || o.State() != Armed && o.State() != Running {
			continue
		}
		for _, a := range slices.Concat(theirs.Old, theirs.New, theirs.Kept) {
			if slices.Contains(mine.Old, a) {
				out = append(out, fmt.Sprintf("%s is an address of %s too: which of its connections are for which name cannot be told", a, o.Name))
			}
		}
	}
	return out
}

// Switches are those that are to be counted, by name.
func (b *Book) Switches() []scope.Switch {
	var out []scope.Switch
	for _, e := range b.Entries() {
		if e.follows() {
			out = append(out, e.Switch)
		}
	}
	return out
}

// Changed reports whether Switches has others than at the last call.
func (b *Book) Changed() bool {
	defer func() { b.changed = false }()
	return b.changed
}

// followed counts the switches that are armed or running.
func (b *Book) followed() (n int) {
	for _, e := range b.entries {
		if e.follows() {
			n++
		}
	}
	return n
}

// follows reports whether it takes one of the places of those that are counted.
func (e *Entry) follows() bool {
	return e != nil && (e.State() == Armed || e.State() == Running)
}

// Configure takes over what the configuration has. A switch that runs goes on,
// with its resolvers and how it is told; one whose addresses were changed begins
// anew, as does one that was stopped. What is armed or watched and no longer
// there goes. It returns the names for which there is no room.
func (b *Book) Configure(drains []config.Drain) (left []string) {
	named := make(map[string]bool, len(drains))
	for _, d := range drains {
		named[d.Name] = true
		want := of(d)
		e := b.entries[d.Name]
		if e != nil && b.keeps(e, &want) {
			e.configured, e.Watch = true, d.Watched()
			e.adopt(&want)
			b.touch(e)
			continue
		}
		if !d.Watched() && !e.follows() && b.followed() >= Most {
			left = append(left, d.Name)
			continue
		}
		fresh := &Entry{Record: want, configured: true, Watch: d.Watched()}
		if !d.Watched() {
			var err error
			if fresh.Switch, err = newSwitch(&want, time.Time{}); err != nil {
				left = append(left, d.Name) // the configuration was checked
				continue
			}
		}
		b.put(fresh)
	}
	for name, e := range b.entries {
		if named[name] || !e.configured {
			continue
		}
		e.configured, e.Watch = false, false
		if s := e.State(); s == Armed || s == Watched {
			b.drop(e)
		}
	}
	return left
}

// adopt takes over how the configuration has a switch told. What somebody started
// is told as he said.
func (e *Entry) adopt(want *Record) {
	if e.Source == ByHand {
		return
	}
	e.Ports, e.Resolvers, e.Identity, e.DeadlineSeconds = want.Ports, want.Resolvers, want.Identity, want.DeadlineSeconds
	if want.TTLSeconds > 0 {
		e.TTLSeconds = want.TTLSeconds
	}
	e.Switch.Ports, e.Switch.TTL = e.Ports, e.TTL()
}

// keeps reports whether an entry stays though the configuration has this: a
// switch that was started or noticed goes before, until it is stopped.
func (b *Book) keeps(e *Entry, want *Record) bool {
	switch e.State() {
	case Running:
		return e.Source != Configured || len(want.Before) == 0 || e.same(want)
	case Stopped:
		return len(want.Before) > 0 && e.same(want)
	case Watched:
		return len(want.Before) == 0
	}
	return e.same(want)
}

// Start follows a switch that somebody says there is. The error is
// api.ErrDrainThere or an *api.Refusal, which says what is wrong.
func (b *Book) Start(now time.Time, offset time.Duration, in api.DrainRequest) (*Entry, error) {
	r, err := parse(in)
	if err != nil {
		return nil, err
	}
	old := b.entries[r.Name]
	if old != nil && old.State() == Running {
		return nil, api.ErrDrainThere
	}
	if !old.follows() && b.followed() >= Most {
		return nil, &api.Refusal{What: fmt.Sprintf("%d switches are followed, and those are the most", Most), Hint: "stop one that is over: foreshock drain stop NAME"}
	}
	since := now.Add(-seconds(in.AgoSeconds))
	r.SwitchedAt = since.Add(offset).UTC()
	s, err := newSwitch(&r, since)
	if err != nil {
		return nil, &api.Refusal{What: err.Error(), Hint: "send the addresses that go as old, and those that come or stay as new"}
	}
	e := &Entry{Record: r, Switch: s}
	if old != nil {
		e.Watch, e.configured = old.Watch, old.configured
		if old.State() == Armed && old.same(&r) {
			e.inherit(old)
		}
	}
	b.put(e)
	return e, nil
}

// Begin notes that a switch was noticed: that of an armed one, or of a name that
// is watched. The error says why it cannot be followed.
func (b *Book) Begin(offset time.Duration, name string, c drain.Change) (*Entry, error) {
	old := b.entries[name]
	if old == nil {
		return nil, api.ErrNoDrain
	}
	r := old.Record
	r.SwitchedAt, r.StoppedAt, r.StoppedBy, r.QuietSince = c.At.Add(offset).UTC(), time.Time{}, "", time.Time{}
	armed := old.State() == Armed
	if !armed {
		if !old.follows() && b.followed() >= Most {
			return nil, fmt.Errorf("%d switches are followed, and those are the most: stop one that is over", Most)
		}
		r.Source, r.Before, r.After, r.By, r.TTLSeconds = Noticed, c.Before, c.After, "the agent", 0
	}
	if r.Note = ""; len(c.Before) == 0 {
		r.Note = "the switch had been when the resolvers were asked first: it is longer ago than is said here"
	}
	r.TTLSeconds = max(r.TTLSeconds, c.TTL.Seconds())
	s, err := newSwitch(&r, c.At)
	if err != nil {
		return nil, err
	}
	e := &Entry{Record: r, Switch: s, Watch: old.Watch, configured: old.configured}
	if armed {
		e.inherit(old)
	}
	b.put(e)
	return e, nil
}

// inherit takes over what was counted of the same addresses before.
func (e *Entry) inherit(old *Entry) {
	e.curve, e.now, e.lookedAt, e.arrivals = old.curve, old.now, old.lookedAt, old.arrivals
	e.curve.saved, e.curve.anew = 0, true
	e.curve.cut(e.Switch.Since.Add(-beforeSwitch))
}

// Stop ends a switch; what was found stays to be read. The error is
// api.ErrNoDrain.
func (b *Book) Stop(now time.Time, offset time.Duration, name, by string) error {
	e := b.entries[name]
	if e == nil || e.State() == Watched || e.State() == Stopped {
		return api.ErrNoDrain
	}
	e.StoppedAt, e.StoppedBy = now.Add(offset).UTC(), by
	b.touch(e)
	return nil
}

// forgetStopped forgets what was stopped first, where there are many.
func (b *Book) forgetStopped() {
	var stopped []*Entry
	for _, e := range b.entries {
		if e.State() == Stopped && !e.configured {
			stopped = append(stopped, e)
		}
	}
	slices.SortFunc(stopped, func(x, y *Entry) int { return x.StoppedAt.Compare(y.StoppedAt) })
	for len(stopped) > Most {
		b.drop(stopped[0])
		stopped = stopped[1:]
	}
}

// put takes an entry in, in place of the one of its name.
func (b *Book) put(e *Entry) {
	old := b.entries[e.Name]
	if e.says = new(says); old != nil {
		e.says = old.says
	}
	e.curve.anew = true // the history may have one of that name
	b.entries[e.Name] = e
	if b.forget[e.Name] = old != nil && old.kept() && !e.kept(); !b.forget[e.Name] {
		delete(b.forget, e.Name)
	}
	b.touch(e)
}

func (b *Book) drop(e *Entry) {
	delete(b.entries, e.Name)
	b.forget[e.Name] = true
	b.changed = true
}

func (b *Book) touch(e *Entry) {
	e.unsaved, b.changed = true, true
	e.follow()
}
