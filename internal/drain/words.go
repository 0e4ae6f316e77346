package drain

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// stopped is a sentence with its full stop, unless it ends with a mark of its own.
func stopped(says string) string {
	if strings.HasSuffix(says, "?") || strings.HasSuffix(says, ".") {
		return says
	}
	return says + "."
}

// percent is a share for people: "40 %", "0.4 %". What is not nothing is never
// shown as nothing, and what is not all never as all.
func percent(share float64) string {
	p := 100 * share
	switch {
	case p <= 0:
		return "0 %"
	case p < 0.1:
		return "below 0.1 %"
	case p < 10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", p), ".0") + " %"
	case p < 100:
		return fmt.Sprintf("%.0f %%", min(p, 99))
	}
	return "100 %"
}

// counted is a number with its noun: "1 connection", "2 connections", "2
// processes".
func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// lasting is a time in seconds as people say it: "42 s", "5 min", "1 h 20 min".
func lasting(seconds float64) string {
	s := int(math.Round(min(max(seconds, 0), 1e9)))
	h, m := s/3600, s/60%60
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case h >= 48:
		return fmt.Sprintf("%d days", h/24)
	case h > 0 && m == 0:
		return fmt.Sprintf("%d h", h)
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case s < 600 && s%60 != 0:
		return fmt.Sprintf("%d min %d s", m, s%60)
	}
	return fmt.Sprintf("%d min", m)
}

// rate is a rate for people, without its unit.
func rate(perSecond float64) string {
	if perSecond >= 10 || perSecond == math.Trunc(perSecond) {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.2g", perSecond)
}

// mostNamed is how many things a sentence names.
const mostNamed = 3

// listed is a list for people: "a, b and c", "a, b, c and 4 more".
func listed(names []string) string {
	if over := len(names) - mostNamed; over > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), over)
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func addresses(all []netip.Addr) string {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.String()
	}
	return listed(names)
}

// theAddress is "the old address 192.0.2.10", or of several "the old addresses".
func theAddress(side string, all []netip.Addr) string {
	if len(all) == 1 {
		return "the " + side + " address " + all[0].String()
	}
	return "the " + side + " addresses"
}

// some is "is" or "are".
func some(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
