package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/scope"
)

// Baseline implements api.Learner.
func (a *agent) Baseline(ctx context.Context, of scope.ID) (out api.Learned, err error) {
	err = a.askLearner(ctx, func(l *learner) ([]measure.Norm, error) {
		out = l.show(time.Now().UTC(), of)
		return nil, nil
	})
	return out, err
}

// show is what is known of a scope at every hour, or of all at this one.
func (l *learner) show(now time.Time, of scope.ID) api.Learned {
	_, inMemory := l.store.(*memory)
	out := api.Learned{At: now, Hours: l.config.Hours(now), InMemory: inMemory}
	for _, x := range l.out {
		out.LeftOut = append(out.LeftOut, api.LeaveOut{From: x.From, To: x.To, Scope: x.Scope, Why: x.Why})
	}
	if of == (scope.ID{}) {
		for _, n := range baseline.Learn(l.config, now, out.Hours, l.stored(now), l.recent(now)) {
			out.Norms = append(out.Norms, api.HourNorm{Of: out.Hours, Norm: n})
		}
		return out
	}
	week := baseline.Week(l.config, now, l.stored(now), l.recent(now), func(id scope.ID, _ measure.Signal) bool { return id == of })
	for _, n := range week {
		out.Norms = append(out.Norms, api.HourNorm{Of: n.Of, Norm: n.Norm})
	}
	return out
}

// ExportBaseline implements api.Learner.
func (a *agent) ExportBaseline(ctx context.Context) (out api.BaselineFile, err error) {
	err = a.askLearner(ctx, func(l *learner) ([]measure.Norm, error) {
		out = l.export(time.Now().UTC(), a.host)
		return nil, nil
	})
	return out, err
}

// export adds up the same hours of all weeks, one hour of the week after the
// other: all of them at once would take too much memory.
func (l *learner) export(now time.Time, host string) api.BaselineFile {
	out := api.BaselineFile{Format: api.BaselineFormat, Version: api.BaselineVersion, Host: host, ExportedAt: now, Hours: []api.BaselineHour{}}
	starts := l.starts(now)
	for of := measure.Hours(1); of <= measure.NumHours; of++ {
		sum := baseline.Collect(l.lastOf(now, of), func(yield func(*baseline.Hour) bool) {
			for _, start := range starts[of] {
				l.between(start, start.Add(time.Hour), yield)
			}
		})
		if len(sum.Rows) > 0 {
			out.Hours = append(out.Hours, api.BaselineHour{Days: api.DaysOf(of), Hour: of.Hour(), Data: baseline.AppendHour(nil, sum)})
		}
	}
	return out
}

// starts are the hours that are stored, by hour of the week.
func (l *learner) starts(now time.Time) (out [measure.NumHours + 1][]time.Time) {
	err := l.store.Hours(now.Add(-l.config.Learn), now, func(start time.Time) bool {
		of := l.config.Hours(start)
		out[of] = append(out[of], start)
		return false
	}, nil)
	if err != nil {
		l.say(err)
	}
	return out
}

// lastOf is the last whole hour before now that is of that hour of the week.
func (l *learner) lastOf(now time.Time, of measure.Hours) time.Time {
	start := now.Truncate(time.Hour).Add(-time.Hour)
	for range 8 * 24 {
		if l.config.Hours(start) == of {
			break
		}
		start = start.Add(-time.Hour)
	}
	return start
}

// ImportBaseline implements api.Learner.
func (a *agent) ImportBaseline(ctx context.Context, in api.BaselineImport) (out api.BaselineImported, err error) {
	here := make(map[string]bool)
	s := a.latest()
	for i := range s.Services {
		here[s.Services[i].ID().String()] = true
	}
	for i := range s.Backends {
		here[s.Backends[i].ID().String()] = true
	}
	err = a.askLearner(ctx, func(l *learner) ([]measure.Norm, error) {
		now := time.Now().UTC()
		hours, taken, left, err := readImport(in, a.host)
		if err != nil {
			return nil, err
		}
		if err := l.replace(now, hours, taken); err != nil {
			return nil, err
		}
		out = api.BaselineImported{Scopes: []string{}, Absent: []string{}, LeftOut: append([]string{}, left...)}
		for _, id := range slices.SortedFunc(maps.Keys(taken), compareScopes) {
			out.Scopes = append(out.Scopes, id.String())
			if !here[id.String()] {
				out.Absent = append(out.Absent, id.String())
			}
		}
		return l.renew(now), nil
	})
	return out, err
}

func compareScopes(a, b scope.ID) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

// readImport reads a whole file, its scopes under the names that they have here,
// before anything is changed.
func readImport(in api.BaselineImport, host string) (hours map[measure.Hours]*baseline.Hour, taken map[scope.ID]bool, left []string, err error) {
	refuse := func(hint, format string, args ...any) error {
		return &api.Refusal{What: fmt.Sprintf(format, args...), Hint: hint}
	}
	f := &in.File
	switch {
	case f.Format != api.BaselineFormat:
		return nil, nil, nil, refuse("export one with foreshock baseline export", "this is no file of baselines: its format is %.50q", f.Format)
	case f.Version != api.BaselineVersion:
		return nil, nil, nil, refuse("export it anew with the version of this agent", "the file is of version %d, this agent reads %d", f.Version, api.BaselineVersion)
	case in.As != "" && in.As != host:
		return nil, nil, nil, refuse("ask the agent that you mean", "this host is %s, not %.128s", host, in.As)
	case f.Host != host && in.As == "" && len(in.ScopeMap) == 0:
		return nil, nil, nil, refuse(fmt.Sprintf("take it for this host's with --as %s, or name scopes with --scope-map THEIRS=OURS", host), "the file is of %.128s, this host is %s", f.Host, host)
	}
	renamed := make(map[scope.ID]scope.ID)
	for from, to := range in.ScopeMap {
		theirs, ok := scope.Parse(from)
		ours, okToo := scope.Parse(to)
		if !ok || !okToo || theirs.Kind != ours.Kind {
			return nil, nil, nil, refuse("write it as service/web=service/shop", "%.200q cannot become %.200q", from, to)
		}
		for other, taken := range renamed {
			if taken == ours {
				return nil, nil, nil, refuse("name another scope of this host for one of them", "both %s and %s would become %s", min(from, other.String()), max(from, other.String()), ours)
			}
		}
		renamed[theirs] = ours
	}
	hours, taken = make(map[measure.Hours]*baseline.Hour), make(map[scope.ID]bool)
	dropped, met := make(map[scope.ID]bool), make(map[scope.ID]bool)
	for i := range f.Hours {
		h, err := baseline.DecodeHour(f.Hours[i].Data)
		of := hoursOf(f.Hours[i].Days, f.Hours[i].Hour)
		switch {
		case err != nil:
		case of == measure.AllHours:
			err = errors.New("no week has such an hour")
		case hours[of] != nil:
			err = errors.New("it comes twice")
		}
		if err != nil {
			return nil, nil, nil, refuse("nothing was taken; export it anew", "hour %d of the file, %.20s at %d h, is no good: %v", i, f.Hours[i].Days, f.Hours[i].Hour, err)
		}
		kept := &baseline.Hour{Start: h.Start}
		for _, row := range h.Rows {
			met[row.Scope] = true
			if ours, ok := renamed[row.Scope]; ok {
				row.Scope = ours
			} else if len(renamed) > 0 {
				dropped[row.Scope] = true
				continue
			}
			taken[row.Scope] = true
			kept.Rows = append(kept.Rows, row)
		}
		hours[of] = kept
	}
	for theirs := range renamed {
		if !met[theirs] {
			return nil, nil, nil, refuse("nothing was taken; the file names its scopes as this agent's page does", "the file has nothing of %s", theirs)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(dropped), compareScopes) {
		left = append(left, id.String())
	}
	return hours, taken, left, nil
}

// hoursOf reads what an export says of an hour; AllHours for what is none.
func hoursOf(days string, hour int) measure.Hours {
	for of := measure.Hours(1); of <= measure.NumHours; of++ {
		if api.DaysOf(of) == days && of.Hour() == hour {
			return of
		}
	}
	return measure.AllHours
}

// replace puts hours in the place of what was learned of their scopes.
func (l *learner) replace(now time.Time, hours map[measure.Hours]*baseline.Hour, taken map[scope.ID]bool) error {
	if err := l.rewrite(now.Add(-l.config.Learn), now, func(id scope.ID) bool { return taken[id] }); err != nil {
		return err
	}
	for of, h := range hours {
		start := l.lastOf(now, of)
		sum := &baseline.Hour{Start: start, Rows: h.Rows}
		l.between(start, start.Add(time.Hour), func(own *baseline.Hour) bool {
			sum = own.With(sum)
			return true
		})
		l.put(sum)
	}
	return nil
}

func (l *learner) put(h *baseline.Hour) { l.store.PutHour(h.Start, baseline.AppendHour(nil, h)) }

var errNotRead = errors.New("what was learned cannot be read, so nothing of it was changed: see the agent's log, and ask again")

// rewrite takes scopes out of the stored hours that touch [from, to).
func (l *learner) rewrite(from, to time.Time, drop func(scope.ID) bool) error {
	var changed []time.Time
	read := l.between(from.Truncate(time.Hour), to, func(h *baseline.Hour) bool {
		if _, less := h.Without(drop); less {
			changed = append(changed, h.Start)
		}
		return true
	})
	if !read {
		return errNotRead
	}
	for _, start := range changed {
		read := l.between(start, start.Add(time.Hour), func(h *baseline.Hour) bool {
			rest, _ := h.Without(drop)
			l.put(rest)
			return true
		})
		if !read {
			return errNotRead
		}
	}
	return nil
}

// LeaveOut implements api.Learner.
func (a *agent) LeaveOut(ctx context.Context, in api.LeaveOut) error {
	return a.askLearner(ctx, func(l *learner) ([]measure.Norm, error) {
		now := time.Now().UTC()
		return l.leaveOut(now, history.LeftOut{At: now, From: in.From.UTC(), To: in.To.UTC(), Scope: in.Scope, Why: in.Why, By: "the API"})
	})
}

// ResetBaseline implements api.Learner.
func (a *agent) ResetBaseline(ctx context.Context, of scope.ID) error {
	return a.askLearner(ctx, func(l *learner) ([]measure.Norm, error) {
		now := time.Now().UTC()
		x := history.LeftOut{At: now, From: now.Add(-baseline.MostLearn), To: now, Why: "reset", By: "the API"}
		if of != (scope.ID{}) {
			x.Scope = of.String()
		}
		return l.leaveOut(now, x)
	})
}

// leaveOut takes a span out of the hours that are made, whole hours, and of those
// that are not, to the minute.
func (l *learner) leaveOut(now time.Time, x history.LeftOut) ([]measure.Norm, error) {
	span, ok := intervalOf(&x)
	if !ok {
		return nil, &api.Refusal{What: fmt.Sprintf("%.200q is no scope", x.Scope), Hint: "write it as service/web"}
	}
	l.store.PutLeftOut(x)
	l.out = append(l.out, x)
	if err := l.rewrite(x.From, x.To, span.Covers); err != nil {
		return nil, err
	}
	return l.renew(now), nil
}
