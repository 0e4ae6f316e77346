package silence

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is a time of some weekdays by the clocks of a zone. It goes by what
// these clocks show: an hour that comes twice in autumn counts twice, one that
// is left out in spring does not come.
type Window struct {
	days     [7]bool // by time.Weekday: when it begins
	from, to int     // minutes since midnight; to is at most 24:00
	zone     *time.Location
}

// dayNames begin with Sunday, as time.Weekday does.
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Weekdays returns how days are spelled, from Monday on.
func Weekdays() []string { return append(slices.Clone(dayNames[1:]), dayNames[0]) }

const day = 24 * 60 // minutes

// ParseWindow makes a window of its parts: days as Weekdays has them, times as
// "02:00" up to "24:00", a zone as "Europe/Dublin". One that ends before it
// begins ends on the next day. The error is a *Problem.
func ParseWindow(weekdays []string, from, to, zone string) (Window, error) {
	var w Window
	if len(weekdays) == 0 {
		return Window{}, &Problem{Key: "weekdays", What: "no weekday is named", Hint: "write them as [sat, sun]"}
	}
	for _, name := range weekdays {
		i := slices.Index(dayNames, name)
		if i < 0 {
			return Window{}, &Problem{"weekdays", name, fmt.Sprintf("%.80q is no weekday", name), "the weekdays are " + strings.Join(Weekdays(), ", ")}
		}
		w.days[i] = true
	}
	var err error
	if w.from, err = parseClock("from", from); err != nil {
		return Window{}, err
	}
	if w.to, err = parseClock("to", to); err != nil {
		return Window{}, err
	}
	switch w.from {
	case day:
		return Window{}, &Problem{"from", from, "from 24:00 is the next day's 00:00", "write that day and 00:00"}
	case w.to:
		return Window{}, &Problem{"to", to, fmt.Sprintf("from %s to %s is no time", from, to), "write 00:00 and 24:00 for a whole day"}
	}
	if zone == "" || zone == "Local" || strings.TrimSpace(zone) != zone {
		return Window{}, &Problem{"zone", zone, fmt.Sprintf("%.80q names no time zone", zone), "write the zone's name, as Europe/Dublin or UTC"}
	}
	if w.zone, err = time.LoadLocation(zone); err != nil {
		return Window{}, &Problem{"zone", zone, fmt.Sprintf("there is no time zone %.80q", zone), "write the zone's name, as Europe/Dublin or UTC"}
	}
	return w, nil
}

// ParseWeekly reads a window on one line: "sat,sun 02:00-04:00 Europe/Dublin".
func ParseWeekly(text string) (Window, error) {
	fields := strings.Fields(text)
	if len(fields) == 3 {
		if from, to, ok := strings.Cut(fields[1], "-"); ok {
			return ParseWindow(strings.Split(fields[0], ","), from, to, fields[2])
		}
	}
	return Window{}, &Problem{"weekly", text, fmt.Sprintf("%.80q is no weekly time", text), `write it as "sat,sun 02:00-04:00 Europe/Dublin"`}
}

func parseClock(key, text string) (minutes int, err error) {
	hour, minute, ok := strings.Cut(text, ":")
	h, herr := strconv.Atoi(hour)
	m, merr := strconv.Atoi(minute)
	minutes = h*60 + m
	plain := ok && len(hour) == 2 && len(minute) == 2 && strings.Trim(hour+minute, "0123456789") == ""
	if !plain || herr != nil || merr != nil || m > 59 || minutes > day {
		return 0, &Problem{key, text, fmt.Sprintf("%s %.80q is no time of day", key, text), "write it as 02:00, from 00:00 to 24:00"}
	}
	return minutes, nil
}

// Has reports whether t is within the window.
func (w *Window) Has(t time.Time) bool {
	if w.zone == nil {
		return false
	}
	t = t.In(w.zone)
	today, clock := t.Weekday(), t.Hour()*60+t.Minute()
	if w.from < w.to {
		return w.days[today] && w.from <= clock && clock < w.to
	}
	return w.days[today] && w.from <= clock || w.days[(today+6)%7] && clock < w.to
}

// wire is a window as JSON and in the configuration.
type wire struct {
	Weekdays []string `json:"weekdays"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Zone     string   `json:"zone"`
}

// Parts are what ParseWindow makes the same window of.
func (w Window) Parts() (weekdays []string, from, to, zone string) {
	for i := range 7 {
		if at := (i + 1) % 7; w.days[at] {
			weekdays = append(weekdays, dayNames[at])
		}
	}
	clock := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	if w.zone != nil {
		zone = w.zone.String()
	}
	return weekdays, clock(w.from), clock(w.to), zone
}

// String is the window as ParseWeekly reads it.
func (w Window) String() string {
	days, from, to, zone := w.Parts()
	return strings.Join(days, ",") + " " + from + "-" + to + " " + zone
}

// MarshalJSON implements json.Marshaler.
func (w Window) MarshalJSON() ([]byte, error) {
	days, from, to, zone := w.Parts()
	return json.Marshal(wire{days, from, to, zone})
}

// UnmarshalJSON implements json.Unmarshaler; its error is a *Problem where the
// JSON is good.
func (w *Window) UnmarshalJSON(data []byte) error {
	var x wire
	if err := json.Unmarshal(data, &x); err != nil {
		return fmt.Errorf("read a weekly time: %w", err)
	}
	read, err := ParseWindow(x.Weekdays, x.From, x.To, x.Zone)
	if err != nil {
		return err
	}
	*w = read
	return nil
}

// Equal reports whether both are the same time in the same zone.
func (w Window) Equal(o Window) bool { return w.String() == o.String() }
