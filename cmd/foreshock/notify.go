package main

import "github.com/spf13/cobra"

func notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Try the channels that notices go to",
		Long: `Notices of incidents go to the channels of the configuration's notify:, each
kept until it is delivered.`,
		Example: `  foreshock notify test oncall`,
	}
	onlyHelps(cmd, "unknown command %q: foreshock notify --help lists them")
	cmd.AddCommand(notifyTestCommand(), notifyDeliverCommand())
	return cmd
}
