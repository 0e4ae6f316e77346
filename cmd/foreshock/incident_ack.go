package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
)

func incidentAckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ack NUMBER",
		Short: "Say that somebody has taken an incident",
		Long: `Marks an open or a suspected incident as taken: its card, its history and its
report say by whom. Needs the running agent and its token.`,
		Example: `  sudo foreshock incident ack 7
  foreshock incident ack 7 --by ann --token-file ~/.foreshock-token`,
		Args: incidentArg,
	}
	a := agentFlags(cmd, true)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeIncident(cmd, a.incidents, args)
	}
	by := cmd.Flags().String("by", "", "who takes it (default the user who calls this)")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, who := incidentOf(args), *by
		if !cmd.Flags().Changed("by") {
			var err error
			if who, err = caller(); err != nil {
				return err
			}
		}
		if err := a.call(cmd.Context(), "POST", fmt.Sprintf("/api/v1/incidents/%d/acknowledge", id), api.Acknowledgement{By: who}, nil); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "incident %d is taken by %s\n", id, who)
		return err
	}
	return cmd
}

// caller is who calls this: behind sudo he who called that.
func caller() (string, error) {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name, nil
	}
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "", errors.New("it cannot be told who calls this: say it with --by")
	}
	return u.Username, nil
}
