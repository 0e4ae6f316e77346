package measure

import "math"

// Usual learns what a rate usually is and tells when it leaves that: more than
// four mean deviations and a floor above its mean. The zero value has learned
// nothing and finds nothing unusual.
type Usual struct {
	mean, deviation float64
	samples         int
}

const (
	usualWeight   = 0.02 // at 4 Hz the memory is about 12 s
	usualMinimum  = 40   // samples before it speaks
	usualTimes    = 4
	usualFloorPer = 5 // events per second that are nothing to hurry for
)

// Unusual takes the next value, and reports whether it stands out from those
// before it.
func (u *Usual) Unusual(value float64) bool {
	out := u.samples >= usualMinimum && value > u.mean+usualTimes*u.deviation+usualFloorPer
	weight := math.Max(usualWeight, 1/float64(u.samples+1))
	u.deviation += weight * (math.Abs(value-u.mean) - u.deviation)
	u.mean += weight * (value - u.mean)
	u.samples++
	return out
}

// alarmRates are the host's signals whose jump brings a full look forward.
var alarmRates = [...]Signal{RetransmittedSegmentsRate, RetransmissionTimeoutsRate, EstabResetsRate, AttemptFailsRate}

// Alarm watches the host's rates for a jump in retransmissions, resets or
// failed attempts. The zero value is ready.
type Alarm struct {
	usual [len(alarmRates)]Usual
}

// Jumped takes the view of one pulse and reports whether any of the rates
// moved beyond its usual.
func (a *Alarm) Jumped(host *ScopeSignals) bool {
	jumped := false
	for i, sig := range alarmRates {
		if value, known := host.Get(sig).Get(); known {
			jumped = a.usual[i].Unusual(value) || jumped
		}
	}
	return jumped
}
