package main

import (
	"fmt"
	"net/url"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
)

func notifyRetryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry CHANNEL",
		Short: "Try undelivered notices to a channel again",
		Long: `Has notices that were given up tried again: behind what waits, in the order that
they had, each with its key and the time at which it was decided. It tries all
of them, a thousand in one call, or those that --key names.`,
		Example: `  foreshock notify retry ops
  foreshock notify retry ops --key 7d8a2c5e90b14f36a1d2c3b4e5f60718 --token-file /etc/foreshock/token`,
		Args: theChannel,
	}
	keys := cmd.Flags().StringSlice("key", nil, "only the notice of this key; may be given several times")
	by := cmd.Flags().String("by", "", "who asks, for the record (default: the user's name)")
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.NoFileCompletions)
	agent := agentFlags(cmd, true)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if *by == "" {
			*by = whoAsks()
		}
		var done api.Retried
		path := "/api/v1/channels/" + url.PathEscape(args[0]) + "/retry"
		if err := agent.call(cmd.Context(), "POST", path, api.Retry{By: *by, Keys: *keys}, &done); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d notices to %s are tried again; foreshock notify status says how that goes\n", done.Queued, args[0])
		return err
	}
	return cmd
}

// whoAsks is the user's name, for the record.
func whoAsks() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Getuid())
}
