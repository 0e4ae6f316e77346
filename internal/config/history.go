package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// NoStateDir is the value of state_dir with which nothing is kept.
const NoStateDir = "none"

// History says how much is kept of what was seen.
type History struct {
	// Raw is for how long the raw tallies of looks are kept that belong to no
	// incident, Minutes the same for what each minute was. The time is what
	// agents ran.
	Raw, Minutes time.Duration
	// MaxSize is how large the history's file may be, in bytes.
	MaxSize int64
}

// The bounds of the history. Below a quarter of an hour a flight recorder is
// none; raw tallies of a month, or minutes of more than a year, are for another
// database.
const (
	MinRaw, MaxRaw         = 15 * time.Minute, 31 * day
	MinMinutes, MaxMinutes = time.Hour, 400 * day
	MinHistory, MaxHistory = 16 << 20, 1 << 40
)

func defaultHistory() History {
	return History{Raw: day, Minutes: 28 * day, MaxSize: 1 << 30}
}

type rawHistory struct {
	section
	Raw     rawKeep `yaml:"raw" jsonschema_description:"For how long the raw tallies of looks are kept, from 15m to 31d; those of an incident stay with it. Default: 24h."`
	Minutes rawKeep `yaml:"minutes" jsonschema_description:"For how long it is kept what each minute was, from 1h to 400d. Default: 28d."`
	MaxSize rawSize `yaml:"max_size" jsonschema_description:"How large the history's file may be, from 16MiB to 1TiB. Default: 1GiB."`
}

type (
	rawStateDir struct{ scalar }
	rawKeep     struct{ scalar } // a duration that may be days
	rawSize     struct{ scalar }
)

func (rawStateDir) kind() kind {
	return kind{"an absolute path or none", "/var/lib/foreshock or none", text("^(/|none$)")}
}

func (rawKeep) kind() kind {
	return kind{"a duration", "24h or 28d", text(`^([0-9]+(\.[0-9]+)?d|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`)}
}

func (rawSize) kind() kind {
	return kind{"a size", "1GiB or 500MiB", text(`^[0-9]+(\.[0-9]+)?(KiB|MiB|GiB|TiB)$`)}
}

// checkStateDir reads state_dir: empty where it is not given.
func checkStateDir(p *problems, s scalar) string {
	if !s.Good {
		return ""
	}
	dir, problem := parseStateDir(s.Text)
	if problem != "" {
		p.add(s.At, "state_dir", s.Text, "state_dir "+quote(s.Text)+" "+problem, stateDirHint)
	}
	return dir
}

const stateDirHint = "write it as /var/lib/foreshock, or none to keep nothing"

// ParseStateDir reads the value of state_dir: an absolute path, or none.
func ParseStateDir(text string) (string, error) {
	dir, problem := parseStateDir(text)
	if problem != "" {
		return "", fmt.Errorf("state-dir %s %s: %s", quote(text), problem, stateDirHint)
	}
	return dir, nil
}

func parseStateDir(text string) (dir, problem string) {
	switch {
	case text == NoStateDir:
		return text, ""
	case !strings.HasPrefix(text, "/"):
		return "", "is not an absolute path"
	case !printable(text):
		return "", "has a character that cannot be printed"
	case len(text) > maxStateDir:
		return "", fmt.Sprintf("is longer than %d bytes", maxStateDir)
	}
	return text, ""
}

// maxStateDir leaves room for names below it.
const maxStateDir = maxPath - 256

func checkHistory(p *problems, raw rawHistory) History {
	h := defaultHistory()
	if raw.Raw.Good {
		h.Raw = checkKeep(p, "history.raw", raw.Raw.scalar, MinRaw, MaxRaw)
	}
	if raw.Minutes.Good {
		h.Minutes = checkKeep(p, "history.minutes", raw.Minutes.scalar, MinMinutes, MaxMinutes)
	}
	if raw.MaxSize.Good {
		h.MaxSize = checkSize(p, "history.max_size", raw.MaxSize.scalar, MinHistory, MaxHistory)
	}
	return h
}

// checkKeep reads a duration that may be in days: "24h", "28d".
func checkKeep(p *problems, path string, s scalar, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(s.Text)
	if number, ok := strings.CutSuffix(s.Text, "d"); ok && plainNumber.MatchString(number) && !strings.HasSuffix(number, "%") {
		days, parseErr := strconv.ParseFloat(number, 64)
		if err = parseErr; days > most.Hours() { // so that it is within what a duration can be
			days = most.Hours()
		}
		d = time.Duration(math.Round(days * float64(day)))
	}
	switch {
	case err != nil:
		hint := "write a number with its unit, as 24h or 28d"
		if plainNumber.MatchString(s.Text) && !strings.HasSuffix(s.Text, "%") {
			hint = "add the unit: " + s.Text + "d is days"
		}
		p.add(s.At, path, s.Text, path+" "+quote(s.Text)+" is not a duration", hint)
	case d < least || d > most:
		p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is not within %s to %s", path, quote(s.Text), keepText(least), keepText(most)), "choose one within")
	default:
		return d
	}
	return 0
}

// keepText writes a duration of two days or more in days, where they are whole.
func keepText(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return daysText(d)
	}
	return durationText(d)
}

// sizeUnits are the units of a size, the largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func checkSize(p *problems, path string, s scalar, least, most int64) int64 {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(s.Text, u.name)
		if !ok || !plainNumber.MatchString(number) || strings.HasSuffix(number, "%") {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		size := n * float64(u.bytes)
		if err != nil || size < float64(least) || size > float64(most) {
			p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is not within %s to %s", path, quote(s.Text), sizeText(least), sizeText(most)), "choose one within")
			return 0
		}
		return int64(math.Round(size))
	}
	p.add(s.At, path, s.Text, path+" "+quote(s.Text)+" is not a size", "write a number with its unit, as 1GiB or 500MiB")
	return 0
}

// sizeText writes a size so that reading it gives the same again, for sizes
// that were read.
func sizeText(bytes int64) string {
	for _, u := range sizeUnits {
		if bytes >= u.bytes {
			return strconv.FormatFloat(float64(bytes)/float64(u.bytes), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(float64(bytes)/1024, 'f', -1, 64) + "KiB"
}

func effectiveHistory(line writeLine, c Config) {
	switch c.StateDir {
	case "":
		line("# state_dir: %s", defaultStateDir)
	default:
		line("state_dir: %s", yamlText(c.StateDir))
	}
	line("history: {raw: %s, minutes: %s, max_size: %s}", keepText(c.History.Raw), keepText(c.History.Minutes), sizeText(c.History.MaxSize))
}

const defaultStateDir = "the service manager's, else /var/lib/foreshock, else ~/.local/state/foreshock"
