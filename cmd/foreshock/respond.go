package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
)

func respondCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "respond",
		Short: "Say what is being done about incidents, and try hooks",
		Long: `Says which of the configuration's responses are under way, what they have done
and what they will do, and runs a hook by hand. What was done about one incident
is also in foreshock incident show.`,
		Example: `  foreshock respond list
  foreshock respond test add-workers --dry-run`,
	}
	onlyHelps(cmd, "unknown command %q: use list or test")
	cmd.AddCommand(respondListCommand(), respondTestCommand())
	return cmd
}

func respondListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the responses under way, and their next steps",
		Long: `Lists the workflows that the agent has begun and not ended: what each has done,
and what it will do at what time. Times are UTC. Ends with code 0 whatever goes
on.`,
		Example: `  foreshock respond list
  foreshock respond list --output json`,
		Args: noArgs,
	}
	a := agentFlags(cmd, false)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		var answer api.Responses
		if err := a.call(cmd.Context(), "GET", "/api/v1/responses", nil, &answer); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), answer)
		}
		return writeResponses(cmd.OutOrStdout(), answer)
	}
	return cmd
}

// writeResponses prints each workflow with its actions in columns.
func writeResponses(out io.Writer, answer api.Responses) error {
	if len(answer.Responses) == 0 {
		_, err := fmt.Fprintln(out, "no response is under way")
		return err
	}
	for i, r := range answer.Responses {
		if i > 0 {
			fmt.Fprintln(out)
		}
		var numbers []string
		for _, id := range r.Incidents {
			numbers = append(numbers, fmt.Sprint(id))
		}
		line := fmt.Sprintf("%s, %s, since %s; incident %s", r.Scope, r.Key, r.BeganAt.Format(time.DateTime), strings.Join(numbers, ", "))
		if r.AcknowledgedBy != "" {
			line += "; taken by " + r.AcknowledgedBy
		}
		if r.OverAt != nil {
			line += "; nothing is open since " + r.OverAt.Format(time.DateTime)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		var rows [][]string
		for _, a := range r.Actions {
			rows = append(rows, []string{"  " + a.At.Format(time.TimeOnly), a.Kind, a.State, a.What})
		}
		if err := writeColumns(out, 4, rows); err != nil {
			return err
		}
	}
	return nil
}
