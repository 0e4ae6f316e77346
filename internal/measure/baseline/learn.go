package baseline

import (
	"math/bits"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Config says how norms are made of hours.
type Config struct {
	// Learn is how far back, 28 days by default; at most 56.
	Learn time.Duration
	// Quantile is which of the values is still usual, from 0.5 to 1, and Factor
	// by how much more it takes to be wrong: 0.95 and 1.5 by default.
	Quantile, Factor float64
	// Location is where people's weekdays and hours are told; nil is UTC.
	Location *time.Location
}

// Defaults are the article's procedure: the 95th percentile of up to four weeks,
// times 1.5.
const (
	DefaultLearn    = 28 * 24 * time.Hour
	DefaultQuantile = 0.95
	DefaultFactor   = 1.5
	MostLearn       = 56 * 24 * time.Hour
)

const (
	// leastMinutes: what rests on less than an hour is still being learned.
	leastMinutes = 60
	// rarely: Low is so many times as rare as High. An hour may have its lull each
	// day, as when clients restart for a minute or two: of 1,200 minutes 1.1 % lie
	// below. Pauses of half a minute each day, as in deploys, do not move it.
	rarely = 3
	// An hour of the week has a norm of its own from ownMinutes on ownDays on: one
	// day says nothing of how days differ.
	ownMinutes = 90
	ownDays    = 2
	// hourlyDays is of how many days there must be hourly samples, the one that it
	// is apart: the least of the article's two to four weeks.
	hourlyDays = 14
	// othersSpan is how far back other hours stand in for it: by then each has
	// come twice.
	othersSpan = 9 * 24 * time.Hour
)

func (c Config) filled() Config {
	if c.Learn == 0 {
		c.Learn = DefaultLearn
	}
	c.Learn = min(c.Learn, MostLearn)
	if c.Quantile == 0 {
		c.Quantile = DefaultQuantile
	}
	if c.Factor == 0 {
		c.Factor = DefaultFactor
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	return c
}

// Hours is which hour of the week a time is in, where the agent is. An hour
// that is stored is of the one that it begins in, also where zones are half an
// hour apart.
func (c Config) Hours(t time.Time) measure.Hours { return measure.HoursOf(t.In(c.filled().Location)) }

// The sets of hours that a norm may rest on.
const (
	ownHours  = iota // this hour of the week
	sameHour         // this hour of any day
	sameDays         // any hour of weekdays, or of the weekend
	everyHour        // any hour
	numLevels
)

// levels has a bit for each of these sets.
type levels uint8

// sum is what hours add up to.
type sum struct {
	sketch  Sketch
	minutes int
	days    uint64 // a bit for each day before now
	most    int    // the most days of any that was imported
}

func (s *sum) add(row *HourRow, day uint64) {
	s.sketch.Merge(&row.Sketch)
	s.minutes += row.Minutes
	s.days |= day
	s.most = max(s.most, row.Days)
}

func (s *sum) count() int { return max(bits.OnesCount64(s.days), s.most) }

// sums are those of one signal of one scope.
type sums [numLevels]sum

func (s *sums) known() bool {
	return s[ownHours].minutes >= ownMinutes && s[ownHours].count() >= ownDays
}

// Source gives hours that are stored, in any order: those whose start is wanted,
// with the rows that keep wants, all of them where it is nil. It may be asked
// several times.
type Source func(wanted func(start time.Time) bool, keep func(scope.ID, measure.Signal) bool, yield func(*Hour) bool)

// Learn returns the norms for an hour of the week, by scope and signal, from
// hours that are not older than c.Learn, nor later than now. recent is what was
// not made an hour yet; it counts where there is less than an hour of anything
// else, and may be nil.
//
// An hour of the week that has come twice or more stands for itself. Until then
// the norm is the widest that this hour of other days, other hours of such days
// and all hours together would give. What is sampled hourly has one norm for all
// hours; where it was not seen for nine days, none.
func Learn(c Config, now time.Time, of measure.Hours, hours Source, recent *Hour) []measure.Norm {
	c = c.filled()
	all := make(map[key]*sums)
	hours(func(start time.Time) bool { return c.Hours(start) == of && within(now, start, c.Learn) }, nil, func(h *Hour) bool {
		c.add(all, now, h, func(k key) levels {
			if k.signal.Sampled() == measure.Hourly {
				return 0 // in what follows
			}
			return 1 << ownHours
		})
		return true
	})
	hourly := false
	others := func(h *Hour) bool {
		to := levelsOf(c.Hours(h.Start), of)
		c.add(all, now, h, func(k key) levels {
			if k.signal.Sampled() == measure.Hourly {
				hourly = true
				return 1 << everyHour
			}
			if s := all[k]; s != nil && s.known() {
				return 0
			}
			return to
		})
		return true
	}
	unknown := func(id scope.ID, sig measure.Signal) bool {
		s := all[key{id, sig}]
		return s == nil || !s.known()
	}
	lately := min(c.Learn, othersSpan)
	hours(func(start time.Time) bool { return within(now, start, lately) }, unknown, others)
	if hourly {
		isHourly := func(_ scope.ID, sig measure.Signal) bool { return sig.Sampled() == measure.Hourly }
		hours(func(start time.Time) bool { return within(now, start, c.Learn) && !within(now, start, lately) }, isHourly, others)
	}
	if recent != nil {
		others(recent.Filter(func(row *HourRow) bool {
			s := all[key{row.Scope, row.Signal}]
			return s == nil || s[everyHour].minutes < leastMinutes
		}))
	}
	out := make([]measure.Norm, 0, len(all))
	for k, s := range all {
		if n := c.norm(k, s, of); n.Minutes > 0 {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b measure.Norm) int { return compareKeys(key{a.Scope, a.Signal}, key{b.Scope, b.Signal}) })
	return out
}

// levelsOf are the sets beside its own that an hour at another belongs to.
func levelsOf(at, of measure.Hours) levels {
	out := levels(1 << everyHour)
	if at.Hour() == of.Hour() {
		out |= 1 << sameHour
	}
	if at.Weekend() == of.Weekend() {
		out |= 1 << sameDays
	}
	return out
}

// within reports whether an hour is neither older than span nor yet to come.
func within(now, start time.Time, span time.Duration) bool {
	age := now.Sub(start)
	return age >= 0 && age <= span
}

// add adds the rows of an hour to the sums that are wanted of each.
func (c Config) add(all map[key]*sums, now time.Time, h *Hour, wanted func(key) levels) {
	day := uint64(1) << min(63, max(0, now.Sub(h.Start)-time.Hour)/(24*time.Hour))
	for i := range h.Rows {
		row := &h.Rows[i]
		k := key{row.Scope, row.Signal}
		to := wanted(k)
		if to == 0 {
			continue
		}
		s := all[k]
		if s == nil {
			s = &sums{}
			all[k] = s
		}
		for level := range s {
			if to&(1<<level) != 0 {
				s[level].add(row, day)
			}
		}
	}
}

// norm makes a norm of what was added up.
func (c Config) norm(k key, s *sums, of measure.Hours) measure.Norm {
	if k.signal.Sampled() == measure.Hourly {
		return hourlyNorm(k, &s[everyHour])
	}
	if s.known() {
		return c.bounds(k, &s[ownHours], of)
	}
	n := c.bounds(k, &s[everyHour], measure.AllHours)
	if n.Learning = s[everyHour].minutes < leastMinutes; n.Learning {
		return n
	}
	for _, level := range []int{sameHour, sameDays} {
		if s[level].minutes < leastMinutes {
			continue
		}
		other := c.bounds(k, &s[level], of)
		n.Low, n.High = min(n.Low, other.Low), max(n.High, other.High)
	}
	return n
}

// hourlyNorm is the norm of what is sampled hourly: the article's defaults, and
// nothing that would make few samples, or zero, into a threshold that holds.
func hourlyNorm(k key, s *sum) measure.Norm {
	return measure.Norm{
		Scope: k.scope, Signal: k.signal,
		Usual:   s.sketch.Quantile(0.5),
		High:    s.sketch.Quantile(DefaultQuantile) * DefaultFactor,
		Minutes: s.minutes, Days: s.count(), Hours: measure.AllHours,
		Learning: s.count() <= hourlyDays,
	}
}

// bounds are the quantiles with what makes a threshold of them. Values within a
// minute resemble each other, so a minute counts as one: the quantile is taken
// at the Wilson bound for so many, which few minutes push to the very ends.
func (c Config) bounds(k key, s *sum, of measure.Hours) measure.Norm {
	minutes := float64(s.minutes)
	_, high := measure.Wilson(c.Quantile*minutes, minutes)
	_, low := measure.Wilson((1-(1-c.Quantile)/rarely)*minutes, minutes)
	floor := 0.0
	for _, l := range measure.Lessons() {
		if l.Signal == k.signal {
			floor = l.Floor
		}
	}
	return measure.Norm{
		Scope: k.scope, Signal: k.signal,
		Low:     s.sketch.Quantile(1-low) / c.Factor,
		Usual:   s.sketch.Quantile(0.5),
		High:    max(floor, s.sketch.Quantile(high)*c.Factor),
		Minutes: s.minutes, Days: s.count(), Hours: of,
	}
}
