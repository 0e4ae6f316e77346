package drain

import (
	"cmp"
	"math"
	"slices"
)

const (
	// step is the time between two points of a curve of several agents, within
	// the first fineUntil and the last fineLast seconds; coarse that of the rest.
	step, coarse        = 10.0, 60.0
	fineUntil, fineLast = 600.0, 120.0
	// mostGap is how far apart two points may be that something between them is
	// told from: agents keep one a minute.
	mostGap = 150.0
	// lastGap is the same within the windows: a minute, and a look that was late.
	lastGap = coarse + lateAfter
)

// at is what is seen at one end.
func (p *Point) at(end string) *Sides {
	if end == served {
		return &p.Served
	}
	return &p.Asked
}

// oldShare is the share of ESTABLISHED on the old addresses; nil without any.
func oldShare(s *Sides) *float64 {
	return ratio(float64(s.Old.Established), float64(s.New.Established))
}

// oldNewShare is the same of the connections that were begun.
func oldNewShare(s *Sides) *float64 { return ratio(s.Old.NewPerSecond, s.New.NewPerSecond) }

func ratio(before, after float64) *float64 {
	if !(before >= 0 && after >= 0 && before+after > 0) {
		return nil
	}
	return new(before / (before + after))
}

// live are the connections that somebody uses, or wants to.
func (c *Count) live() int { return c.Established + c.Connecting }

// failing are those on which nothing comes through. Retransmitting ones are
// ESTABLISHED.
func (c *Count) failing() int { return c.Connecting + c.Retransmitting }

// The most that a report from elsewhere may say, so that sums stay numbers.
const (
	mostCount   = 1 << 40
	mostSeconds = 1e9
)

// bound puts a report's curve in order, and its numbers within what can be.
func (r *Report) bound() {
	r.SinceSeconds, r.DeadlineSeconds = within(r.SinceSeconds, -mostSeconds, mostSeconds), within(r.DeadlineSeconds, 0, mostSeconds)
	if r.TTLSeconds != nil {
		r.TTLSeconds = new(within(*r.TTLSeconds, 0, mostSeconds))
	}
	if r.Arrivals != nil {
		a := *r.Arrivals
		a.PerSecond, a.ExpectedPerSecond, a.ErrorPerSecond = within(a.PerSecond, 0, mostCount), within(a.ExpectedPerSecond, 0, mostCount), within(a.ErrorPerSecond, 0, mostCount)
		r.Arrivals = &a
	}
	r.LaggardsOver = min(max(r.LaggardsOver, 0), mostCount)
	r.Curve = ordered(r.Curve)
	r.Laggards, r.Resolvers, r.Probes = slices.Clone(r.Laggards), slices.Clone(r.Resolvers), slices.Clone(r.Probes) // they are the caller's
	for i := range r.Laggards {
		l := &r.Laggards[i]
		for _, n := range []*int{&l.Connections, &l.Failing, &l.Moving, &l.NewAfterTTL} {
			*n = min(max(*n, 0), mostCount)
		}
		l.OldestSeconds = within(l.OldestSeconds, 0, mostSeconds)
	}
	for i := range r.Resolvers {
		x := &r.Resolvers[i]
		x.TTLSeconds, x.MostTTLSeconds, x.AskedAgoSeconds = within(x.TTLSeconds, 0, mostSeconds), within(x.MostTTLSeconds, 0, mostSeconds), within(x.AskedAgoSeconds, 0, mostSeconds)
	}
	for i := range r.Probes {
		r.Probes[i].AgoSeconds = within(r.Probes[i].AgoSeconds, 0, mostSeconds)
	}
	r.Now.bound()
	for i := range r.Curve {
		r.Curve[i].bound()
	}
}

func (p *Point) bound() {
	p.SinceSeconds = within(p.SinceSeconds, -mostSeconds, mostSeconds)
	for _, c := range []*Count{&p.Asked.Old, &p.Asked.New, &p.Served.Old, &p.Served.New} {
		for _, n := range []*int{&c.Connections, &c.Established, &c.Connecting, &c.Retransmitting, &c.Moving} {
			*n = min(max(*n, 0), mostCount)
		}
		c.NewPerSecond, c.BytesPerSecond = within(c.NewPerSecond, 0, mostCount), within(c.BytesPerSecond, 0, mostCount*mostCount)
	}
}

// within is a number within bounds; the lower one for what is none.
func within(x, low, high float64) float64 {
	if math.IsNaN(x) {
		return low
	}
	return min(max(x, low), high)
}

// ordered is a curve by time, each time once, without what cannot be; of one
// that is too long its end.
func ordered(curve []Point) []Point {
	out := make([]Point, 0, len(curve))
	for _, p := range curve {
		if !math.IsNaN(p.SinceSeconds) && !math.IsInf(p.SinceSeconds, 0) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Point) int { return cmp.Compare(a.SinceSeconds, b.SinceSeconds) })
	out = slices.CompactFunc(out, func(a, b Point) bool { return a.SinceSeconds == b.SinceSeconds })
	return out[max(0, len(out)-mostPoints):]
}

// together adds up what the members see. One agent's curve is taken as it is;
// those of several at common times, each told from the points about it. A time of
// which one of them knows nothing is left out. bare are those who have no curve.
func together(members []Report) (now Point, curve []Point, bare []string) {
	var curves [][]Point
	for i := range members {
		m := &members[i]
		now.add(&m.Now)
		if m.armed() {
			continue
		}
		now.SinceSeconds = max(now.SinceSeconds, m.Now.SinceSeconds)
		if len(m.Curve) == 0 {
			bare = append(bare, m.Agent)
			continue
		}
		curves = append(curves, m.Curve)
	}
	switch len(curves) {
	case 0:
		return now, []Point{}, bare
	case 1:
		return now, curves[0], bare
	}
	curve = []Point{}
	from, to := math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		from, to = min(from, c[0].SinceSeconds), max(to, c[len(c)-1].SinceSeconds)
	}
	for _, at := range common(from, to) {
		sum := Point{SinceSeconds: at}
		known := true
		for _, c := range curves {
			p, ok := between(c, at, mostGap)
			known = known && ok
			sum.add(&p)
		}
		if known {
			curve = append(curve, sum)
		}
	}
	return now, curve, bare
}

// common are the times at which several agents' curves are added up: at most
// mostPoints of them.
func common(from, to float64) []float64 {
	from = max(math.Ceil(from/step)*step, -fineUntil)
	wide := coarse
	for (to-from)/wide > mostPoints-(2*fineUntil+fineLast)/step {
		wide *= 2
	}
	var out []float64
	for at := from; at <= to && len(out) < mostPoints; {
		out = append(out, at)
		if at < fineUntil || at >= to-fineLast {
			at += step
		} else {
			at += wide
		}
	}
	return out
}

// between is what a curve was at a time; false where the points about it are
// further apart than gap seconds, or there are none.
func between(curve []Point, at, gap float64) (Point, bool) {
	k, exact := slices.BinarySearchFunc(curve, at, func(p Point, at float64) int { return cmp.Compare(p.SinceSeconds, at) })
	if exact {
		return curve[k], true
	}
	if k == 0 || k == len(curve) {
		return Point{}, false
	}
	a, b := &curve[k-1], &curve[k]
	if b.SinceSeconds-a.SinceSeconds > gap {
		return Point{}, false
	}
	f := (at - a.SinceSeconds) / (b.SinceSeconds - a.SinceSeconds)
	mix := func(a, b Sides) Sides { return Sides{Old: mixed(&a.Old, &b.Old, f), New: mixed(&a.New, &b.New, f)} }
	return Point{SinceSeconds: at, Asked: mix(a.Asked, b.Asked), Served: mix(a.Served, b.Served)}, true
}

// mixed is f of the way from a to b.
func mixed(a, b *Count, f float64) Count {
	number := func(a, b float64) float64 { return a + f*(b-a) }
	whole := func(a, b int) int { return int(math.Round(number(float64(a), float64(b)))) }
	return Count{
		Connections: whole(a.Connections, b.Connections), Established: whole(a.Established, b.Established),
		Connecting: whole(a.Connecting, b.Connecting), Retransmitting: whole(a.Retransmitting, b.Retransmitting),
		NewPerSecond: number(a.NewPerSecond, b.NewPerSecond), Moving: whole(a.Moving, b.Moving), BytesPerSecond: number(a.BytesPerSecond, b.BytesPerSecond),
	}
}

// add adds what another agent saw at the same time.
func (p *Point) add(o *Point) {
	for _, x := range []struct{ to, from *Count }{
		{&p.Asked.Old, &o.Asked.Old}, {&p.Asked.New, &o.Asked.New}, {&p.Served.Old, &o.Served.Old}, {&p.Served.New, &o.Served.New},
	} {
		x.to.Add(*x.from)
	}
}

// Add adds what is counted apart.
func (c *Count) Add(o Count) {
	c.Connections += o.Connections
	c.Established += o.Established
	c.Connecting += o.Connecting
	c.Retransmitting += o.Retransmitting
	c.NewPerSecond += o.NewPerSecond
	c.Moving += o.Moving
	c.BytesPerSecond += o.BytesPerSecond
}

// lately is what was seen together within the two windows before the last look:
// at their beginning, whenever one of the members kept a point, and now. Each
// member's times are counted back from its own last look, so it does not matter
// whether they agree on when the switch was. missing are those that cannot say
// how it was at all of these times.
func (v *view) lately() (points []Point, missing []string) {
	var curves [][]Point
	ages := []float64{2 * window}
	for i := range v.members {
		m := &v.members[i]
		if m.armed() {
			continue
		}
		end := m.Now.SinceSeconds
		k, _ := slices.BinarySearchFunc(m.Curve, end, func(p Point, at float64) int { return cmp.Compare(p.SinceSeconds, at) })
		c := append(slices.Clone(m.Curve[:k]), m.Now)
		if _, ok := between(c, end-2*window, lastGap); !ok {
			missing = append(missing, m.Agent)
			continue
		}
		curves = append(curves, c)
		for i := k - 1; i >= 0 && end-c[i].SinceSeconds < 2*window; i-- {
			ages = append(ages, end-c[i].SinceSeconds)
		}
	}
	slices.SortFunc(ages, func(a, b float64) int { return cmp.Compare(b, a) })
	for _, age := range slices.Compact(ages) {
		sum := Point{SinceSeconds: v.now.SinceSeconds - age}
		for _, c := range curves {
			p, ok := between(c, c[len(c)-1].SinceSeconds-age, lastGap)
			if !ok {
				missing = append(missing, "one of them")
			}
			sum.add(&p)
		}
		points = append(points, sum)
	}
	return append(points, v.now), missing
}
