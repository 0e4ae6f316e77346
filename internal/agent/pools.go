package agent

import (
	"cmp"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/observe/owner"
)

// pools is how each pool of the configuration, and each balancer that runs
// here, is seen in all of a host's namespaces together.
func pools(all []*Pipeline) []api.Pool {
	var out []api.Pool
	for i, p := range all[0].finder.pools { // the same in each, in the same order
		x := api.Pool{Name: p.name, Configured: p.configured, Source: cmp.Or(p.source, "observed"), Members: len(p.members), Problem: p.problem}
		for _, other := range all {
			o := other.finder.pools[i]
			x.Processes += len(o.server.Chosen)
			x.Members += len(o.observed)
		}
		if x.Problem == "" && x.Members == 0 && x.Configured {
			x.Problem = p.empty(x.Processes, all[0].place.processes.limits)
		}
		if x.Configured || x.Processes+x.Members > 0 {
			out = append(out, x)
		}
	}
	return out
}

// empty says why a configured pool has no members.
func (p *pool) empty(processes int, limits owner.Limits) string {
	switch {
	case p.fixed:
		return p.source + " has named no member yet"
	case processes > 0:
		return "no connection of " + plural(processes, "process", "processes") + " is seen now"
	case p.selector.Exe != "" && limits.Programs > 0:
		return strings.Join(append([]string{"no process of it is found"}, limits.Reasons()...), "; ")
	}
	return "no process of it is found"
}

// poolLimits is what cannot be seen of pools, and of the balancers that are
// found by their programs.
func poolLimits(all []*Pipeline) []api.Limit {
	var out []api.Limit
	for _, x := range pools(all) {
		if x.Problem != "" {
			out = append(out, api.Limit{Subject: "backends of " + x.Name, Reason: x.Problem})
		}
	}
	for _, reason := range all[0].place.processes.limits.Reasons() {
		out = append(out, api.Limit{Subject: "balancers and pools", Reason: reason})
	}
	return out
}
