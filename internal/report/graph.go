package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// The size of a graph, in the units of its picture.
const (
	graphWidth, graphHeight = 760.0, 150.0
	graphLeft, graphRight   = 64.0, 752.0
	graphTop, graphBottom   = 34.0, 130.0
	// labelRow is how far below each other the words of moments stand that are
	// nearer than labelRoom.
	labelRow, labelRoom = 11.0, 64.0
	// thresholdFar: a level so many times as high as all values would press them
	// flat; it is only told.
	thresholdFar = 5.0
	// noGap is the time between two points that are one after the other, however
	// their times were rounded.
	noGap = 500 * time.Millisecond
)

// Graph is one signal as a picture: what to draw, and the same in words.
type Graph struct {
	Number          int
	Signal, Scope   string
	Title, Says     string
	Band, Line      string  // paths: least to greatest, and the mean
	Threshold       float64 // its place; meaningful where HasThreshold
	HasThreshold    bool
	ThresholdLabel  string
	Gaps            []Gap
	Marks           []Mark
	Times, Levels   []Tick
	Width, Height   float64
	Left, Right     float64
	Top, Bottom     float64
	Depth           float64 // between them
	Least, Greatest string
	Then            string // its value when the incident opened, or at the switch
	Sparkline       string
}

// Gap is a time of which there is no value.
type Gap struct{ X, Width float64 }

// Mark is a moment of the incident.
type Mark struct {
	X, Y  float64 // Y is where its word stands
	Label string
}

// Tick is one word on an axis.
type Tick struct {
	At    float64
	Label string
}

// scale leads from times and values to places.
type scale struct {
	from      time.Time
	seconds   float64
	low, high float64
}

func (s *scale) x(t time.Time) float64 {
	share := t.Sub(s.from).Seconds() / s.seconds
	return round(graphLeft + min(max(share, 0), 1)*(graphRight-graphLeft))
}

func (s *scale) y(v float64) float64 {
	share := (v - s.low) / (s.high - s.low)
	return round(graphBottom - min(max(share, 0), 1)*(graphBottom-graphTop))
}

func round(v float64) float64 { return math.Round(10*v) / 10 }

// plot is what the graphs of a report have in common.
type plot struct {
	from, to time.Time
	moments  []instant
	// then is the time of which a graph tells the value, and when is that in
	// words: "when the incident opened".
	then *time.Time
	when string
	// label is a time on the axis; nil for the clock's.
	label func(time.Time) string
}

// instant is a time with its word.
type instant struct {
	at    *time.Time
	label string
}

// Graphs are those of the signals in the evidence.
func (r *Report) Graphs() []Graph {
	if r.Series == nil || !r.Series.To.After(r.Series.From) {
		return nil
	}
	i := &r.incident
	p := plot{from: r.Series.From, to: r.Series.To, then: i.OpenedAt, when: "when the incident opened", moments: []instant{
		{i.SuspectedAt, "suspected"}, {i.OpenedAt, "open"}, {i.BalancerDownAt, "balancer"}, {i.AcknowledgedAt, "taken"}, {i.ResolvedAt, "resolved"},
	}}
	return p.graphs(r.Series.Signals)
}

func (p *plot) graphs(signals []api.SignalSeries) []Graph {
	var out []Graph
	for k := range signals {
		out = append(out, p.graph(k, &signals[k]))
	}
	return out
}

func (p *plot) graph(k int, x *api.SignalSeries) Graph {
	sc := scale{from: p.from, seconds: p.to.Sub(p.from).Seconds()}
	g := Graph{
		Number: k, Signal: x.Signal, Scope: x.Scope, Title: fmt.Sprintf("%s of %s", x.Signal, x.Scope), Least: "–", Greatest: "–", Then: "unknown",
		Width: graphWidth, Height: graphHeight, Left: graphLeft, Right: graphRight, Top: graphTop, Bottom: graphBottom, Depth: graphBottom - graphTop,
	}
	least, greatest, known := rangeOf(x.Points)
	if known {
		g.Least, g.Greatest = quantity(least, x.Unit), quantity(greatest, x.Unit)
		if p.then != nil {
			if v := valueAt(x.Points, *p.then); v != nil {
				g.Then = quantity(*v, x.Unit)
			}
		}
	}
	sc.low, sc.high = min(0, least), max(0, greatest)
	if x.Threshold != nil {
		g.ThresholdLabel = quantity(*x.Threshold, x.Unit)
		if g.HasThreshold = !known || math.Abs(*x.Threshold) <= thresholdFar*max(math.Abs(least), math.Abs(greatest)); g.HasThreshold {
			sc.low, sc.high = min(sc.low, *x.Threshold), max(sc.high, *x.Threshold)
		}
	}
	if sc.high == sc.low {
		sc.high++
	}
	sc.high += 0.05 * (sc.high - sc.low) // so that no line lies on the frame
	if g.HasThreshold {
		g.Threshold = sc.y(*x.Threshold)
	}
	g.Line, g.Band = paths(&sc, x.Points)
	g.Gaps = gaps(&sc, p.to, x.Points)
	g.Marks = p.marks(&sc)
	g.Times, g.Levels = p.timeTicks(&sc), levelTicks(&sc, x.Unit)
	g.Sparkline = sparkline(&sc, p.to, x.Points)
	g.Says = g.says(x, p.when)
	return g
}

// says is the graph in words.
func (g *Graph) says(x *api.SignalSeries, when string) string {
	says := x.Help
	if says != "" {
		says += ". "
	}
	says += fmt.Sprintf("From %s to %s; %s %s.", g.Least, g.Greatest, g.Then, when)
	if g.Least == "–" {
		says = strings.TrimSuffix(x.Help+". ", ". ") + ": no value is known."
	}
	if g.ThresholdLabel != "" {
		says += " Held against " + g.ThresholdLabel
		if !g.HasThreshold {
			says += ", which is far above all of it and not drawn"
		}
		says += "."
	}
	if why := reasons(x.Points); why != "" {
		says += " Unknown at times: " + why + "."
	}
	return says
}

// reasons are why points are not known, each once.
func reasons(points []api.SeriesPoint) string {
	var out []string
	for i := range points {
		if why := spaced(points[i].Unknown); why != "" && !slices.Contains(out, why) {
			out = append(out, why)
		}
	}
	return strings.Join(out, ", ")
}

// whole reports whether a point has all three values, and numbers.
func whole(p *api.SeriesPoint) bool {
	for _, v := range []*float64{p.Least, p.Mean, p.Greatest} {
		if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
			return false
		}
	}
	return p.Unknown == ""
}

func end(p *api.SeriesPoint) time.Time {
	return p.At.Add(time.Duration(max(0, p.Seconds) * float64(time.Second)))
}

func rangeOf(points []api.SeriesPoint) (least, greatest float64, known bool) {
	for i := range points {
		p := &points[i]
		if !whole(p) {
			continue
		}
		if !known {
			least, greatest, known = *p.Least, *p.Greatest, true
		}
		least, greatest = min(least, *p.Least), max(greatest, *p.Greatest)
	}
	return least, greatest, known
}

// valueAt is the mean at a time; nil where it was not known.
func valueAt(points []api.SeriesPoint, at time.Time) *float64 {
	for i := range points {
		if p := &points[i]; whole(p) && !at.Before(p.At) && at.Before(end(p)) {
			return p.Mean
		}
	}
	return nil
}

// runs are the points that follow each other and are known.
func runs(points []api.SeriesPoint) [][]api.SeriesPoint {
	var out [][]api.SeriesPoint
	from := -1
	for i := range points {
		switch {
		case !whole(&points[i]):
			from = -1
		case from >= 0 && points[i].At.Sub(end(&points[i-1])) <= noGap:
			out[len(out)-1] = points[from : i+1]
		default:
			from = i
			out = append(out, points[i:i+1])
		}
	}
	return out
}

// paths are the mean as a line of steps, and what lies between the least and the
// greatest as an area, broken where there is no value.
func paths(sc *scale, points []api.SeriesPoint) (line, band string) {
	var l, b strings.Builder
	for _, run := range runs(points) {
		stairs(&l, "M", sc, run, func(p *api.SeriesPoint) float64 { return *p.Mean })
		stairs(&b, "M", sc, run, func(p *api.SeriesPoint) float64 { return *p.Greatest })
		back := slices.Clone(run)
		slices.Reverse(back)
		for i := range back { // from right to left each begins at its end
			at := end(&back[i])
			back[i].Seconds = back[i].At.Sub(at).Seconds()
			back[i].At = at
		}
		stairs(&b, "L", sc, back, func(p *api.SeriesPoint) float64 { return *p.Least })
		b.WriteString("Z")
	}
	return l.String(), b.String()
}

// stairs writes steps, those of the same height as one.
func stairs(out *strings.Builder, begin string, sc *scale, run []api.SeriesPoint, of func(*api.SeriesPoint) float64) {
	text := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	last := math.NaN()
	for i := range run {
		y := sc.y(of(&run[i]))
		if i == 0 {
			out.WriteString(begin + text(sc.x(run[i].At)) + "," + text(y))
		} else if y != last {
			out.WriteString("H" + text(sc.x(run[i].At)) + "V" + text(y))
		}
		last = y
	}
	p := &run[len(run)-1]
	out.WriteString("H" + text(sc.x(p.At.Add(time.Duration(p.Seconds*float64(time.Second))))))
}

// gaps are the times without a value.
func gaps(sc *scale, to time.Time, points []api.SeriesPoint) []Gap {
	var out []Gap
	last := sc.x(sc.from)
	add := func(until float64) {
		if until-last >= 0.5 {
			out = append(out, Gap{last, round(until - last)})
		}
	}
	for _, run := range runs(points) {
		add(sc.x(run[0].At))
		last = sc.x(end(&run[len(run)-1]))
	}
	add(sc.x(to))
	return out
}

// marks are the moments within the graph, their words below each other where
// they are close.
func (p *plot) marks(sc *scale) []Mark {
	var out []Mark
	for _, m := range p.moments {
		if m.at == nil || m.at.Before(p.from) || m.at.After(p.to) {
			continue
		}
		out = append(out, Mark{X: sc.x(*m.at), Label: m.label})
	}
	slices.SortStableFunc(out, func(a, b Mark) int { return int(math.Copysign(1, a.X-b.X)) })
	row := 0
	for k := range out {
		if row = (row + 1) % 3; k == 0 || out[k].X-out[k-1].X > labelRoom {
			row = 0
		}
		out[k].Y = 9 + labelRow*float64(row)
	}
	return out
}

// timeSteps are the times between two ticks that people read easily.
var timeSteps = [...]time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

const mostTicks = 8

func (p *plot) timeTicks(sc *scale) []Tick {
	whole := p.to.Sub(sc.from)
	step := max(timeSteps[len(timeSteps)-1], whole/mostTicks)
	for _, s := range timeSteps {
		if whole <= mostTicks*s {
			step = s
			break
		}
	}
	format := "15:04"
	if step < time.Minute {
		format = "15:04:05"
	} else if step >= 12*time.Hour {
		format = "2 Jan 15:04"
	}
	label := p.label
	if label == nil {
		label = func(at time.Time) string { return at.Format(format) }
	}
	var out []Tick
	for at := sc.from.UTC().Truncate(step).Add(step); at.Before(p.to); at = at.Add(step) {
		out = append(out, Tick{sc.x(at), label(at)})
	}
	return out
}

// levelTicks are nothing and the most.
func levelTicks(sc *scale, unit string) []Tick {
	high := sc.high - 0.05/1.05*(sc.high-sc.low)
	out := []Tick{{sc.y(high), quantity(high, unit)}, {sc.y(0), quantity(0, unit)}}
	if sc.y(sc.low)-sc.y(0) > labelRow {
		out = append(out, Tick{sc.y(sc.low), quantity(sc.low, unit)})
	}
	return out
}

// sparkline is the greatest values as one line of text; a dot is a time without a
// value.
func sparkline(sc *scale, to time.Time, points []api.SeriesPoint) string {
	const places = 48
	bars := []rune("▁▂▃▄▅▆▇█")
	out := []rune(strings.Repeat("·", places))
	heights := make([]float64, places)
	for i := range points {
		p := &points[i]
		if !whole(p) {
			continue
		}
		place := func(t time.Time) int {
			return int(float64(places) * t.Sub(sc.from).Seconds() / to.Sub(sc.from).Seconds())
		}
		for k := max(0, place(p.At)); k <= min(place(end(p).Add(-time.Nanosecond)), places-1); k++ {
			share := (*p.Greatest - sc.low) / (sc.high - sc.low)
			if out[k] != '·' && share <= heights[k] {
				continue
			}
			heights[k] = share
			out[k] = bars[min(max(int(share*float64(len(bars))), 0), len(bars)-1)]
		}
	}
	return string(out)
}
