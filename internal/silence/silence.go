package silence

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds.
const (
	// MaxSilences is how many silences of people there are at once.
	MaxSilences = 1000
	// MaxSpan is how long one may last: a year. What is forgotten ends.
	MaxSpan = 366 * 24 * time.Hour
	// MaxWindows is how many windows one has.
	MaxWindows = 14
	// Calm is for how long what an UntilResolved waits for must not be open: it
	// may open again, and a restarted agent needs time to see it again.
	Calm = 2 * time.Minute
	// KeptFor is for how long an ended silence is remembered: what it covered is
	// not learned, and hours are made of minutes as late as that.
	KeptFor = 48 * time.Hour

	maxText = 128 // characters of why and by
)

// Silence keeps quiet what it matches, at its times.
type Silence struct {
	// ID is unique on its host: six hex digits, or "maintenance/NAME" for one of
	// the configuration.
	ID    string  `json:"id"`
	Match Matcher `json:"match"`
	// From is when it begins. Until is when it ends, or ended; zero is never,
	// only for one of the configuration.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// UntilResolved is an incident with which it ends sooner; 0 is none. Of is
	// what that incident is about, whatever its number after a restart.
	UntilResolved uint64   `json:"until_resolved,omitempty"`
	Of            *Subject `json:"of,omitempty"`
	// Weekly are the only times at which it holds; none: all the time.
	Weekly []Window `json:"weekly,omitempty"`
	Why    string   `json:"why"`
	By     string   `json:"by"`
}

// Configured is the prefix of the ID of one that the configuration has.
const Configured = "maintenance/"

// IsConfigured reports whether the configuration has it, so that only a reload
// takes it away.
func (s *Silence) IsConfigured() bool { return strings.HasPrefix(s.ID, Configured) }

// Check says what is wrong with a silence that somebody asks for at now.
func (s *Silence) Check(now time.Time, causes []string) error {
	if err := s.Match.Check(causes); err != nil {
		if p, ok := err.(*Problem); ok && p.Key != "" { //nolint:errorlint // Check returns nothing else
			p.Key = "match." + p.Key
		}
		return err
	}
	switch {
	case !plain(s.Why):
		return &Problem{"why", s.Why, fmt.Sprintf("why is not 1 to %d printable characters", maxText), "say it for whoever sees it later"}
	case !plain(s.By):
		return &Problem{"by", s.By, fmt.Sprintf("by is not 1 to %d printable characters", maxText), "say who you are"}
	case !s.Until.After(s.From):
		return &Problem{Key: "until", What: "it ends before it begins", Hint: "give it a time in the future"}
	case !s.Until.After(now):
		return &Problem{Key: "until", What: "it is over already", Hint: "give it a time in the future"}
	case s.Until.Sub(s.From) > MaxSpan || s.From.Sub(now) > MaxSpan:
		return &Problem{Key: "until", What: "it lasts longer than a year, or begins later than in a year", Hint: "what is forgotten must end: make it shorter, or a maintenance window of the configuration"}
	case len(s.Weekly) > MaxWindows:
		return &Problem{Key: "weekly", What: fmt.Sprintf("it has more than %d weekly times", MaxWindows), Hint: "make it several silences"}
	}
	return nil
}

func plain(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxText && printable(s)
}

// Active reports whether it holds at now.
func (s *Silence) Active(now time.Time) bool {
	if now.Before(s.From) || s.Ended(now) {
		return false
	}
	return len(s.Weekly) == 0 || slices.ContainsFunc(s.Weekly, func(w Window) bool { return w.Has(now) })
}

// Ended reports whether it is over for good.
func (s *Silence) Ended(now time.Time) bool { return !s.Until.IsZero() && !now.Before(s.Until) }

// Silenced returns the first of the silences that keeps a subject quiet at now, or
// nil.
func Silenced(silences []Silence, now time.Time, subject Subject) *Silence {
	for i := range silences {
		if s := &silences[i]; s.Match.Matches(&subject) && s.Active(now) {
			return s
		}
	}
	return nil
}
