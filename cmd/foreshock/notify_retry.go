package main

import (
	"fmt"
	"net/url"

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
	by := cmd.Flags().String("by", "", "who you are (default the user who calls this)")
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.NoFileCompletions)
	agent := agentFlags(cmd, true)
	cmd.ValidArgsFunction = completeChannel(agent.file)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("by") {
			if *by, err = caller(); err != nil {
				return err
			}
		}
		var done api.Retried
		path := "/api/v1/channels/" + url.PathEscape(args[0]) + "/retry"
		if err := agent.call(cmd.Context(), "POST", path, api.Retry{By: *by, Keys: *keys}, &done); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		says := fmt.Sprintf("no undelivered notice to %s is there to try again", args[0])
		if done.Queued > 0 {
			says = fmt.Sprintf("tried again: %s to %s; foreshock notify status says how that goes", count(done.Queued, "notice", "notices"), args[0])
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), says)
		return err
	}
	return cmd
}
