package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
)

func notifyUndeliveredCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undelivered CHANNEL",
		Short: "List the notices to a channel that were given up, and why",
		Long: `Lists the notices to a channel that were given up, the newest first, with what
each said. They are kept for seven days that agents ran, also after the channel
has been taken out of the configuration.

Ends with code 3 when there are any.`,
		Example: `  foreshock notify undelivered ops
  foreshock notify undelivered ops --limit 5 --output json`,
		Args: theChannel,
	}
	limit := cmd.Flags().Int("limit", 100, "how many at most, from 1 to 500")
	before := cmd.Flags().Int64("before", 0, "go on with the page after this one: the next_before that it said")
	_ = cmd.RegisterFlagCompletionFunc("limit", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("before", cobra.NoFileCompletions)
	agent := agentFlags(cmd, false)
	cmd.ValidArgsFunction = completeChannel(agent.file)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if *limit < 1 || *limit > 500 {
			return usage{fmt.Errorf("--limit %d: use one from 1 to 500", *limit)}
		}
		after := ""
		if *before > 0 {
			after = strconv.FormatInt(*before, 10)
		}
		var d api.DeadLetters
		path := "/api/v1/channels/" + url.PathEscape(args[0]) + "/undelivered" + query("limit", strconv.Itoa(*limit), "before", after)
		if err := agent.call(cmd.Context(), "GET", path, nil, &d); err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), d)
		} else {
			err = writeUndelivered(cmd.OutOrStdout(), d)
		}
		if err == nil && len(d.Undelivered) > 0 {
			err = exit{exitUnwell}
		}
		return err
	}
	return cmd
}

// theChannel is the one argument of a command that needs a channel's name.
func theChannel(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usage{fmt.Errorf("%s takes the name of one channel, got %q: foreshock notify status lists them", cmd.CommandPath(), args)}
	}
	return nil
}

// writeUndelivered prints for each notice when it was decided, its key, what it
// said and why it was given up.
func writeUndelivered(out io.Writer, d api.DeadLetters) error {
	if len(d.Undelivered) == 0 {
		_, err := fmt.Fprintf(out, "no notice to %s was given up\n", d.Channel)
		return err
	}
	for i := range d.Undelivered {
		l := &d.Undelivered[i]
		at, says := saidIn(l)
		if _, err := fmt.Fprintf(out, "%s  %s\n  %s\n  given up %s after %d attempts: %s\n", at.Format(time.RFC3339), l.Key, says, l.EndedAt.Format(time.RFC3339), l.Attempts, l.Error); err != nil {
			return err
		}
	}
	if d.NextBefore > 0 {
		_, err := fmt.Fprintf(out, "\nmore: add --before %d\n", d.NextBefore)
		return err
	}
	return nil
}

// saidIn is when a notice was decided, and what it says in one line.
func saidIn(l *api.DeadLetter) (at time.Time, says string) {
	var n struct {
		At        time.Time
		Says      string
		Incidents []struct{ Step, Severity, Scope, Sentence string }
	}
	if l.Notice == nil || json.Unmarshal(l.Notice, &n) != nil {
		return l.QueuedAt, "what it said is not kept"
	}
	switch {
	case n.Says != "":
		says = n.Says
	case len(n.Incidents) == 1:
		i := n.Incidents[0]
		says = fmt.Sprintf("%s, %s, %s: %s", i.Step, i.Severity, i.Scope, i.Sentence)
	default:
		says = fmt.Sprintf("%d incidents", len(n.Incidents))
	}
	return n.At, says
}
