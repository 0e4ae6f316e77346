package drains

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
)

// A curve has a point each fineStep for fineFor after the switch and before it,
// then each coarseStep. Where there are mostPoints every second one of the
// coarse ones goes: the older, the fewer.
const (
	fineStep, coarseStep = 10 * time.Second, time.Minute
	fineFor              = 10 * time.Minute
	beforeSwitch         = 10 * time.Minute
	mostPoints           = 1500
)

// curve is how the connections of a switch went. The zero value is empty.
type curve struct {
	at     []time.Time // on the steady clock, in order
	points []drain.Point
	// saved counts the points, from the first on, that the history has; a curve
	// that lost others is written anew.
	saved int
	anew  bool
}

// add takes a point when it is time for one. since is when the switch was; zero:
// it has not been.
func (c *curve) add(now, since time.Time, p drain.Point) {
	step := fineStep
	if !since.IsZero() && now.Sub(since) > fineFor {
		step = coarseStep
	}
	if n := len(c.at); n > 0 && now.Sub(c.at[n-1]) < step {
		return
	}
	c.at, c.points = append(c.at, now), append(c.points, p)
	switch {
	case since.IsZero():
		c.cut(now.Add(-beforeSwitch))
	case len(c.at) >= mostPoints:
		c.thin(since)
	}
}

// cut drops what is older.
func (c *curve) cut(before time.Time) {
	n := 0
	for n < len(c.at) && c.at[n].Before(before) {
		n++
	}
	if n > 0 {
		c.at, c.points = append(c.at[:0], c.at[n:]...), append(c.points[:0], c.points[n:]...)
		c.anew, c.saved = c.anew || c.saved > 0, 0
	}
}

// thin drops every second of the coarse points but the last.
func (c *curve) thin(since time.Time) {
	n, coarse := 0, 0
	for i, at := range c.at {
		if at.Sub(since) > fineFor && i < len(c.at)-1 {
			if coarse++; coarse%2 == 0 {
				continue
			}
		}
		c.at[n], c.points[n] = at, c.points[i]
		n++
	}
	c.at, c.points = c.at[:n], c.points[:n]
	c.anew, c.saved = true, 0
}

// since are the points by the time since the switch; before there was one, by
// how long before now they were.
func (c *curve) since(now, since time.Time) []drain.Point {
	if since.IsZero() {
		since = now
	}
	out := make([]drain.Point, len(c.points))
	for i, p := range c.points {
		p.SinceSeconds = c.at[i].Sub(since).Seconds()
		out[i] = p
	}
	return out
}

// encodePoint writes a point without its time: for asked and served, old and
// new, the numbers of a Count in order. It may grow at the end of each.
func encodePoint(p *drain.Point) []byte {
	number := func(f float64) float64 {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return 0
		}
		return math.Round(f*100) / 100
	}
	var out [4][]float64
	for i, c := range counts(p) {
		out[i] = []float64{
			float64(c.Connections), float64(c.Established), float64(c.Connecting), float64(c.Retransmitting),
			number(c.NewPerSecond), float64(c.Moving), number(c.BytesPerSecond),
		}
	}
	data, _ := json.Marshal(out) // numbers that are finite can be written
	return data
}

// decodePoint reads what encodePoint wrote; what a later program added is left
// out.
func decodePoint(data []byte) (p drain.Point, err error) {
	var in [][]float64
	if err := json.Unmarshal(data, &in); err != nil {
		return p, fmt.Errorf("read a point of a curve: %w", err)
	}
	if len(in) < 4 {
		return p, fmt.Errorf("read a point of a curve: it has %d parts, and 4 are the least", len(in))
	}
	for i, c := range counts(&p) {
		whole := [...]*int{&c.Connections, &c.Established, &c.Connecting, &c.Retransmitting, nil, &c.Moving, nil}
		rates := [...]*float64{4: &c.NewPerSecond, 6: &c.BytesPerSecond}
		for j, f := range in[i] {
			switch {
			case f < 0 || f > 1<<52:
				return drain.Point{}, fmt.Errorf("read a point of a curve: %v is no count", f)
			case j < len(whole) && whole[j] != nil:
				*whole[j] = int(f)
			case j < len(rates) && rates[j] != nil:
				*rates[j] = f
			}
		}
	}
	return p, nil
}

// counts are the four of a point.
func counts(p *drain.Point) [4]*drain.Count {
	return [4]*drain.Count{&p.Asked.Old, &p.Asked.New, &p.Served.Old, &p.Served.New}
}

// SavedPoint is a point as the history keeps it.
type SavedPoint struct {
	Since time.Duration // after the switch; negative: before it
	Data  []byte
}

// fresh counts the points that the history has not.
func (c *curve) fresh() int {
	if c.anew {
		return len(c.at)
	}
	return len(c.at) - c.saved
}

// unsaved are the points that the history has not; anew: in place of all that it
// has.
func (c *curve) unsaved(since time.Time) (points []SavedPoint, anew bool) {
	if c.anew {
		c.saved = 0
	}
	for i := c.saved; i < len(c.at); i++ {
		points = append(points, SavedPoint{Since: c.at[i].Sub(since), Data: encodePoint(&c.points[i])})
	}
	anew, c.anew, c.saved = c.anew, false, len(c.at)
	return points, anew
}

// restore takes up what was saved, in order. What cannot be read is left out.
func (c *curve) restore(since time.Time, saved []SavedPoint) error {
	var first error
	for _, s := range saved {
		p, err := decodePoint(s.Data)
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		c.at, c.points = append(c.at, since.Add(s.Since)), append(c.points, p)
	}
	c.saved = len(c.at)
	return first
}
