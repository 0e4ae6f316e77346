package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/silence"
)

func silenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "silence",
		Short: "Say of which incidents nobody is told, and change that",
		Long: `Says of which incidents nobody is told, now or later: silences that somebody
made, and the maintenance windows of the configuration. What is silenced is
recorded and shown all the same, and told when it is still open at the end.`,
		Example: `  foreshock silence list
  foreshock silence add --scope 'backend/shop*' --cause path_lost --for 2h --why "the switch is replaced"`,
	}
	onlyHelps(cmd, "unknown command %q: use list, add or remove")
	cmd.AddCommand(silenceListCommand(), silenceAddCommand(), silenceRemoveCommand())
	return cmd
}

func silenceListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what nobody is told of, now or later",
		Long: `Lists the silences that have not ended, and the maintenance windows of the
configuration. ACTIVE is yes where it holds now.`,
		Example: `  foreshock silence list
  foreshock silence list --output json`,
		Args: noArgs,
	}
	agent := agentFlags(cmd, false)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		var list api.Silences
		if err := agent.call(cmd.Context(), "GET", "/api/v1/silences", nil, &list); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return writeSilences(cmd.OutOrStdout(), list)
	}
	return cmd
}

func writeSilences(out io.Writer, list api.Silences) error {
	if len(list.Silences) == 0 {
		_, err := fmt.Fprintln(out, "nothing is silenced")
		return err
	}
	rows := [][]string{{"ID", "ACTIVE", "MATCH", "WHEN", "BY", "WHY"}}
	for i := range list.Silences {
		s := &list.Silences[i]
		active := "no"
		if s.Active {
			active = "yes"
		}
		rows = append(rows, []string{s.ID, active, s.Match.String(), when(list.At, s), s.By, s.Why})
	}
	if err := writeColumns(out, len(rows[0]), rows); err != nil {
		return err
	}
	if list.InMemory {
		_, err := fmt.Fprintln(out, "kept in memory only: those that are not configured end with a restart of the agent")
		return err
	}
	return nil
}

// localTime is a time by the clocks here, as times are given to commands, and
// their zone.
func localTime(t time.Time) string { return t.Local().Format(time.DateTime + " MST") }

// when is the time of a silence in words.
func when(now time.Time, s *api.Silence) string {
	var parts []string
	for _, w := range s.Weekly {
		parts = append(parts, w.String())
	}
	if s.From.After(now) {
		parts = append(parts, "from "+localTime(s.From))
	}
	if s.UntilResolved != 0 {
		parts = append(parts, fmt.Sprintf("until incident %d is over, at the latest %s", s.UntilResolved, localTime(s.Until)))
	} else if !s.Until.IsZero() {
		parts = append(parts, "until "+localTime(s.Until))
	}
	return strings.Join(parts, ", ")
}

func silenceAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Tell nobody of some incidents, for a time",
		Long: `Begins a silence: all that is named must match, and * stands for any text. It
ends after --for, at --until, with an incident after --until-resolved, or a year
later at the latest; with --weekly it holds only at that time of each week. A
time without a zone is by the clocks here.

What is seen of a scope that --scope or --namespace names is not learned then.`,
		Example: `  foreshock silence add --scope 'backend/shop*' --cause path_lost --for 2h --why "the switch is replaced"
  foreshock silence add --until-resolved 17 --why "ada works on it"
  foreshock silence add --scope service/web --weekly "sat,sun 02:00-04:00 Europe/Dublin" --why backups`,
		Args: noArgs,
	}
	var in api.SilenceRequest
	f := cmd.Flags()
	f.StringVar(&in.Match.Scope, "scope", "", "the scope, as service/web or 'backend/shop*'")
	f.StringVar(&in.Match.Cause, "cause", "", "the cause, as path_lost or 'peer_*'")
	f.StringVar(&in.Match.Severity, "severity", "", "this severity and milder ones")
	f.StringVar(&in.Match.Namespace, "namespace", "", "the network namespace's name")
	f.StringVar(&in.Match.Rule, "rule", "", "the name of a rule of the configuration")
	f.BoolVar(&in.Match.Everything, "everything", false, "every incident")
	f.Uint64Var(&in.UntilResolved, "until-resolved", 0, "the number of an open incident with which it ends; alone, only that one is silenced")
	lasts := f.String("for", "", "how long, as 30m, 2h or 7d")
	from := f.String("from", "", "when it begins, as 2026-03-02T09:00 (default: now)")
	until := f.String("until", "", "when it ends, as 2026-03-02T15:00")
	weekly := f.StringArray("weekly", nil, `only at this time of each week, as "sat,sun 02:00-04:00 Europe/Dublin"; may be given several times`)
	f.StringVar(&in.Why, "why", "", "why, for whoever sees it later")
	f.StringVar(&in.By, "by", "", "who you are (default the user who calls this)")
	_ = cmd.RegisterFlagCompletionFunc("cause", cobra.FixedCompletions(config.Causes(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(config.Severities(), cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"scope", "namespace", "rule", "until-resolved", "for", "from", "until", "weekly", "why", "by"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	agent := agentFlags(cmd, true)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if err := silenceTimes(&in, *lasts, *from, *until, *weekly); err != nil {
			return err
		}
		if !cmd.Flags().Changed("by") {
			if in.By, err = caller(); err != nil {
				return err
			}
		}
		in.Why = strings.TrimSpace(in.Why)
		switch {
		case in.Why == "":
			return usage{errors.New("--why is missing: whoever sees it later wants to know")}
		case in.Match != (silence.Matcher{}) || in.UntilResolved == 0:
			if err := in.Match.Check(config.Causes()); err != nil {
				return usage{err}
			}
		}
		var made api.Silence
		if err := agent.call(cmd.Context(), "POST", "/api/v1/silences", in, &made); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), made)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "silenced: %s: %s, %s\n", made.ID, made.Match, when(time.Now(), &made))
		return err
	}
	return cmd
}

// silenceTimes reads when a silence holds.
func silenceTimes(in *api.SilenceRequest, lasts, from, until string, weekly []string) error {
	var err error
	if lasts != "" {
		d, ok := span(lasts)
		if !ok || d == 0 || d > silence.MaxSpan {
			return usage{fmt.Errorf("--for %q is no time of up to a year: write it as 30m, 2h or 7d", lasts)}
		}
		in.ForSeconds = d.Seconds()
	}
	if from != "" {
		if in.From, err = moment("from", from); err != nil {
			return err
		}
	}
	if until != "" {
		if in.Until, err = moment("until", until); err != nil {
			return err
		}
	}
	for _, text := range weekly {
		w, err := silence.ParseWeekly(text)
		if err != nil {
			return usage{fmt.Errorf("--weekly: %w", err)}
		}
		in.Weekly = append(in.Weekly, w)
	}
	switch {
	case lasts != "" && until != "":
		return usage{errors.New("--for and --until both say when it ends: use one")}
	case lasts == "" && until == "" && len(weekly) == 0 && in.UntilResolved == 0:
		return usage{errors.New("nothing says when it ends: add --for 2h, --until, --until-resolved or --weekly")}
	}
	return nil
}

func silenceRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "End a silence",
		Long: `Ends a silence: what it kept quiet and is still open is told now. A maintenance
window ends by taking it out of the configuration.`,
		Example: `  foreshock silence remove 3fa90c
  foreshock silence remove 3fa90c --agent https://192.0.2.3:9748 --token-file /etc/foreshock/token`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{fmt.Errorf("remove takes one ID, got %q; foreshock silence list shows them", args)}
			}
			return nil
		},
	}
	agent := agentFlags(cmd, true)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var list api.Silences
		if len(args) > 0 || agent.call(cmd.Context(), "GET", "/api/v1/silences", nil, &list) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for i := range list.Silences {
			if s := &list.Silences[i]; !s.Configured {
				ids = append(ids, s.ID+"\t"+s.Match.String()+": "+s.Why)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := agent.call(cmd.Context(), "DELETE", "/api/v1/silences/"+url.PathEscape(args[0]), struct{}{}, nil); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "removed: "+args[0])
		return err
	}
	return cmd
}
