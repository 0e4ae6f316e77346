package rulefile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxSamples is how many samples a series may have: a day of seconds, and more.
const MaxSamples = 100_000

// Sample is one step of a hand-written series.
type Sample struct {
	Value float64
	Kind  SampleKind
}

// SampleKind says what happens at a step.
type SampleKind uint8

// The kinds. The zero value is that no look sees the signal.
const (
	Missing SampleKind = iota // the last value stays until it is too old
	Seen                      // Value is seen
	Stale                     // the signal is unknown at once
)

// ParseSeries reads the shorthand that promtool's tests use, its parts
// separated by spaces:
//
//	5        one sample
//	5x3      5 and 3 more of it
//	1+2x3    1, and 3 more, each 2 more than the last: 1 3 5 7
//	9-2x3    9 7 5 3
//	_        a look that does not see the signal; _x3 is three of them
//	stale    unknown from here on, until it is seen again
func ParseSeries(text string) ([]Sample, error) {
	var out []Sample
	for part := range strings.FieldsSeq(text) {
		samples, err := parsePart(part)
		if err != nil {
			return nil, err
		}
		if len(out)+len(samples) > MaxSamples {
			return nil, fmt.Errorf("the series has more than %d samples: shorten it or lengthen the interval", MaxSamples)
		}
		out = append(out, samples...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the series is empty: write it as 0x30 or 1 2 3")
	}
	return out, nil
}

func parsePart(part string) ([]Sample, error) {
	wrong := fmt.Errorf("%.40q is no part of a series: write 5, 5x3, 1+2x3, 9-2x3, _, _x3 or stale", part)
	if part == "stale" {
		return []Sample{{Kind: Stale}}, nil
	}
	body, repeat, repeated := strings.Cut(part, "x")
	times := 0
	if repeated {
		n, err := strconv.ParseUint(repeat, 10, 31)
		if err != nil {
			return nil, wrong
		}
		if n > MaxSamples {
			return nil, fmt.Errorf("%.40q has more than %d samples: shorten it or lengthen the interval", part, MaxSamples)
		}
		times = int(n)
	}
	if body == "_" {
		if !repeated {
			times = 1
		}
		return make([]Sample, times), nil
	}
	first, step, stepped := body, 0.0, false
	// The sign of the step is the last one that is not the first letter and
	// not of an exponent.
	if i := strings.LastIndexAny(body, "+-"); i > 0 && body[i-1] != 'e' && body[i-1] != 'E' {
		var err error
		if step, err = number(body[i:]); err != nil {
			return nil, wrong
		}
		first, stepped = body[:i], true
	}
	value, err := number(first)
	if err != nil || stepped && !repeated {
		return nil, wrong
	}
	out := make([]Sample, 0, times+1)
	for i := range times + 1 {
		v := value + float64(i)*step
		if math.IsInf(v, 0) {
			return nil, wrong
		}
		out = append(out, Sample{Value: v, Kind: Seen})
	}
	return out, nil
}

// number is a decimal number; ParseFloat also takes NaN, hex and underscores. -0
// is 0: they print differently.
func number(text string) (float64, error) {
	if strings.Trim(text, "0123456789.eE+-") != "" {
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.ParseFloat(text, 64)
	if v == 0 {
		v = 0
	}
	return v, err
}
