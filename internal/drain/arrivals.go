package drain

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// arriving adds up what arrives and what should, at one end: where everybody's
// connections come to, if both sides are held, else where ours begin. What is
// expected to come to a host that holds only the old addresses comes to another
// one now, so with one side alone nothing is said.
func (v *view) arriving() *Arrivals {
	end := asked
	if v.holdsOld && v.holdsNew || v.holdsNew && v.oldDead {
		end = served
	}
	sum := v.arrivingAt(end)
	if sum == nil && end == served {
		sum = v.arrivingAt(asked)
	}
	return sum
}

func (v *view) arrivingAt(end string) *Arrivals {
	var sum Arrivals
	var from []string
	var square float64
	for i := range v.members {
		m := &v.members[i]
		a := m.Arrivals
		if a == nil || a.At != end {
			// A host that took none before the switch has nothing to expect, and what
			// comes to it now is what left the others.
			if end == served {
				now := m.Now.at(end)
				sum.PerSecond += now.Old.NewPerSecond + now.New.NewPerSecond
			}
			continue
		}
		sum.PerSecond += a.PerSecond
		sum.ExpectedPerSecond += a.ExpectedPerSecond
		square += a.ErrorPerSecond * a.ErrorPerSecond
		if a.From != "" && !slices.Contains(from, a.From) {
			from = append(from, a.From)
		}
	}
	if !(sum.ExpectedPerSecond > 0) || math.IsInf(sum.ExpectedPerSecond, 0) {
		return nil
	}
	slices.Sort(from)
	sum.ErrorPerSecond, sum.From, sum.At = math.Sqrt(square), strings.Join(from, ", "), end
	return &sum
}

// beyond reports whether fewer arrive than chance would have it.
func (a *Arrivals) beyond() bool {
	return a.PerSecond < a.ExpectedPerSecond-a.ErrorPerSecond && a.share() >= missingLeast
}

func (a *Arrivals) share() float64 {
	return min(max(1-a.PerSecond/a.ExpectedPerSecond, 0), 1)
}

// missing reports whether users arrive nowhere.
func (v *view) missing() bool { return v.arrivals != nil && v.arrivals.beyond() }

// missingSays is the share that arrives nowhere and a sentence on it.
func missingSays(a *Arrivals) (*float64, string) {
	if a == nil {
		return nil, ""
	}
	numbers := fmt.Sprintf("(expected %s/s ± %s, seen %s/s)", rate(a.ExpectedPerSecond), rate(a.ErrorPerSecond), rate(a.PerSecond))
	share := a.share()
	switch {
	case a.beyond():
		return &share, fmt.Sprintf("since the switch %s of the usual new connections have not arrived %s", percent(share), numbers)
	case share >= missingLeast:
		return &share, "as many new connections arrive as chance would have it " + numbers
	}
	return &share, "the usual new connections arrive " + numbers
}
