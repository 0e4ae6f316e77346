package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
)

func notifyStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how each channel does",
		Long: `Says of each channel how many notices wait and since when, how many of them for no
more than the channel's rate (HELD), how many were delivered since the agent
started, how many were given up and are kept (UNDELIVERED), and what went wrong
last. A notice that waits and is not KEPT would be lost with the agent.

Ends with code 3 when a channel fails or has undelivered notices.`,
		Example: `  foreshock notify status
  foreshock notify status --output json`,
		Args: noArgs,
	}
	agent := agentFlags(cmd, false)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		var c api.Channels
		if err := agent.call(cmd.Context(), "GET", "/api/v1/channels", nil, &c); err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), c)
		} else {
			err = writeChannels(cmd.OutOrStdout(), c.Channels)
		}
		if err != nil {
			return err
		}
		for i := range c.Channels {
			if x := &c.Channels[i]; x.Failing || x.DeadLetters > 0 {
				return exit{exitUnwell}
			}
		}
		return nil
	}
	return cmd
}

// writeChannels prints a table, and below it what went wrong.
func writeChannels(out io.Writer, channels []api.Channel) error {
	if len(channels) == 0 {
		_, err := fmt.Fprintln(out, "there are no channels: notify: in the configuration says where notices go")
		return err
	}
	rows := [][]string{{"CHANNEL", "KIND", "STATE", "SINCE", "WAITING", "KEPT", "HELD", "DELIVERED", "UNDELIVERED"}}
	for i := range channels {
		c := &channels[i]
		state, since := "works", "-"
		if c.Failing {
			state = "failing"
		}
		if c.OldestAt != nil {
			since = c.OldestAt.Format(time.RFC3339)
		}
		rows = append(rows, []string{
			c.Name, c.Kind, state, since, strconv.Itoa(c.Queued), strconv.Itoa(c.Kept), strconv.Itoa(c.Held),
			strconv.FormatUint(c.Delivered, 10), strconv.Itoa(c.DeadLetters),
		})
	}
	if err := writeColumns(out, 4, rows); err != nil {
		return err
	}
	for i := range channels {
		if c := &channels[i]; c.LastError != "" && c.LastErrorAt != nil {
			if _, err := fmt.Fprintf(out, "\n%s: %s\n", c.LastErrorAt.Format(time.RFC3339), c.LastError); err != nil {
				return err
			}
		}
	}
	return nil
}
