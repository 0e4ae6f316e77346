package drain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/lab"
)

// judge holds what agents said against the truth.
func judge(s seen) Outcome {
	out := Outcome{Cell: s.cell.Name}
	since := func(t time.Time) *float64 { return new(t.Sub(s.flipped).Seconds()) }
	var share, inSecond, connecting []float64
	for _, w := range s.agents {
		out.CPU = append(out.CPU, AgentCPU{w.host, w.cpu})
		known := false
		for _, p := range w.polls {
			known = known || p.Err == nil
			if p.Err != nil && (known || p.At.After(s.flipped.Add(s.cell.shownWithin()))) {
				out.Unanswered = w.host + ": " + p.Err.Error()
			}
			if p.look().IsZero() || p.look().Before(s.flipped) {
				continue
			}
			s.judgeVerdict(&out, w.host, p)
			counts, keep := counted(w.host, p)
			if counts.Old.Connections+counts.New.Connections == 0 {
				continue
			}
			if out.Shown == nil || *out.Shown > p.At.Sub(s.flipped).Seconds() {
				out.Shown = since(p.At)
			}
			exact, near := s.shareErrors(w.host, p, counts, keep)
			share, inSecond = append(share, exact...), append(inSecond, near...)
			connecting = append(connecting, s.connectingError(w.host, p, counts, keep)...)
		}
	}
	out.Share, out.Connecting = sumErrors(share, inSecond), sumErrors(connecting, nil)
	out.OldAtEnd = truthAt(s.crowds, s.ended, everybody).OldShare()
	s.judgeCauses(&out)
	s.judgeBlame(&out)
	s.judgeResolvers(&out)
	s.judgeProbes(&out)
	s.judgeMissing(&out)
	s.judgeGreen(&out)
	s.judgeClosed(&out)
	s.judgeWords(&out)
	s.judgeMerged(&out)
	s.rows(&out)
	return out
}

// counted are the connections that an agent counts at its end, and whose they are:
// those of its own host's clients where clients are there, else those it serves.
func counted(host string, p poll) (drain.Sides, func(Population) bool) {
	if slices.Contains(clientHosts, host) {
		return p.Report.Now.Asked, on(host)
	}
	return p.Report.Now.Served, everybody
}

// shareErrors are the difference of a share to the truth at the time of the look,
// in points, and that to the nearest truth within a second before. A host with
// one of both addresses has no share.
func (s seen) shareErrors(host string, p poll, said drain.Sides, keep func(Population) bool) (exact, near []float64) {
	all := said.Old.Established + said.New.Established
	if all == 0 || host == "old" || host == "new" {
		return nil, nil
	}
	share := float64(said.Old.Established) / float64(all)
	least := math.Inf(1)
	for back := time.Duration(0); back <= time.Second; back += 50 * time.Millisecond {
		truth := truthAt(s.crowds, p.look().Add(-back), keep)
		if truth.Old+truth.New == 0 {
			return nil, nil
		}
		off := 100 * math.Abs(share-truth.OldShare())
		if back == 0 {
			exact = []float64{off}
		}
		least = min(least, off)
	}
	return exact, []float64{least}
}

// connectingError is the difference of SYN_SENT to its true maximum in 5 s, on a
// host with clients.
func (s seen) connectingError(host string, p poll, said drain.Sides, keep func(Population) bool) []float64 {
	if !s.cell.OldDead || !slices.Contains(clientHosts, host) {
		return nil
	}
	most := 0
	for at := p.look().Add(-5 * time.Second); at.Before(p.look()); at = at.Add(250 * time.Millisecond) {
		most = max(most, truthAt(s.crowds, at, keep).ConnectingOld)
	}
	return []float64{math.Abs(float64(said.Old.Connecting - most))}
}

func sumErrors(exact, near []float64) Errors {
	if len(exact) == 0 {
		return Errors{}
	}
	slices.Sort(exact)
	e := Errors{N: len(exact), P95: exact[(len(exact)*95-1)/100], Max: exact[len(exact)-1]}
	if len(near) > 0 {
		e.MaxInSecond = slices.Max(near)
	}
	return e
}

// judgeCauses finds when each wanted cause was first open on the site's addresses.
func (s seen) judgeCauses(out *Outcome) {
	for _, want := range s.cell.Wants {
		found := Found{Want: want}
		from := s.flipped
		if want.AfterTTL {
			from = from.Add(s.cell.TTL)
		}
		for _, w := range s.agents {
			for _, i := range w.incidents {
				if i.Cause != want.Cause || !strings.HasPrefix(i.Scope, "address/"+s.cell.name()) || i.OpenedAt.Before(s.flipped) {
					continue
				}
				if after := i.OpenedAt.Sub(from).Seconds(); found.After == nil || after < *found.After {
					found.After, found.Agent = &after, w.host
				}
			}
		}
		for _, w := range s.agents {
			for _, p := range w.polls {
				named := p.Err == nil && slices.ContainsFunc(p.Report.Laggards, func(l drain.Laggard) bool { return l.Cause == want.Cause })
				if after := p.At.Sub(from).Seconds(); named && (found.Named == nil || after < *found.Named) {
					found.Named = &after
				}
			}
		}
		out.Found = append(out.Found, found)
	}
	for _, w := range s.agents {
		for _, i := range w.incidents {
			wanted := slices.ContainsFunc(s.cell.Wants, func(want Want) bool { return want.Cause == i.Cause })
			said := fmt.Sprintf("%s: %s on %s, %s, at %+.1f s", w.host, i.Cause, i.Scope, i.Peak, i.OpenedAt.Sub(s.flipped).Seconds())
			switch {
			case wanted || i.OpenedAt.IsZero():
			case strings.HasPrefix(i.Scope, "address/"):
				out.Others = append(out.Others, said)
			default:
				out.Elsewhere = append(out.Elsewhere, said)
			}
		}
	}
}

// judgeBlame holds what is said of each program's connections against what its
// clients do.
func (s seen) judgeBlame(out *Outcome) {
	out.Blamed.Wrong = map[string]int{}
	from := s.flipped.Add(s.cell.TTL + 15*time.Second)
	for _, w := range s.agents {
		if !slices.Contains(clientHosts, w.host) {
			continue
		}
		for _, p := range w.polls {
			if p.Err != nil || p.At.Before(from) {
				continue
			}
			for _, l := range p.Report.Laggards {
				i := slices.IndexFunc(s.cell.Populations, func(q Population) bool { return "lab-"+q.Name == l.Process && q.Host == w.host })
				who := l.Process
				if l.Process == "" {
					out.Blamed.Unnamed += l.Connections
					who = "somebody on " + w.host
					i = slices.IndexFunc(s.cell.Populations, func(q Population) bool {
						cause, place := s.cell.blame(q)
						return q.Host == w.host && q.Habit != lab.Pooled && cause == l.Cause && place == l.Place
					})
				}
				out.Blamed.Of += l.Connections
				if i >= 0 {
					if cause, place := s.cell.blame(s.cell.Populations[i]); l.Cause == cause && l.Place == place {
						out.Blamed.Right += l.Connections
						continue
					}
				}
				said := cmp.Or(strings.TrimSpace(l.Cause+" "+l.Place), "nothing")
				out.Blamed.Wrong[who+": "+said] += l.Connections
			}
		}
	}
}

// notAsked is the class of what an agent says nothing of.
const notAsked = "not asked"

// class is what a resolver is once the TTL is over.
func (c *Cell) class(r Resolver) drain.Class {
	switch {
	case c.Follow == "loop."+Site && r.Kind == KindServer:
		return notAsked // resolvers do not say which zone it is in
	case r.Kind == KindHangs || r.Kind == KindBogus || !slices.Contains([]string{Site, "www." + Site}, c.name()):
		return drain.ClassError
	case c.OnlyA:
		return drain.ClassMixed
	case r.Kind == KindExtender:
		return drain.ClassOldBeyond
	case r.Kind == KindStale && slices.Contains(c.CutOff, r.Host):
		return drain.ClassServStale
	case r.Kind == KindWrong:
		return drain.ClassMixed
	}
	return drain.ClassNew
}

// judgeResolvers holds the classes that the first agent gives against what the
// resolvers are.
func (s seen) judgeResolvers(out *Outcome) {
	if len(s.agents) == 0 {
		return
	}
	var polls []poll
	for _, p := range s.agents[0].polls {
		if p.Err == nil && p.At.After(s.flipped) {
			polls = append(polls, p)
		}
	}
	over := s.flipped.Add(s.cell.TTL)
	for _, r := range Zoo() {
		if r.Kind != KindServer && !slices.Contains(s.cell.asked(), r) {
			continue
		}
		want := s.cell.class(r)
		c := Class{Resolver: r.Name, Kind: r.Kind, Want: string(want), Got: notAsked}
		for _, p := range polls {
			i := slices.IndexFunc(p.Report.Resolvers, func(x drain.Resolver) bool { return strings.HasPrefix(x.Server, r.Addr.String()+":") })
			if i < 0 {
				continue
			}
			got := p.Report.Resolvers[i].Class
			c.Got = string(got)
			honest := r.Kind == KindHonest || r.Kind == KindServer
			c.Accused = c.Accused || honest && (got == drain.ClassOldBeyond || got == drain.ClassServStale)
			if c.FoundAfter == nil && got == want {
				c.FoundAfter = new(p.At.Sub(over).Seconds())
			}
		}
		out.Classes = append(out.Classes, c)
	}
}

// judgeProbes finds when the wrong application was found.
func (s seen) judgeProbes(out *Outcome) {
	for _, w := range s.agents {
		for _, p := range w.polls {
			wrong := slices.ContainsFunc(p.Report.Probes, func(x drain.Probe) bool { return x.Wrong && x.Address.Addr() == s.cell.Wrong })
			if after := p.At.Sub(s.flipped).Seconds(); p.Err == nil && wrong && (out.WrongFound == nil || after < *out.WrongFound) {
				out.WrongFound = &after
			}
		}
	}
}

// judgeMissing holds the share of arrivals that did not come against the clients'
// own: those of 30 s against those of the time before the switch.
func (s seen) judgeMissing(out *Outcome) {
	if !s.cell.Missing {
		return
	}
	began := s.flipped.Add(-s.cell.Warm)
	before := float64(arrivals(s.crowds, began, s.flipped)) / s.cell.Warm.Seconds()
	out.Missing = &Missing{}
	for _, w := range s.agents {
		for _, p := range w.polls {
			if p.look().Before(s.flipped.Add(time.Minute)) || p.Report.Arrivals == nil || p.Report.Arrivals.ExpectedPerSecond <= 0 {
				continue
			}
			a := p.Report.Arrivals
			now := float64(arrivals(s.crowds, p.look().Add(-30*time.Second), p.look())) / 30
			m := out.Missing
			m.Truth, m.Said, m.N = 1-now/before, 1-a.PerSecond/a.ExpectedPerSecond, m.N+1
			m.MaxError = max(m.MaxError, 100*math.Abs(m.Truth-m.Said))
		}
	}
}

// judgeGreen finds from when on all of people's own checks were green.
func (s seen) judgeGreen(out *Outcome) {
	var from time.Time
	for _, c := range s.checks {
		switch {
		case !c.green():
			from = time.Time{}
		case from.IsZero() && c.At.After(s.flipped):
			from = c.At
		}
	}
	if from.IsZero() {
		return
	}
	out.Green.From = new(from.Sub(s.flipped).Seconds())
	t := truthAt(s.crowds, from, everybody)
	out.Green.OldShare = float64(t.Old+t.ConnectingOld) / float64(t.Old+t.ConnectingOld+t.New)
	for _, c := range s.crowds {
		out.Green.Failures += failures(c.Visits, from, s.ended)
	}
}

// judgeClosed holds what was closed against the dry run, and against what clients
// felt.
func (s seen) judgeClosed(out *Outcome) {
	if s.cell.CloseStale == 0 {
		return
	}
	c := &Closed{DryRun: len(s.closed.DryRun.Sockets), Closed: s.closed.Did.Closed, Gone: s.closed.Did.Gone, Same: true}
	out.Closed = c
	planned, gone := map[string]bool{}, map[string]bool{}
	for _, x := range s.closed.DryRun.Sockets {
		planned[x.Local.String()] = true
	}
	for _, x := range s.closed.Did.Sockets {
		if x.Outcome != "closed" {
			continue
		}
		gone[x.Local.String()] = true
		// A client that comes and goes may have begun one more between the two.
		if p, _, known := opened(s.crowds, x.Local, s.closed.At); !planned[x.Local.String()] && known && p.Habit == "pooled" {
			c.Same = false
		}
	}
	for _, crowd := range s.crowds {
		for i, v := range crowd.Visits {
			if !strings.Contains(v.Error, "software caused connection abort") {
				continue
			}
			if !gone[v.Local.String()] {
				c.Others++
				continue
			}
			c.Aborted++
			back := slices.ContainsFunc(crowd.Visits[i+1:], func(n lab.Visit) bool {
				return n.Client == v.Client && isNew(n.Remote) && n.Requests > 0
			})
			if back {
				c.Back++
			}
		}
	}
}

// rows are the seconds of the first agent.
func (s seen) rows(out *Outcome) {
	if len(s.agents) == 0 {
		return
	}
	w := s.agents[0]
	for i, p := range w.polls {
		if p.Err != nil {
			continue
		}
		at := p.look()
		if at.IsZero() {
			at = p.At
		}
		said, keep := counted(w.host, p)
		row := SecondRow{At: at.Sub(s.flipped).Seconds(), Truth: truthAt(s.crowds, at, keep), Said: said, Verdict: p.Status.Verdict}
		if i < len(s.checks) {
			row.Green = s.checks[i].green()
		}
		out.Seconds = append(out.Seconds, row)
	}
}
