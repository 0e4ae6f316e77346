package main

import "github.com/spf13/cobra"

func notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Try the channels, and say what became of their notices",
		Long: `Notices of incidents go to the channels of the configuration's notify:, each
kept until it is delivered, or given up and shown as undelivered.`,
		Example: `  foreshock notify test oncall
  foreshock notify status`,
	}
	onlyHelps(cmd, "unknown command %q: foreshock notify --help lists them")
	cmd.AddCommand(notifyTestCommand(), notifyDeliverCommand(), notifyStatusCommand(), notifyUndeliveredCommand(), notifyRetryCommand())
	return cmd
}
