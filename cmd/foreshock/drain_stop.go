package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/report"
)

func drainStopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "Follow a switch no more",
		Long: `Ends the following of a switch: nothing is counted, asked or tried any more, and its
alerts end. What was known of it stays in the agent's history. One that the
configuration names ends by taking it out there.`,
		Example: `  foreshock drain stop shop.example
  foreshock drain stop shop.example --agents https://192.0.2.3:9748,https://198.51.100.3:9748`,
		Args: switchArg,
	}
	by := byFlag(cmd)
	agents := agentsFlags(cmd, true)
	cmd.ValidArgsFunction = completeSwitch(agents)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := agents.list()
		if err != nil {
			return err
		}
		who, err := by()
		if err != nil {
			return err
		}
		said, missing, err := heard(askEach(cmd.Context(), list, func(ctx context.Context, a theAgent) (struct{}, error) {
			return struct{}{}, a.call(ctx, "DELETE", pathOf(args[0])+query("by", who), struct{}{}, nil)
		}))
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, a := range said {
			at := ""
			if len(list) > 1 {
				at = a.from + ": "
			}
			fmt.Fprintf(&b, "%s%s is followed no more\n", at, report.Plain(args[0]))
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), b.String()); err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		complainOf(cmd.ErrOrStderr(), missing)
		return exit{exitError}
	}
	return cmd
}
