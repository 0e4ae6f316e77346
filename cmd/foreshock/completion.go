package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// addStandardCommands adds cobra's help and completion, with our manners: what
// they do not know is wrong usage, not an answer.
func addStandardCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Long = "Says what a command answers, with examples and every flag: the same as COMMAND --help."
			cmd.Example = "  foreshock help look\n  foreshock help config check"
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if _, rest, err := cmd.Root().Find(args); err != nil || len(rest) > 0 {
					return usage{fmt.Errorf("there is no command %q: foreshock --help lists them", args)}
				}
				return nil
			}
		case "completion":
			completionCommand(cmd)
		}
	}
}

func completionCommand(cmd *cobra.Command) {
	cmd.Short = "Print a script with which the shell completes commands and flags"
	cmd.Long = "Prints a script with which bash, zsh or fish completes commands, flags and their\nvalues. The help of each shell's own command says how to load it for good."
	cmd.Example = "  source <(foreshock completion bash)\n  foreshock completion zsh --help"
	onlyHelps(cmd, "unknown shell %q: use bash, zsh or fish")
	for _, shell := range cmd.Commands() {
		if shell.Name() == "powershell" { // Foreshock runs on Linux alone
			cmd.RemoveCommand(shell)
			continue
		}
		shell.Args = noArgs
	}
}
