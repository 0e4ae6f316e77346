package config

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/invopop/jsonschema"
)

// Baseline says how what is usual is learned.
type Baseline struct {
	// Learn is how far back, in whole days from 1 to MaxLearnDays.
	Learn time.Duration
	// Factor is how much more than usual it takes to be wrong, from 1 to
	// MaxFactor.
	Factor float64
	// Quantile is which share of all values is usual, from 0.5 to 0.999.
	Quantile float64
}

const day = 24 * time.Hour

// The bounds of what is learned, and the defaults: the article's procedure.
const (
	MaxLearnDays = 56
	MaxFactor    = 10
	leastUsual   = 0.5
	mostUsual    = 0.999
)

// DefaultBaseline is what holds unless the file says otherwise.
func DefaultBaseline() Baseline {
	return Baseline{Learn: 28 * day, Factor: 1.5, Quantile: 0.95}
}

var wholeDays = regexp.MustCompile(`^([0-9]{1,3})d$`)

func (rawDays) kind() kind {
	s := text(wholeDays.String())
	s.Default = daysText(DefaultBaseline().Learn)
	return kind{"a number of days", "28d", s}
}

func (rawFactor) kind() kind {
	return kind{"a number", "1.5", &jsonschema.Schema{Type: "number", Minimum: number(1), Maximum: number(MaxFactor), Default: DefaultBaseline().Factor}}
}

func (rawQuantile) kind() kind {
	return kind{"a share", "0.95", &jsonschema.Schema{Type: "number", Minimum: number(leastUsual), Maximum: number(mostUsual), Default: DefaultBaseline().Quantile}}
}

func daysText(d time.Duration) string { return strconv.Itoa(int(d/day)) + "d" }

func checkBaseline(p *problems, raw rawBaseline) Baseline {
	out := DefaultBaseline()
	if s := raw.Learn.scalar; s.Good {
		if m := wholeDays.FindStringSubmatch(s.Text); m != nil {
			n, _ := strconv.Atoi(m[1]) // three digits at most
			out.Learn = time.Duration(n) * day
		}
		if m := wholeDays.MatchString(s.Text); !m || out.Learn < day || out.Learn > MaxLearnDays*day {
			p.add(s.At, "baseline.learn", s.Text, fmt.Sprintf("baseline.learn %s is not a number of days from 1d to %dd", quote(s.Text), MaxLearnDays), "write it as 28d")
		}
	}
	checkNumber(p, "baseline.factor", raw.Factor.scalar, 1, MaxFactor, &out.Factor)
	checkNumber(p, "baseline.quantile", raw.Quantile.scalar, leastUsual, mostUsual, &out.Quantile)
	return out
}

// checkNumber reads a plain number into into, where one is given.
func checkNumber(p *problems, path string, s scalar, least, most float64, into *float64) {
	if !s.Good {
		return
	}
	v, err := strconv.ParseFloat(s.Text, 64)
	if err != nil || !(v >= least && v <= most) {
		p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is not a number from %g to %g", path, quote(s.Text), least, most), fmt.Sprintf("choose one within, as %g", *into))
		return
	}
	*into = v
}
