// Command foreshock reads the kernel's TCP socket table and names what fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // maintenance windows name zones, and minimal systems have none

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit codes; `check` has Nagios's own.
const (
	exitDone  = 0
	exitError = 1
	exitUsage = 2
	// exitUnwell: done, and the answer is not that all is well.
	exitUnwell = 3
)

// exit is an error that only says which code to end with: what there was to
// say is said.
type exit struct{ code int }

func (e exit) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// usage is a mistake in how the command was called.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// orderly is for a command that has something to put in order at its end: the
// first interrupt ends its context, a second one the command at once, as the
// first does any other.
func orderly(cmd *cobra.Command) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the next signal does what it does by default
	cmd.SetContext(ctx)
}

// run runs one command.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var code exit
	var wrong usage
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code): // 0 too
		return code.code
	case errors.As(err, &wrong) && cmd.CommandPath() == "foreshock check":
		fmt.Fprint(stdout, unknown(err)) // a plugin that ends with 2 says CRITICAL
		return nagiosUnknown
	case errors.As(err, &wrong):
		complain(stderr, err)
		return exitUsage
	default:
		complain(stderr, err)
		return exitError
	}
}

// complain prints an error, each of its lines prefixed: a configuration may
// have many.
func complain(stderr io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "foreshock: %s\n", strings.TrimSuffix(line, "\n"))
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "foreshock",
		Short: "Name the cause of a failure before health checks see it",
		Long: `Foreshock reads the kernel's TCP socket table, at a cost you will not notice,
and says what fails: a server out of workers shows as connections that nobody
accepts, long before a health check asks.`,
		Example: `  foreshock agent          watch this host; the page is on http://127.0.0.1:9748
  foreshock look           count its sockets, once, by service`,
		SilenceUsage: true, SilenceErrors: true,
	}
	onlyHelps(root, "unknown command %q: foreshock --help lists them")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage{fmt.Errorf("%w; %s --help lists the flags", err, cmd.CommandPath())}
	})
	root.AddCommand(agentCommand(), lookCommand(), checkCommand(), baselineCommand(), silenceCommand(), recordCommand(), replayCommand(), labelCommand(), scoreCommand(), configCommand(), ruleCommand(), incidentCommand(), historyCommand(), notifyCommand(), respondCommand(), drainCommand(), demoCommand(), versionCommand())
	addStandardCommands(root)
	return root
}

// onlyHelps makes cmd one that does nothing but have others below it. refusal
// is what it says of an argument, quoted, that is none of these.
func onlyHelps(cmd *cobra.Command, refusal string) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage{fmt.Errorf(refusal, args[0])}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// atMostOne refuses more than one argument. takes is "check takes one service".
func atMostOne(takes string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage{fmt.Errorf("%s, got %q", takes, args)}
		}
		return nil
	}
}

// noArgs refuses arguments with words of ours.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args)}
	}
	return nil
}

// outputFlag adds --output table|json and returns a check of its value.
func outputFlag(cmd *cobra.Command) func() (json bool, err error) {
	output := outputOf(cmd, "table", "json")
	return func() (bool, error) {
		kind, err := output()
		return kind == "json", err
	}
}

// outputOf adds --output with the kinds that a command can print, the first by
// default, and returns a check of its value.
func outputOf(cmd *cobra.Command, kinds ...string) func() (kind string, err error) {
	last := len(kinds) - 1
	says := strings.Join(kinds[:last], ", ") + " or " + kinds[last]
	output := cmd.Flags().StringP("output", "o", kinds[0], says)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	return func() (string, error) {
		if !slices.Contains(kinds, *output) {
			return "", usage{fmt.Errorf("unknown output %q: use %s", *output, says)}
		}
		return *output, nil
	}
}
