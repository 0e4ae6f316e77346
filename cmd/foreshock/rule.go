package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/presets"
	"github.com/foreshock/foreshock/internal/rule/rulefile"
	"github.com/foreshock/foreshock/internal/scope"
)

// exitUnhealthy is for a command that could do its work and found what should
// not be.
const exitUnhealthy = 3

func ruleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rule",
		Short: "Test rules on series and on the past, and list what they can look at",
		Long: `A rule is a condition over signals in your own words. The configuration has
them under rules, and switches on those that come with the program under
presets. Rules only tell; none of them acts.`,
		Example: `  foreshock rule test web_test.yaml
  foreshock rule backtest web.yaml --since 28d
  foreshock rule show workers-article`,
	}
	onlyHelps(cmd, "unknown command %q: use test, backtest, presets, show or signals")
	cmd.AddCommand(ruleTestCommand(), ruleBacktestCommand(), rulePresetsCommand(), ruleShowCommand(), ruleSignalsCommand())
	return cmd
}

func ruleTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test FILE...",
		Short: "Replay hand-written series through rules",
		Long: `Replays hand-written series of signals through rules, by the very code that
the agent runs, and compares how far each rule is with what the file expects.
Ends with code 3 when a test fails, and with 1 when a file cannot be used.

A file looks like this; rule_files and presets may stand in place of rules:

  rules:
    - {name: web-waits, when: service.queue_wait_seconds > 0.5, hold: 10s, severity: warning}
  interval: 1s
  tests:
    - name: a queue that stays
      input:
        service/web queue_wait_seconds: "0x9 0.2+0.1x20 _x5 stale"
      expect:
        - {at: 30s, rule: web-waits, scope: service/web, state: open}

In a series 5x3 is 5 and 3 more of it, 1+2x3 is 1 3 5 7, _ is a look that does
not see the signal, and stale makes it unknown. A state is none, suspect (true,
and not for long enough) or open.`,
		Example: `  foreshock rule test web_test.yaml
  foreshock rule test tests/*.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage{fmt.Errorf("%s takes at least one file: %s --help shows one", cmd.CommandPath(), cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			failed := 0
			for _, path := range args {
				suite, err := loadSuite(path)
				if err != nil {
					return err
				}
				for _, w := range suite.Warnings {
					complain(cmd.ErrOrStderr(), fmt.Errorf("%s", w))
				}
				failed += writeResults(cmd.OutOrStdout(), path, suite.Run())
			}
			if failed > 0 {
				return exit{exitUnhealthy}
			}
			return nil
		},
	}
}

// loadSuite reads a test file. The files of rules that it names are found
// beside it.
func loadSuite(path string) (*rulefile.Suite, error) {
	data, err := config.ReadPlain(path, config.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("read the tests: %w; name a file of tests", err)
	}
	return rulefile.ParseTests(path, data, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return config.ReadPlain(name, config.MaxSize)
	})
}

// writeResults prints one line for each test, and what was not as expected.
// It returns the number of tests that failed.
func writeResults(out io.Writer, path string, results []rulefile.Result) int {
	failed := 0
	for _, r := range results {
		if len(r.Failures) == 0 {
			fmt.Fprintf(out, "ok    %s: %s\n", path, r.Test.Name)
			continue
		}
		failed++
		fmt.Fprintf(out, "FAIL  %s:%d: %s\n", path, r.Test.Line, r.Test.Name)
		for _, f := range r.Failures {
			fmt.Fprintf(out, "      %s:%d: at %s, %s of %s\n        - expected %s\n        + got      %s\n        %s\n", path, f.Line, f.At, f.Rule, f.Scope, f.Phase, f.Got, f.Why)
		}
	}
	return failed
}

func rulePresetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "presets",
		Short: "List the rules that come with the program",
		Long:  "Lists the presets and the rules in each. None is on unless the configuration\nnames the preset.",
		Example: `  foreshock rule presets
  foreshock rule presets | grep critical`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "PRESET\tRULE\tSEVERITY\tLOOKS")
			for _, name := range presets.Names() {
				f, err := rulefile.Preset(name)
				if err != nil {
					return err
				}
				for _, r := range f.Rules {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, r.Name, r.Severity, looks(&r))
				}
			}
			return w.Flush()
		},
	}
}

// looks says how often a rule looks and when it reports.
func looks(r *rule.Rule) string {
	often := "every view"
	if r.Every > 0 {
		often = "every " + r.Every.String()
	}
	if r.InARow > 1 {
		often += fmt.Sprintf(", %d in a row", r.InARow)
	}
	if r.Hold > 0 {
		often += ", held " + r.Hold.String()
	}
	return often
}

func ruleShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "show PRESET",
		Short:     "Print a preset's file",
		Long:      "Prints the file of rules that a preset is, with its comments.",
		ValidArgs: presets.Names(),
		Example: `  foreshock rule show workers-article
  foreshock rule show workers-article > my-rules.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{fmt.Errorf("%s takes one preset of %s, got %q", cmd.CommandPath(), strings.Join(presets.Names(), ", "), args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := presets.Source(args[0])
			if err != nil {
				return usage{err}
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
}

func ruleSignalsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "signals",
		Short: "List the signals that a rule can name",
		Long:  "Lists every signal as a rule names it, with its unit.",
		Example: `  foreshock rule signals
  foreshock rule signals | grep seconds`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SIGNAL\tUNIT\tWHAT IT IS")
			for _, kind := range []scope.Kind{scope.KindService, scope.KindBackend, scope.KindRegion, scope.KindAddress, scope.KindHost} {
				for _, s := range measure.Signals() {
					if s.AppliesTo(kind) {
						fmt.Fprintf(w, "%s.%s\t%s\t%s\n", kind, s, s.Definition().Unit, s.Definition().Help)
					}
				}
			}
			return w.Flush()
		},
	}
}
