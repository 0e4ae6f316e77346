package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/report"
)

func drainReportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report NAME",
		Short: "Write the report of a switch, as Markdown, HTML or JSON",
		Long: `Writes all that is known of a switch for those who were not there: how far it is,
the share on the old addresses minute by minute, who stayed there and why, what
resolvers answered, what users lost, and what could not be seen. HTML is one page
with its graphs in it; it needs no network and prints well. The JSON only grows.

With --agents it is of all of them; an agent that does not answer is in the report
as missing. Ends with code 0 whatever the verdict is.`,
		Example: `  foreshock drain report shop.example --format html --out switch.html
  foreshock drain report shop.example --agents https://192.0.2.3:9748,https://198.51.100.3:9748 | less`,
		Args: switchArg,
	}
	agents := agentsFlags(cmd, false)
	format := cmd.Flags().String("format", reportFormats[0], "md, html or json")
	file := cmd.Flags().String("out", "", "write to this file, in place of one that may be there (default standard output)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(reportFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("out")
	cmd.ValidArgsFunction = completeSwitch(agents)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(reportFormats, *format) {
			return usage{fmt.Errorf("unknown format %q: use md, html or json", *format)}
		}
		list, err := agents.list()
		if err != nil {
			return err
		}
		g, err := gatherDrain(cmd.Context(), list, args[0])
		if err != nil {
			return err
		}
		complainOf(cmd.ErrOrStderr(), g.Missing)
		v := report.DrainValues{Reports: g.Reports, MadeBy: "foreshock " + currentVersion(), MadeAt: time.Now()}
		for _, m := range g.Missing {
			v.Missing = append(v.Missing, report.Missing{Agent: m.Agent, Why: m.Error})
		}
		r, err := report.BuildDrain(v)
		if err != nil {
			return err
		}
		return writeReport(cmd.OutOrStdout(), *file, *format, &r)
	}
	return cmd
}
