package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/recording/score"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/presets"
)

// defaults is the name of the contestant that is our own causes.
const defaults = "defaults"

func scoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "score DIR",
		Short: "Hold what is found in labelled recordings against their labels",
		Long: `Plays every labelled recording below a folder and says, side by side for the
defaults, for each preset of an article's rules and for a configuration of
yours: what share of the faults was found, how late, how long before the first
client failed, and what was said that was not so.

How it counts. A label is found by the first finding of its cause, or of one of
its or:, on its very scope, that is as grave as the label's severity (warning,
if it names none) between its from and its to, or in the --grace after it. Of a
rule the cause is not asked, and it may be on the label's scope, or on the host
or the rest of the same network namespace. A finding at warning or above that no
label explains is false: of another cause, of a sibling, or out of time.

Neither way count: a cause that a label says may come of its fault (follows:), in
its time and namespace and not on a sibling, another scope of the same kind; what
a local fault explains, and nobody is told; and a rule on a scope of which the
labels say nothing: one of a kind that none of them is about, another namespace,
or another service. Where a recording is labelled healthy, all scopes are.
A configuration counts as the defaults and its rules together, a preset as its
rules alone.

Delay is from the fault to the finding, lead from the finding to the client's
first failure, negative where the client was first. 95 of 100 delays are at most
their p95, 95 of 100 leads at least theirs.

With --golden the defaults' recall and false findings are compared with a file:
the command ends with 3 where a fault is found less often or a finding more is
false, and --update writes the file anew.`,
		Example: `  foreshock score recordings
  foreshock score recordings --config new.yaml --preset workers-article
  foreshock score testdata/episodes --golden testdata/episodes/score.golden`,
		Args: oneFile("score takes one folder"),
	}
	output := outputOf(cmd, "table", "json", "markdown")
	flags := cmd.Flags()
	file := configFlag(cmd, "score the defaults with the rules of this configuration, too")
	names := presetFlag(cmd, "score this preset, and of the others only those that are named so; more than one may be given")
	grace := flags.Duration("grace", score.DefaultGrace, "how long after a fault's end a finding is still of it")
	golden := flags.String("golden", "", "compare the defaults with this file")
	update := flags.Bool("update", false, "write the --golden file anew")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	_ = cmd.RegisterFlagCompletionFunc("grace", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kind, err := output()
		switch {
		case err != nil:
			return err
		case *update && *golden == "":
			return usage{errors.New("--update takes a --golden file to write")}
		case *grace < 0:
			return usage{fmt.Errorf("--grace %s is negative: 1m is the default", *grace)}
		}
		stderr := cmd.ErrOrStderr()
		all, err := contestants(stderr, *file, *names)
		if err != nil {
			return err
		}
		episodes, err := playEpisodes(stderr, args[0], score.Rules(all))
		if err != nil {
			return err
		}
		cards := make([]score.Card, 0, len(all))
		for _, c := range all {
			cards = append(cards, score.Score(c, episodes, *grace))
		}
		if err := printCards(cmd.OutOrStdout(), cards, kind); err != nil || *golden == "" {
			return err
		}
		return compareGolden(stderr, &cards[0], *golden, *update)
	}
	return cmd
}

// contestants are the defaults, then presets, then a configuration.
func contestants(stderr io.Writer, file string, names []string) ([]score.Contestant, error) {
	if len(names) == 0 {
		names = presets.Names()
	}
	all := []score.Contestant{{Name: defaults, Causes: true}}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		rules, err := presetRules(name)
		if err != nil {
			return nil, err
		}
		all = append(all, score.Contestant{Name: name, Rules: rules})
	}
	if file == "" {
		return all, nil
	}
	rules, err := configRules(stderr, file)
	if err != nil {
		return nil, err
	}
	return append(all, score.Contestant{Name: filepath.Base(file), Causes: true, Rules: rules}), nil
}

// playEpisodes plays every recording below dir that has labels, by name.
func playEpisodes(stderr io.Writer, dir string, rules []rule.Rule) ([]score.Episode, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, labels := strings.CutSuffix(path, label.Suffix); err == nil && labels && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for labelled recordings: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no labelled recording: foreshock label --help says how to make one", dir)
	}
	var episodes []score.Episode
	var errs []error
	next := time.Now().Add(headwayEvery)
	for i, path := range names {
		if time.Now().After(next) {
			next = time.Now().Add(headwayEvery)
			fmt.Fprintf(stderr, "foreshock: played %d of %d recordings\n", i, len(names))
		}
		e, err := playEpisode(stderr, path, rules)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if e.Name, err = filepath.Rel(dir, path); err != nil {
			e.Name = path
		}
		episodes = append(episodes, e)
	}
	return episodes, errors.Join(errs...)
}

func playEpisode(stderr io.Writer, path string, rules []rule.Rule) (e score.Episode, err error) {
	err = readRecording(stderr, path, func(r *recording.Reader) (err error) {
		e.Findings, e.Bounds, err = score.Play(r, rules)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("%s%s is of no recording: %s is not there", path, label.Suffix, path)
	}
	if err != nil {
		return e, err
	}
	_, e.Labels, err = readLabels(path, e.Bounds)
	return e, err
}

// compareGolden compares a card with a file, or writes that. Worse ends with 3.
func compareGolden(stderr io.Writer, card *score.Card, path string, update bool) error {
	if update {
		return replaceFile(path, []byte(card.Golden()))
	}
	text, err := config.ReadPlain(path, config.MaxSize)
	if err != nil {
		return fmt.Errorf("read the golden score: %w; --update writes it", err)
	}
	worse, better, err := card.Differences(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, line := range better {
		fmt.Fprintf(stderr, "foreshock: better: %s; write it with --update\n", line)
	}
	for _, line := range worse {
		fmt.Fprintf(stderr, "foreshock: worse: %s\n", line)
	}
	if len(worse) > 0 {
		return exit{exitUnhealthy}
	}
	return nil
}

func printCards(out io.Writer, cards []score.Card, kind string) error {
	switch kind {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Contestants []score.Card `json:"contestants"`
		}{cards})
	case "markdown":
		err := writeMarkdown(out, foundTable(cards))
		fmt.Fprintln(out)
		return errors.Join(err, writeMarkdown(out, timesTable(cards)))
	}
	fmt.Fprintf(out, "%d recordings, %s in all; found of labelled\n", cards[0].Episodes, time.Duration(cards[0].Days*24*float64(time.Hour)).Round(time.Second))
	if err := writeColumns(out, 1, foundTable(cards)); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nseconds from the fault to the finding, and from there to the client's first failure")
	if err := writeColumns(out, 2, timesTable(cards)); err != nil {
		return err
	}
	for i := range cards {
		if err := printWrong(out, &cards[i]); err != nil {
			return err
		}
	}
	return nil
}

// foundTable has a row for each cause and a column for each contestant.
func foundTable(cards []score.Card) [][]string {
	head := []string{"CAUSE"}
	for i := range cards {
		head = append(head, strings.ToUpper(cards[i].Contestant))
	}
	rows := [][]string{head}
	row := func(name string, of func(*score.Card) string) {
		cells := []string{name}
		for i := range cards {
			cells = append(cells, of(&cards[i]))
		}
		rows = append(rows, cells)
	}
	share := func(s score.CauseScore) string { return fmt.Sprintf("%d/%d", s.Found, s.Labels) }
	for i, s := range cards[0].Causes { // the labels are the same for all
		row(s.Cause, func(c *score.Card) string { return share(c.Causes[i]) })
	}
	row("all", func(c *score.Card) string { return share(c.Total) })
	row("false findings", func(c *score.Card) string { return strconv.Itoa(c.False) })
	row("false a day", func(c *score.Card) string { return fmt.Sprintf("%.1f", c.FalsePerDay) })
	return rows
}

// timesTable has a row for each cause that a contestant found.
func timesTable(cards []score.Card) [][]string {
	rows := [][]string{{"CONTESTANT", "CAUSE", "DELAY", "P95", "LEAD", "P95"}}
	cell := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f", *v)
	}
	for i := range cards {
		c := &cards[i]
		for _, s := range append(slices.Clip(c.Causes), c.Total) {
			if s.Found > 0 {
				rows = append(rows, []string{c.Contestant, s.Cause, cell(s.DelayMedian), cell(s.DelayP95), cell(s.LeadMedian), cell(s.LeadP95)})
			}
		}
	}
	return rows
}

// mostWrong is how many mistakes of one contestant are listed; JSON has all.
const mostWrong = 20

// printWrong lists what a contestant missed, and what it said that was not so.
func printWrong(out io.Writer, c *score.Card) error {
	var lines []string
	for i := range c.Each {
		e := &c.Each[i]
		for _, l := range e.Labels {
			if !l.Found {
				lines = append(lines, fmt.Sprintf("missed  %s: %s of %s", e.Name, l.Cause, l.Scope))
			}
		}
		for _, f := range e.False {
			lines = append(lines, fmt.Sprintf("false   %s: %s of %s, %s, at %s", e.Name, f.Says, f.Scope, f.Severity, f.At.Format(time.RFC3339)))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if more := len(lines) - mostWrong; more > 0 {
		lines = append(lines[:mostWrong], fmt.Sprintf("and %d more: --output json has them", more))
	}
	_, err := fmt.Fprintf(out, "\n%s\n  %s\n", c.Contestant, strings.Join(lines, "\n  "))
	return err
}
