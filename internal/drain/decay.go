package drain

import "math"

const (
	// settledShare is below which a drain may be settled.
	settledShare = 0.01
	// begunBy is how long after the switch the first share may be seen and still
	// pass for that at the switch, and how long before it the last.
	begunBy = 60.0
	// fitLeast and fitMost bound the last stretch that a forecast goes by, in
	// seconds: a third of the time since the switch. fitPoints is the least that
	// it takes.
	fitLeast, fitMost = 60.0, 600.0
	fitPoints         = 6
	// certain is how many standard errors a slope must be below zero, and what a
	// forecast's error is told as.
	certain = 2.0
	// endsAtMost: what would take longer does not end.
	endsAtMost = 7 * 24 * 3600.0
)

// decay is how the old share went down; see Status.
type decay struct {
	half, left95, left99 *float64
	endsIn, endsError    *float64
}

// sample is the share on the old addresses at one time.
type sample struct {
	at         float64
	share      float64
	old, whole float64
}

// decayOf reads the decay off a curve of one end, now after the switch.
func decayOf(curve []Point, last Point, end string, now float64) decay {
	var all []sample
	add := func(p *Point) {
		s := p.at(end)
		if share := oldShare(s); share != nil {
			all = append(all, sample{p.SinceSeconds, *share, float64(s.Old.Established), float64(s.Old.Established + s.New.Established)})
		}
	}
	for i := range curve {
		if p := &curve[i]; p.SinceSeconds < last.SinceSeconds {
			add(p)
		}
	}
	add(&last)
	var d decay
	first, after, ok := atSwitch(all)
	if !ok {
		return d
	}
	smoothed := median3(after)
	d.half, d.left95, d.left99 = leftAt(smoothed, 0.5*first), leftAt(smoothed, 0.05*first), leftAt(smoothed, 0.01*first)
	d.endsIn, d.endsError = ends(after, smoothed, now)
	return d
}

// atSwitch is the share at the switch, and the samples from then on.
func atSwitch(all []sample) (first float64, after []sample, ok bool) {
	k := 0
	for k < len(all) && all[k].at <= 0 {
		k++
	}
	switch {
	case k > 0 && all[k-1].at >= -begunBy:
		k--
		at := all[k]
		at.at = 0
		after = append([]sample{at}, all[k+1:]...)
	case k < len(all) && all[k].at <= begunBy:
		after = all[k:]
	default:
		return 0, nil, false
	}
	return after[0].share, after, after[0].share > 0
}

// median3 takes out what only one sample says: each share is the median of
// itself and its two neighbours.
func median3(in []sample) []sample {
	out := append([]sample{}, in...)
	for i := 1; i+1 < len(in); i++ {
		a, b, c := in[i-1].share, in[i].share, in[i+1].share
		out[i].share = max(min(a, b), min(max(a, b), c))
	}
	return out
}

// leftAt is when the share fell below a level and stayed there, for two samples
// at least; nil where it did not.
func leftAt(in []sample, level float64) *float64 {
	last := -1
	for i := range in {
		if in[i].share >= level {
			last = i
		}
	}
	if last < 0 || last+2 >= len(in) {
		return nil
	}
	a, b := &in[last], &in[last+1]
	at := b.at
	if a.share > b.share {
		at = a.at + (b.at-a.at)*(a.share-level)/(a.share-b.share)
	}
	return new(max(at, 0))
}

// line is a weighted fit of a line: y = level + slope × (x − middle), with the
// standard errors of both.
type line struct {
	middle, level, slope   float64
	levelError, slopeError float64
}

// fit fits the logarithm of the shares. A share of n connections is off by
// chance, and its logarithm by about 1/√old; where the samples are off by more
// than that, so are the errors.
func fit(in []sample) (f line, ok bool) {
	if len(in) < 3 {
		return f, false
	}
	var weights, x, y float64
	logarithm := func(s *sample) (y, weight float64) { return math.Log((s.old + 0.5) / (s.whole + 1)), s.old + 0.5 }
	for i := range in {
		l, w := logarithm(&in[i])
		weights += w
		x += w * in[i].at
		y += w * l
	}
	f.middle, f.level = x/weights, y/weights
	var xx, xy float64
	for i := range in {
		l, w := logarithm(&in[i])
		dx := in[i].at - f.middle
		xx += w * dx * dx
		xy += w * dx * (l - f.level)
	}
	if !(xx > 0) {
		return f, false
	}
	f.slope = xy / xx
	var rest float64
	for i := range in {
		l, w := logarithm(&in[i])
		off := l - f.level - f.slope*(in[i].at-f.middle)
		rest += w * off * off
	}
	spread := math.Sqrt(max(1, rest/float64(len(in)-2)))
	f.levelError, f.slopeError = spread/math.Sqrt(weights), spread/math.Sqrt(xx)
	return f, true
}

// falls reports whether the line falls by more than chance would have it.
func (f *line) falls(errors float64) bool { return f.slope+errors*f.slopeError < 0 }

// ends forecasts when less than 1 % is left, in seconds from now, and by how much
// that may be off: two standard errors. Both are nil where the share does not
// fall beyond noise, over the last stretch and over its second half: what has
// fallen and then stays is not on its way.
func ends(in, smoothed []sample, now float64) (in1, off *float64) {
	last := len(in) - 1
	if smoothed[last].share < settledShare {
		return new(0.0), new(0.0)
	}
	until := in[last].at
	stretch := min(max(until/3, fitLeast), fitMost)
	whole := from(in, until-stretch)
	f, ok := fit(whole)
	if !ok || len(whole) < fitPoints || !f.falls(certain) {
		return nil, nil
	}
	if late, ok := fit(from(in, until-stretch/2)); !ok || !late.falls(1) {
		return nil, nil
	}
	at := f.middle + (math.Log(settledShare)-f.level)/f.slope
	far := certain * math.Hypot(f.levelError, (at-f.middle)*f.slopeError) / -f.slope
	if at-now > endsAtMost {
		return nil, nil
	}
	return new(max(at-now, 0)), new(far)
}

// from are the samples from a time on.
func from(in []sample, at float64) []sample {
	k := 0
	for k < len(in) && in[k].at < at {
		k++
	}
	return in[k:]
}
