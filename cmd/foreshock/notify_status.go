package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
)

func notifyStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how each channel does",
		Long: `Says of each channel how many notices wait, how many were delivered and given up
since the agent started, and what went wrong last.

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
			if x := &c.Channels[i]; x.Failing || x.Undelivered > 0 {
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
	rows := [][]string{{"CHANNEL", "KIND", "STATE", "WAITING", "DELIVERED", "UNDELIVERED"}}
	for i := range channels {
		c := &channels[i]
		state := "works"
		if c.Failing {
			state = "failing"
		}
		rows = append(rows, []string{c.Name, c.Kind, state, strconv.Itoa(c.Queued), strconv.FormatUint(c.Delivered, 10), strconv.FormatUint(c.Undelivered, 10)})
	}
	if err := writeColumns(out, 3, rows); err != nil {
		return err
	}
	for i := range channels {
		if c := &channels[i]; c.LastError != "" && c.LastErrorAt != nil {
			if _, err := fmt.Fprintf(out, "\n%s: %s", c.LastErrorAt.Format("2006-01-02T15:04:05Z07:00"), c.LastError); err != nil {
				return err
			}
		}
	}
	return nil
}
