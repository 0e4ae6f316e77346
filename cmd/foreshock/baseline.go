package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
)

func baselineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "baseline",
		Short: "Say what is usual at each hour of the week, as the agent has learned it",
		Long: `Says what is usual here: new connections, pools, answers and shares of states at
each hour of a weekday and of the weekend, as the running agent has learned it.
traffic_missing and peer_slow judge by it, and each finding says so.`,
		Example: `  foreshock baseline show
  foreshock baseline leave-out --from 2026-03-02T09:00 --to 2026-03-02T15:00 --why "the move of the database"`,
	}
	onlyHelps(cmd, "unknown command %q: use show, export, import, leave-out or reset")
	cmd.AddCommand(baselineShowCommand(), baselineExportCommand(), baselineImportCommand(), baselineLeaveOutCommand(), baselineResetCommand())
	return cmd
}

// theAgent is which agent a command talks to, by its flags.
type theAgent struct {
	address, file, token *string
	calls                callerFlags
	timeout              *time.Duration
}

// agentFlags adds the flags that say which agent is asked; changes adds the one
// for its token.
func agentFlags(cmd *cobra.Command, changes bool) theAgent {
	a := theAgent{
		address: cmd.Flags().String("agent", "", "the agent to ask (default "+defaultAgent+", or where the configuration says it listens)"),
		file:    cmd.Flags().StringP("config", "c", "", "configuration that says where the agent listens (default "+defaultConfig+" when it is there)"),
		calls:   addCallerFlags(cmd),
		timeout: cmd.Flags().Duration("timeout", 30*time.Second, "how long to wait for the agent"),
	}
	if changes {
		a.token = cmd.Flags().String("token-file", "", "file with the agent's token (default: the configuration's)")
		_ = cmd.MarkFlagFilename("token-file")
	}
	_ = cmd.RegisterFlagCompletionFunc("agent", cobra.NoFileCompletions)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return a
}

// valid checks the flags that can be wrong by themselves.
func (a theAgent) valid() error {
	if *a.timeout <= 0 {
		return usage{fmt.Errorf("--timeout %s: use a time above zero, as 30s", *a.timeout)}
	}
	return nil
}

// call makes one call of the agent's API. body, where it is not nil, is sent as
// JSON with the token.
func (a theAgent) call(ctx context.Context, method, path string, body, into any) error {
	if err := a.valid(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *a.timeout)
	defer cancel()
	cfg, _, err := loadConfig(*a.file)
	if err != nil {
		return err
	}
	named := config.Secret{}
	if a.token != nil && *a.token != "" {
		named.File = *a.token
	}
	c, err := a.calls.connect(*a.address, cfg, named)
	if err != nil {
		return err
	}
	defer c.close()
	if body == nil {
		_, err := c.get(ctx, path, into)
		return err
	}
	secret := cmp.Or(named, cfg.Token)
	if secret.IsZero() {
		return errors.New("the agent takes changes with its token only: set token: in the configuration, or name its file with --token-file")
	}
	token, err := secret.Read()
	if err != nil {
		return err
	}
	return c.change(ctx, method, path, token, body, into)
}

func baselineShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Say what is usual now, or of one scope at each hour of the week",
		Long: `Says what is usual of every scope at this hour of the week; with --scope, of one
at every hour, this one marked with a *.

A signal that is below LOW or above HIGH is so only when something is wrong.
STATE is known; other_hours where this hour has not come often enough, and the
widest of what other hours give holds; or learning, with less than an hour of
anything, or 14 days of what is sampled hourly, which decides nothing. MINUTES and DAYS are what it rests on.`,
		Example: `  foreshock baseline show
  foreshock baseline show --scope service/web --signal new_flows_per_second`,
		Args: noArgs,
	}
	scopeName := cmd.Flags().String("scope", "", "only this one, as service/web or backend/shop/s1")
	signal := cmd.Flags().String("signal", "", "only this one")
	_ = cmd.RegisterFlagCompletionFunc("scope", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("signal", cobra.FixedCompletions(learnedSignals(), cobra.ShellCompDirectiveNoFileComp))
	agent := agentFlags(cmd, false)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if *signal != "" && !slices.Contains(learnedSignals(), *signal) {
			return usage{fmt.Errorf("--signal %q is not learned: use one of %s", *signal, strings.Join(learnedSignals(), ", "))}
		}
		var b api.Baseline
		if err := agent.call(cmd.Context(), "GET", "/api/v1/baseline"+query("scope", *scopeName, "signal", *signal), nil, &b); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), b)
		}
		return writeBaseline(cmd.OutOrStdout(), b, *scopeName)
	}
	return cmd
}

// learnedSignals are the names of the signals that are learned.
func learnedSignals() []string {
	var out []string
	for _, l := range measure.Lessons() {
		out = append(out, l.Signal.String())
	}
	return out
}

// writeBaseline prints a table, and below it what a person must know.
func writeBaseline(out io.Writer, b api.Baseline, scopeName string) error {
	if len(b.Norms) == 0 {
		what := "yet: what is usual shows after five minutes"
		if scopeName != "" {
			what = "of " + scopeName + ": foreshock baseline show lists what is known"
		}
		_, err := fmt.Fprintf(out, "nothing is learned %s\n", what)
		return err
	}
	rows := [][]string{{"SCOPE", "SIGNAL", "HOUR", "STATE", "LOW", "USUAL", "HIGH", "MINUTES", "DAYS"}}
	for _, n := range b.Norms {
		hour := fmt.Sprintf("%s %02d", n.Days, n.Hour)
		if n.Now && scopeName != "" {
			hour += " *"
		}
		rows = append(rows, []string{n.Scope, n.Signal, hour, n.State, significant(n.Low), significant(n.Usual), significant(n.High), strconv.Itoa(n.Minutes), strconv.Itoa(n.OfDays)})
	}
	if err := writeColumns(out, 4, rows); err != nil {
		return err
	}
	for _, x := range b.LeftOut {
		what := x.Scope
		if what == "" {
			what = "everything"
		}
		if _, err := fmt.Fprintf(out, "left out: %s, %s to %s: %s\n", what, localTime(x.From), localTime(x.To), x.Why); err != nil {
			return err
		}
	}
	if b.InMemory {
		_, err := fmt.Fprintln(out, "kept in memory only: learned anew after each restart of the agent")
		return err
	}
	return nil
}

// significant prints three digits of a number, and all of a whole one.
func significant(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 100 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func baselineExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write what was learned to a file, for another host or a rebuilt one",
		Long: `Writes everything that the agent has learned to FILE, which must not be there
yet; - is the standard output. A rebuilt host, or its twin, takes it with
import. What was learned in the last two hours is not in it.`,
		Example: `  foreshock baseline export web03.baseline.json
  foreshock baseline export - --agent https://192.0.2.3:9748 | gzip > web03.baseline.json.gz`,
		Args: oneFile("export takes one file"),
	}
	agent := agentFlags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var file api.BaselineFile
		if err := agent.call(cmd.Context(), "GET", "/api/v1/baseline/export", nil, &file); err != nil {
			return err
		}
		if args[0] == "-" {
			return printJSON(cmd.OutOrStdout(), file)
		}
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("write the baselines: %w; choose another file", err)
		}
		err = errors.Join(printJSON(f, file), f.Close())
		if err != nil {
			_ = os.Remove(args[0]) // half a file is none
			return fmt.Errorf("write the baselines: %w", err)
		}
		return nil
	}
	return cmd
}

func baselineImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take what was learned from a file",
		Long: `Takes what a host has learned in the place of what this one has of the same
scopes. A file of another host is refused, unless --as names this one, or
--scope-map says which scopes are which; then only those are taken. It is all
or nothing. What is learned here from then on counts beside it.`,
		Example: `  foreshock baseline import web03.baseline.json
  foreshock baseline import web03.baseline.json --scope-map service/web=service/shop`,
		Args: oneFile("import takes one file"),
	}
	as := cmd.Flags().String("as", "", "the name of this host, where the file is of another")
	scopes := cmd.Flags().StringToString("scope-map", nil, "scopes of the file and what they are here: THEIRS=OURS,…")
	_ = cmd.RegisterFlagCompletionFunc("as", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("scope-map", cobra.NoFileCompletions)
	agent := agentFlags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := api.BaselineImport{As: *as, ScopeMap: *scopes}
		data, err := config.ReadPlain(args[0], maxAnswer)
		if err != nil {
			return fmt.Errorf("read the baselines: %w; name a file that export wrote", err)
		}
		if err := json.Unmarshal(data, &in.File); err != nil {
			return fmt.Errorf("%s is no file of baselines: %w; name one that export wrote", args[0], err)
		}
		var done api.BaselineImported
		if err := agent.call(cmd.Context(), "PUT", "/api/v1/baseline/import", in, &done); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "taken: %d scopes\n", len(done.Scopes))
		for _, s := range done.Absent {
			fmt.Fprintf(cmd.OutOrStdout(), "not here now: %s\n", s)
		}
		for _, s := range done.LeftOut {
			fmt.Fprintf(cmd.OutOrStdout(), "left out: %s\n", s)
		}
		return nil
	}
	return cmd
}

func baselineLeaveOutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leave-out",
		Short: "Leave a span out of what is learned",
		Long: `Leaves a span of time out of what is learned: a load test, a move, a sale.
Incidents of warning and above are left out by themselves. Of the last two
hours the minutes are left out, of those before each whole hour that the span
touches. Times are of this machine, as 2026-03-02T09:00, or with a zone as
2026-03-02T09:00:00Z.`,
		Example: `  foreshock baseline leave-out --from 2026-03-02T09:00 --to 2026-03-02T15:00 --why "the move of the database"
  foreshock baseline leave-out --from 2026-11-27T00:00 --to 2026-11-30T00:00 --scope service/web --why sale`,
		Args: noArgs,
	}
	from := cmd.Flags().String("from", "", "when it began")
	to := cmd.Flags().String("to", "", "when it was over")
	why := cmd.Flags().String("why", "", "why, for whoever asks later")
	scopeName := cmd.Flags().String("scope", "", "only of this scope (default: of every scope)")
	for _, flag := range []string{"from", "to", "why", "scope"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	agent := agentFlags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in := api.LeaveOut{Scope: *scopeName, Why: strings.TrimSpace(*why)}
		var err error
		if in.From, err = moment("from", *from); err != nil {
			return err
		}
		if in.To, err = moment("to", *to); err != nil {
			return err
		}
		switch {
		case !in.To.After(in.From):
			return usage{fmt.Errorf("--to %s is not after --from %s", *to, *from)}
		case in.Why == "":
			return usage{errors.New("--why is missing: whoever sees it later wants to know")}
		}
		return agent.call(cmd.Context(), "POST", "/api/v1/baseline/leave-out", in, nil)
	}
	return cmd
}

// moment reads a time as people write it.
func moment(flag, text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t.UTC(), nil
		}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usage{fmt.Errorf("--%s %q is no time: write it as 2026-03-02T09:00, or with a zone as 2026-03-02T09:00:00Z", flag, text)}
	}
	return t.UTC(), nil
}

func baselineResetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Forget what was learned",
		Long: `Forgets what was learned until now of one scope, or of all with --all, as after
a move to another machine. It is learned anew from now on.`,
		Example: `  foreshock baseline reset --scope service/web
  foreshock baseline reset --all`,
		Args: noArgs,
	}
	scopeName := cmd.Flags().String("scope", "", "only of this scope, as service/web")
	all := cmd.Flags().Bool("all", false, "of every scope")
	_ = cmd.RegisterFlagCompletionFunc("scope", cobra.NoFileCompletions)
	agent := agentFlags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if (*scopeName != "") == *all {
			return usage{errors.New("reset takes either --scope, or --all")}
		}
		return agent.call(cmd.Context(), "POST", "/api/v1/baseline/reset", api.BaselineReset{Scope: *scopeName}, nil)
	}
	return cmd
}
