package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
)

func drainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "After a switch of addresses: who is still on the old ones, why, and when it is over",
		Long: `After a name was switched from old addresses to new ones, says who still goes to
the old ones and why, who arrives nowhere, what resolvers answer, and when it is
over: by the connections that hosts hold, not by what DNS says alone. With
--agents it is one answer of several hosts.`,
		Example: `  foreshock drain start --name shop.example --old 192.0.2.10 --new 198.51.100.7
  foreshock drain watch shop.example --agents https://192.0.2.3:9748,https://198.51.100.3:9748`,
	}
	onlyHelps(cmd, "unknown command %q: use start, status, watch, report, close-stale or stop")
	cmd.AddCommand(drainStartCommand(), drainStatusCommand(), drainWatchCommand(), drainReportCommand(), drainCloseCommand(), drainStopCommand())
	return cmd
}

// switchArg refuses all but one name of a switch.
func switchArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usage{fmt.Errorf("%s takes the name of one switch, got %q: foreshock drain status shows them", cmd.CommandPath(), args)}
	}
	return nil
}

// pathOf is where the API has a switch.
func pathOf(name string) string { return "/api/v1/drains/" + url.PathEscape(name) }

// byFlag adds --by and returns who calls.
func byFlag(cmd *cobra.Command) func() (string, error) {
	by := cmd.Flags().String("by", "", "who you are (default the user who calls this)")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.NoFileCompletions)
	return func() (string, error) {
		if cmd.Flags().Changed("by") {
			return *by, nil
		}
		return caller()
	}
}

// completeSwitch completes the name of a switch that is followed.
func completeSwitch(agents theAgents) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		list, err := agents.list()
		if len(args) > 0 || err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cmd.SetErr(io.Discard)
		var out []string
		for _, a := range askEach(cmd.Context(), list, drainsOf) {
			for _, d := range a.said.Drains {
				if text := d.Report.Name + "\t" + string(d.Status.Verdict); !slices.Contains(out, text) {
					out = append(out, text)
				}
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func drainsOf(ctx context.Context, a theAgent) (api.Drains, error) {
	var out api.Drains
	err := a.call(ctx, "GET", "/api/v1/drains", nil, &out)
	return out, err
}

// gathered is what agents know of one switch, and what follows from that.
type gathered struct {
	Status  drain.Status   `json:"status"`
	Reports []drain.Report `json:"reports"`
	// Missing are those that were asked and did not say.
	Missing []unheard `json:"missing"`
}

// idle is "waiting" where no agent has seen the switch yet, "ended" where none
// follows it any more, and empty else: then its verdict counts.
func (g *gathered) idle() string {
	switch {
	case !slices.ContainsFunc(g.Reports, func(r drain.Report) bool { return !r.Stopped }):
		return "ended"
	case !slices.ContainsFunc(g.Reports, func(r drain.Report) bool { return !r.Stopped && !r.SwitchedAt.IsZero() }):
		return "waiting"
	}
	return ""
}

// gatherDrain asks agents for a switch. It is an error where none has it. Missing
// are further ones that have not answered already.
func gatherDrain(ctx context.Context, agents []theAgent, name string, missing ...unheard) (gathered, error) {
	said, without, err := heard(askEach(ctx, agents, func(ctx context.Context, a theAgent) (drain.Report, error) {
		var out api.FollowedSwitch
		err := a.call(ctx, "GET", pathOf(name), nil, &out)
		return out.Report, err
	}))
	if err != nil {
		return gathered{}, err
	}
	g := gathered{Missing: append(without, missing...)}
	for _, a := range said {
		g.Reports = append(g.Reports, a.said)
	}
	g.Status = drain.Merge(g.Reports)
	for _, m := range g.Missing {
		g.Status = g.Status.Without(m.Agent, m.Error)
	}
	return g, nil
}

// gatherDrains asks agents for all switches, and merges what they say of each; in
// the order of the names, without curves.
func gatherDrains(ctx context.Context, agents []theAgent) ([]gathered, []unheard, error) {
	lists := askEach(ctx, agents, drainsOf)
	_, missing, err := heard(lists)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	var answering []theAgent
	for i := range lists {
		if lists[i].err == nil {
			answering = append(answering, agents[i])
		}
		for _, d := range lists[i].said.Drains {
			names = append(names, d.Report.Name)
		}
	}
	slices.Sort(names)
	out := []gathered{}
	for _, name := range slices.Compact(names) {
		g, err := gatherDrain(ctx, answering, name, missing...)
		if errors.Is(err, errRefused) {
			continue // it was ended this moment
		}
		if err != nil {
			return nil, nil, err
		}
		g.Status.Curve = []drain.Point{}
		for i := range g.Reports {
			g.Reports[i].Curve = []drain.Point{}
		}
		out = append(out, g)
	}
	return out, missing, nil
}

// settled is the exit code of an answer: 0 where nothing is left to do.
func settled(verdicts ...drain.Verdict) error {
	for _, v := range verdicts {
		if v != drain.Settled {
			return exit{exitUnwell}
		}
	}
	return nil
}

// complainOf says who did not answer.
func complainOf(stderr io.Writer, missing []unheard) {
	for _, m := range missing {
		complain(stderr, fmt.Errorf("%s: %s", m.Agent, strings.TrimSpace(m.Error)))
	}
}
