package report

import (
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
)

// epoch is where the time of a drain's graphs begins: the switch.
var epoch = time.Unix(0, 0).UTC()

func atSince(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

// Graphs are the shares, what fails and what arrives, over the time since the
// switch.
func (d *Drain) Graphs() []Graph {
	s := &d.Status
	all := points(s)
	if len(all) < 2 {
		return nil
	}
	p := plot{
		from: atSince(all[0].SinceSeconds), to: atSince(all[len(all)-1].SinceSeconds), then: &epoch, when: "at the switch",
		moments: []instant{{&epoch, "switch"}}, label: func(t time.Time) string { return sinceLabel(t.Sub(epoch).Seconds()) },
	}
	for _, m := range []struct {
		at    *float64
		label string
	}{{d.ttl(), "TTL over"}, {s.HalfLifeSeconds, "50 %"}, {s.Left95Seconds, "95 %"}, {s.Left99Seconds, "99 %"}} {
		if m.at != nil {
			p.moments = append(p.moments, instant{new(atSince(*m.at)), m.label})
		}
	}
	whole := bothSides(s)
	share := func(of func(*drain.Sides) *float64) func(*drain.Point) *float64 {
		return func(p *drain.Point) *float64 {
			if !whole {
				return nil
			}
			return of(sides(p, s.Basis))
		}
	}
	at := s.Basis
	var expected *float64
	if a := s.Arrivals; a != nil {
		at, expected = a.At, &a.ExpectedPerSecond
	}
	signals := []api.SignalSeries{
		seriesOf("old_share", "share", "ESTABLISHED on the old addresses, of those on old and new ones", new(0.01), all, share(func(x *drain.Sides) *float64 {
			return shareOf(float64(x.Old.Established), float64(x.New.Established))
		})),
		seriesOf("old_new_share", "share", "New connections to the old addresses, of those to old and new ones", nil, all, share(func(x *drain.Sides) *float64 {
			return shareOf(x.Old.NewPerSecond, x.New.NewPerSecond)
		})),
		seriesOf("failing", "count", "Connections to the old addresses that connect, or send again, without an answer", nil, all, func(p *drain.Point) *float64 {
			return new(float64(failing(p)))
		}),
		seriesOf("arrivals", "per_second", "New connections to old and new addresses together; dashed is what is usual", expected, all, func(p *drain.Point) *float64 {
			return new(arriving(p, at))
		}),
	}
	for i := range signals {
		signals[i].Scope = s.Name
	}
	return p.graphs(signals)
}

func (d *Drain) ttl() *float64 {
	if d.first == nil {
		return nil
	}
	return d.first.TTLSeconds
}

// seriesOf is one value of a curve's points, each until the next.
func seriesOf(name, unit, help string, threshold *float64, all []drain.Point, value func(*drain.Point) *float64) api.SignalSeries {
	x := api.SignalSeries{Signal: name, Unit: unit, Help: help, Threshold: threshold}
	for i := range all {
		p := &all[i]
		lasts := 10.0
		if i+1 < len(all) {
			lasts = min(all[i+1].SinceSeconds-p.SinceSeconds, longest)
		}
		out := api.SeriesPoint{At: atSince(p.SinceSeconds), Seconds: lasts}
		if v := value(p); v != nil {
			out.Least, out.Mean, out.Greatest = v, v, v
		} else {
			out.Unknown = "no connections, or only one side is seen"
		}
		x.Points = append(x.Points, out)
	}
	return x
}
