package silence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// List is the silences of one host. The zero value has none. It is pure, and
// not safe for concurrent use.
type List struct {
	own        []Silence // of people, the ended ones of the last KeptFor too
	configured []Silence
	calm       map[string]time.Time // by ID: since when what it waits for is not open
	active     []Silence            // at the last Step
}

// Configure takes the place of those of the configuration.
func (l *List) Configure(silences []Silence) { l.configured = slices.Clone(silences) }

// Restore takes what was remembered beside what there is.
func (l *List) Restore(silences []Silence) {
	for _, s := range silences {
		if l.find(s.ID) < 0 {
			l.own = append(l.own, s)
		}
	}
	l.sort()
}

func (l *List) find(id string) int {
	return slices.IndexFunc(l.own, func(s Silence) bool { return s.ID == id })
}

func (l *List) sort() {
	slices.SortStableFunc(l.own, func(a, b Silence) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
}

// Add takes a silence that Check has found good and whose ID is new. Where there
// are too many it says so.
func (l *List) Add(now time.Time, s Silence) error {
	going := 0
	for i := range l.own {
		if !l.own[i].Ended(now) {
			going++
		}
	}
	if going >= MaxSilences {
		return &Problem{What: fmt.Sprintf("there are %d silences already", going), Hint: "remove some, or silence more with one"}
	}
	l.own = append(l.own, s)
	l.sort()
	return nil
}

// Remove ends a silence, and reports whether there was one of that ID that had
// not ended.
func (l *List) Remove(now time.Time, id string) (Silence, bool) {
	i := l.find(id)
	if i < 0 || l.own[i].Ended(now) {
		return Silence{}, false
	}
	s := &l.own[i]
	s.Until = now
	if s.From.After(now) {
		s.From = now
	}
	return *s, true
}

// Step ends what waits for something that has been resolved for Calm, and
// forgets what ended KeptFor ago. open reports whether something is open now. It
// returns what changed; a Silence that is forgotten has only its ID.
func (l *List) Step(now time.Time, open func(*Subject) bool) (changed []Silence) {
	for i := range l.own {
		s := &l.own[i]
		if s.Of == nil || s.Ended(now) {
			continue
		}
		if l.calm == nil {
			l.calm = make(map[string]time.Time)
		}
		since, calm := l.calm[s.ID]
		switch {
		case open(s.Of):
			delete(l.calm, s.ID)
		case !calm || since.After(now): // the clock was set back
			l.calm[s.ID] = now
		case now.Sub(since) >= Calm:
			s.Until = now
			delete(l.calm, s.ID)
			changed = append(changed, *s)
		}
	}
	l.own = slices.DeleteFunc(l.own, func(s Silence) bool {
		if !s.Ended(now) || now.Sub(s.Until) < KeptFor {
			return false
		}
		delete(l.calm, s.ID)
		changed = append(changed, Silence{ID: s.ID})
		return true
	})
	l.active = l.active[:0]
	for _, list := range [][]Silence{l.configured, l.own} {
		for i := range list {
			if list[i].Active(now) {
				l.active = append(l.active, list[i])
			}
		}
	}
	return changed
}

// Active are those that held at the last Step; good until the next one.
func (l *List) Active() []Silence { return l.active }

// Going are those that have not ended at now, of the configuration first.
func (l *List) Going(now time.Time) []Silence {
	return slices.DeleteFunc(l.All(), func(s Silence) bool { return s.Ended(now) })
}

// All are those of the configuration and of people, lately ended ones too.
func (l *List) All() []Silence { return slices.Concat(l.configured, l.own) }
