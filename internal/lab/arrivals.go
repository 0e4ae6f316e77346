package lab

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// RatePoint is a rate at a time after the start. Between points the rate runs
// in a straight line; before the first and after the last it stays.
type RatePoint struct {
	At        time.Duration
	PerSecond float64
}

// ramp is a checked list of rate points, the first at zero.
type ramp []RatePoint

func newRamp(points []RatePoint) (ramp, error) {
	if len(points) == 0 {
		return nil, errors.New("no rate given")
	}
	var r ramp
	for i, p := range points {
		if !(p.PerSecond >= 0 && p.PerSecond <= 1e6) {
			return nil, fmt.Errorf("rate of %v per second is not within 0 to 1000000", p.PerSecond)
		}
		if p.At < 0 || i > 0 && p.At <= points[i-1].At {
			return nil, fmt.Errorf("rate point at %v must come after the one before it, and not before 0s", p.At)
		}
		if i == 0 && p.At > 0 {
			r = append(r, RatePoint{PerSecond: p.PerSecond})
		}
		r = append(r, p)
	}
	return r, nil
}

// at returns the rate at t.
func (r ramp) at(t time.Duration) float64 {
	for i := 1; i < len(r); i++ {
		if a, b := r[i-1], r[i]; t < b.At {
			return a.PerSecond + (b.PerSecond-a.PerSecond)*float64(t-a.At)/float64(b.At-a.At)
		}
	}
	return r[len(r)-1].PerSecond
}

// arrivals returns when requests are due, in order, within duration and at
// most limit of them. With rng they are a Poisson process of that rate, else
// evenly spaced where the rate is even: one each time the integral of the rate
// has grown by one, the first at one half.
func (r ramp) arrivals(duration time.Duration, limit int, rng *rand.Rand) []time.Duration {
	step := func() float64 { return 1 }
	next := 0.5
	if rng != nil {
		step = rng.ExpFloat64
		next = step()
	}
	var due []time.Duration
	passed := 0.0 // the integral up to the segment
	for i := range r {
		begin, end := r[i].At, duration
		if i+1 < len(r) {
			end = min(end, r[i+1].At)
		}
		if end <= begin {
			break
		}
		from, to := r[i].PerSecond, r.at(end)
		if i+1 < len(r) && end == r[i+1].At {
			to = r[i+1].PerSecond
		}
		length := (end - begin).Seconds()
		area := (from + to) / 2 * length
		for next < passed+area {
			if len(due) == limit {
				return due
			}
			t := timeOfArea(from, (to-from)/length, next-passed)
			due = append(due, min(begin+time.Duration(t*float64(time.Second)), end))
			next += step()
		}
		passed += area
	}
	return due
}

// timeOfArea returns the t at which from·t + slope·t²/2 reaches area. The form
// of the root is the one that is exact for a slope near zero.
func timeOfArea(from, slope, area float64) float64 {
	if area <= 0 {
		return 0
	}
	return 2 * area / (from + math.Sqrt(max(from*from+2*slope*area, 0)))
}
