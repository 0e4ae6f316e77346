package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Plain is a text on one line, with what does not print replaced: names come from
// other people's processes, and may hold escape sequences or marks that turn the
// direction of text.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// spaced is a word of the API for people: "workers full".
func spaced(word string) string { return strings.ReplaceAll(word, "_", " ") }

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// lasting is a duration as people say it: "8.2 s", "2 min 33 s".
func lasting(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h >= 48:
		return fmt.Sprintf("%d d %d h", h/24, h%24)
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case s > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	}
	return fmt.Sprintf("%d min", m)
}

// after is how long after the suspicion something was: "+163.0 s".
func after(seconds float64) string { return fmt.Sprintf("%+.1f s", seconds) }

// quantity is a number with its unit.
func quantity(v float64, unit string) string {
	switch unit {
	case "seconds":
		return number(v) + " s"
	case "per_second":
		return number(v) + "/s"
	case "share":
		return number(100*v) + " %"
	}
	return number(v)
}

// number has as many digits as say something.
func number(v float64) string {
	if size := math.Abs(v); size >= 1e6 || size > 0 && size < 1e-3 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	} else if size >= 100 || v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 3, 64), "0"), ".")
}
