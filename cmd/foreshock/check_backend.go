package main

import (
	"fmt"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/measure"
)

// maxBackendData bounds the performance data: Nagios keeps 8 KiB of a plugin's
// output in all. maxUnseen is how many that cannot be seen are named.
const (
	maxBackendData = 25
	maxUnseen      = 3
)

// backendPerf is of a backend. It has no levels: what fails is judged by more
// than one number.
var backendPerf = []perf{
	{measure.Established, "", "", ";;;0", ""},
	{measure.Pending, "", "", ";;;0", ""},
	{measure.PendingLongest, "", "s", ";;;0", ""},
	{measure.RetransmitsPerConnectionRate, "retransmits", "", ";;;0", ""},
}

// backends takes the backends, and returns what is said where nothing fails:
// "4 backends: 3 answer, 1 without traffic".
func (j *judged) backends(backends []*api.Scope, only narrowed) string {
	answer := 0
	silent := map[string]int{} // by reason
	var reasons []string
	var unseen []*api.Scope
	for i, s := range backends {
		if i < maxBackendData {
			j.data = append(j.data, perfData(s, backendPerf)...)
		}
		v := verdictOf(s)
		switch {
		case v.State == api.StateOK:
			answer++
		case v.Cause != "":
		case v.State == api.StateUnknown && only.all() && v.Reason != measure.Stale.String():
			if silent[v.Reason] == 0 {
				reasons = append(reasons, v.Reason)
			}
			silent[v.Reason]++
		default:
			unseen = append(unseen, s)
		}
	}
	if n := len(unseen); n > maxUnseen { // the looks have stopped: one sentence says it
		j.cannotTell(count(n, "backend", "backends"), "they answer", reasonOf(unseen[0]))
	} else {
		for _, s := range unseen {
			j.cannotTell(s.Name, "it answers", reasonOf(s))
		}
	}
	if left := len(backends) - maxBackendData; left > 0 {
		j.details = append(j.details, fmt.Sprintf("No performance data of %s: ask for one with --backend.", count(left, "more backend", "more backends")))
	}
	return count(len(backends), "backend", "backends") + ": " + answered(answer, reasons, silent)
}

// answered says how many answer, and how many do not by reason: "3 answer, 1 no
// traffic".
func answered(answer int, reasons []string, silent map[string]int) string {
	var parts []string
	switch {
	case answer == 1:
		parts = append(parts, "1 answers")
	case answer > 0 || len(reasons) == 0:
		parts = append(parts, fmt.Sprintf("%d answer", answer))
	}
	for _, r := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", silent[r], spaced(r)))
	}
	return strings.Join(parts, ", ")
}

// verdictOf is the agent's verdict of a backend; empty when it gives none.
func verdictOf(s *api.Scope) api.Verdict {
	if s.Backend == nil {
		return api.Verdict{}
	}
	return s.Backend.Verdict
}

func reasonOf(s *api.Scope) string { return spaced(verdictOf(s).Reason) }
