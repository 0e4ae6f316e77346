package drain

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
)

// judgeVerdict holds what one answer says of the end against who is still there.
func (s seen) judgeVerdict(out *Outcome, host string, p poll) {
	after := p.At.Sub(s.flipped).Seconds()
	if p.Status.Verdict == drain.Settled {
		if out.Settled == nil || *out.Settled > after {
			out.Settled = &after
		}
		_, keep := counted(host, p)
		if truthAt(s.crowds, p.look(), keep).OldShare() > 0.01 {
			out.SettledEarly++
		}
	}
	if p.Status.SafeToPowerOff {
		if out.Safe == nil || *out.Safe > after {
			out.Safe = &after
		}
		t := truthAt(s.crowds, p.look(), everybody)
		if t.Old > 0 || t.Beside > 0 && !strings.Contains(p.Status.PowerOff, fmt.Sprintf("port %d", port)) {
			out.SafeEarly++
		}
	}
}

// judgeWords finds which of the words that should have been said after the switch
// were not.
func (s seen) judgeWords(out *Outcome) {
	for _, want := range s.cell.Says {
		said := slices.ContainsFunc(s.agents, func(w *watched) bool {
			return slices.ContainsFunc(w.polls, func(p poll) bool {
				return p.Err == nil && p.At.After(s.flipped) && strings.Contains(strings.Join(sentences(p.answer), "\n"), want)
			})
		})
		if !said {
			out.Unsaid = append(out.Unsaid, want)
		}
	}
	for _, w := range s.agents {
		for _, p := range w.polls[max(0, len(w.polls)-1):] {
			out.Said = append(out.Said, append([]string{w.host}, sentences(p.answer)...))
		}
	}
}

// sentences are all those of an answer that say how it stands.
func sentences(a answer) []string {
	out := append([]string{a.Status.Sentence, a.Status.PowerOff}, a.Status.Why...)
	for _, r := range a.Status.Resolvers {
		out = append(out, r.Why)
	}
	for _, p := range a.Status.Probes {
		out = append(out, p.Words)
	}
	return slices.Concat(out, a.Status.Advice, a.Status.Limits)
}

// judgeMerged holds the answer for all agents against the truth, and that without
// one of them against what nobody can know then.
func (s seen) judgeMerged(out *Outcome) {
	if !s.cell.Merged {
		return
	}
	all, silent := s.all.Status, s.silent.Status
	m := &Merged{Verdict: all.Verdict, Agents: len(all.Agents), Silent: silent.Verdict, Named: len(s.silent.Missing) == 1, Sure: silent.SafeToPowerOff, Exit: s.silent.Exit}
	out.Merged = m
	if all.OldShare == nil {
		return
	}
	keep := everybody
	if all.Basis == "asked" {
		keep = func(p Population) bool {
			return slices.ContainsFunc(s.agents, func(w *watched) bool { return w.host == p.Host })
		}
	}
	least := math.Inf(1)
	for back := time.Duration(0); back <= 2*time.Second; back += 50 * time.Millisecond {
		least = min(least, 100*math.Abs(*all.OldShare-truthAt(s.crowds, s.all.At.Add(-back), keep).OldShare()))
	}
	m.Off = &least
}
