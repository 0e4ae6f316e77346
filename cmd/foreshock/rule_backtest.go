package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure/baseline"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/backtest"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
)

// backtesting is one call of rule backtest, checked.
type backtesting struct {
	rules        []rule.Rule
	since, until time.Time
	labels       string // a file, or empty
	list         bool
	stderr       io.Writer
}

func ruleBacktestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backtest [FILE]",
		Short: "Say how often rules would have opened over the past",
		Long: `Says how often each rule of a file of rules, or of a configuration, would have
opened over the past that the agent's history holds, for which scopes, and how
often while something was wrong. Presets are added with --preset.

Where the history has raw tallies (24 h, if the configuration says nothing else)
they are played through the very code that the agent runs, and the count is
exact. Before that it has the least, the mean and the greatest value of each
minute, and the count is a range: at least so often, at most so often. Openings
that no minute in between is sure to part count as one, as a minute does not
tell how often a value crossed a level within it. The first hour of raw tallies,
and as long as the rule itself looks back, only makes good what was remembered
then; minutes answer for it.

INSIDE is how many of RAW and AT MOST overlap an incident of the same scope that
the history has (for a rule of the host, of any scope of its network namespace)
or a span of --labels, a file as foreshock label writes it. Incidents of rules do
not count. With --recording those recordings are played in place of the history.
Times are local. Memory grows with scopes and firings, not with the span.`,
		Example: `  foreshock rule backtest new.yaml --since 28d
  foreshock rule backtest --preset workers-article --since 7d --list
  foreshock rule backtest new.yaml --recording test.rec --labels test.rec.labels.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			presets, _ := cmd.Flags().GetStringArray("preset")
			if len(args) > 1 || len(args) == 0 && len(presets) == 0 {
				return usage{fmt.Errorf("rule backtest takes one file of rules, or --preset, got %q: %s --help shows one", args, cmd.CommandPath())}
			}
			return nil
		},
	}
	place := historyFlags(cmd)
	asJSON := outputFlag(cmd)
	flags := cmd.Flags()
	since := flags.String("since", "28d", "how far back: a time, or how long ago")
	until := flags.String("until", "", "only up to this time (default now)")
	recordings := flags.StringArray("recording", nil, "play this recording in place of the history; more than one may be given")
	only := flags.StringArray("rule", nil, "only the rule of this name; more than one may be given")
	names := presetFlag(cmd, "the rules of this preset, too; more than one may be given")
	labels := flags.String("labels", "", "a file of labels: spans in which something was wrong")
	list := flags.Bool("list", false, "list the times, too")
	for _, name := range []string{"since", "until", "rule"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	for _, name := range []string{"recording", "labels"} {
		_ = cmd.MarkFlagFilename(name)
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b := backtesting{labels: *labels, list: *list, stderr: cmd.ErrOrStderr()}
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if b.rules, err = someRules(b.stderr, args, *names, *only); err != nil {
			return err
		}
		if len(*recordings) > 0 && (flags.Changed("state-dir") || flags.Changed("since") || flags.Changed("until")) {
			return usage{errors.New("--recording is played whole, in place of the history: leave --state-dir, --since and --until out")}
		}
		orderly(cmd)
		past := backtest.New(b.rules)
		var truths []backtest.Truth
		if len(*recordings) > 0 {
			err = b.playRecordings(cmd.Context(), past, *recordings)
		} else {
			truths, err = b.readHistory(cmd.Context(), past, *since, *until, place)
		}
		if err != nil {
			return err
		}
		return b.print(cmd.OutOrStdout(), past, truths, inJSON)
	}
	return cmd
}

// print prints what the past says, beside what was wrong in it.
func (b *backtesting) print(out io.Writer, past *backtest.Past, truths []backtest.Truth, asJSON bool) error {
	labelled, err := b.labelled(past)
	if err != nil {
		return err
	}
	answer := b.answer(past.Answer(append(truths, labelled...)), past.Known())
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(answer)
	} else {
		err = answer.write(out)
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// someRules are the rules of a file and of presets, or those of them that are
// named.
func someRules(stderr io.Writer, args, presets, only []string) ([]rule.Rule, error) {
	file := ""
	if len(args) > 0 {
		file = args[0]
	}
	rules, err := rulesOf(stderr, file, presets)
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%s has no rule: write one below rules:, or name a preset with --preset", file)
	}
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	for _, name := range only {
		if !slices.Contains(names, name) {
			return nil, usage{fmt.Errorf("there is no rule %q: there are %s", name, strings.Join(names, ", "))}
		}
	}
	if len(only) > 0 {
		rules = slices.DeleteFunc(rules, func(r rule.Rule) bool { return !slices.Contains(only, r.Name) })
	}
	return rules, nil
}

// playRecordings plays each recording on its own.
func (b *backtesting) playRecordings(ctx context.Context, past *backtest.Past, paths []string) error {
	for _, path := range paths {
		past.Begin(backtest.Cold, time.Time{})
		err := readRecording(b.stderr, path, func(r *recording.Reader) error {
			for headway := newHeadway(b.stderr, "played"); ; {
				step, err := r.Next()
				switch {
				case errors.Is(err, io.EOF):
					return nil
				case err != nil:
					return err
				case ctx.Err() != nil:
					return errInterrupted
				}
				past.Step(step)
				headway.at(step.At.Add(step.Offset))
			}
		})
		if err != nil {
			return err
		}
		past.End()
	}
	return nil
}

// readHistory takes what the history has of the span, and returns its incidents.
func (b *backtesting) readHistory(ctx context.Context, past *backtest.Past, since, until string, place func() (string, error)) ([]backtest.Truth, error) {
	now := time.Now()
	var err error
	if b.since, err = ago("since", since, now); err != nil {
		return nil, err
	}
	if b.until, err = ago("until", until, now); err != nil {
		return nil, err
	}
	if b.until.IsZero() {
		b.until = now
	}
	if !b.since.Before(b.until) {
		return nil, usage{errors.New("--since is not before --until: nothing would be looked at")}
	}
	dir, err := place()
	if err == nil {
		var r *history.Reader
		if r, err = openHistory(dir); err == nil {
			defer r.Close()
			return b.read(ctx, past, r)
		}
	}
	return nil, fmt.Errorf("%w; --recording FILE plays a recording in place of the history", err)
}

func (b *backtesting) read(ctx context.Context, past *backtest.Past, r *history.Reader) ([]backtest.Truth, error) {
	if err := b.playSegments(ctx, past, r); err != nil {
		return nil, err
	}
	headway := newHeadway(b.stderr, "read minutes")
	bad, first := 0, error(nil)
	err := r.Minutes(b.since, b.until, func(start time.Time, data []byte) error {
		if ctx.Err() != nil {
			return errInterrupted
		}
		m, err := baseline.DecodeMinute(data)
		if err != nil {
			if bad++; first == nil {
				first = fmt.Errorf("minute of %s: %w", local(start), err)
			}
			return nil
		}
		past.Minute(m)
		headway.at(start)
		return nil
	})
	if unreadable, ok := errors.AsType[*history.UnreadableError](err); ok {
		bad += unreadable.Rows
		first, err = errors.Join(first, unreadable.First), nil
	}
	if err != nil {
		return nil, err
	}
	if bad > 0 {
		complain(b.stderr, fmt.Errorf("%d minutes cannot be read and were left out; the first: %w", bad, first))
	}
	if n := past.Skipped(); n > 0 {
		complain(b.stderr, fmt.Errorf("%d minutes were left out, as the clock was set back to before them", n))
	}
	return b.incidents(r)
}

var errInterrupted = errors.New("interrupted: there is no answer of a part")

// mostApart is how far apart two segments may be that are of one row: they are
// written each 10 s.
const mostApart = time.Minute

// playSegments plays the raw tallies, each row of them that has no gap on its
// own.
func (b *backtesting) playSegments(ctx context.Context, past *backtest.Past, r *history.Reader) error {
	headway := newHeadway(b.stderr, "played")
	decoder := recording.NewDecoder()
	var last time.Time
	bad, first := 0, error(nil)
	err := r.Segments(b.since.Add(-past.Remembers()), b.until, func(s recording.Segment) error {
		if apart := s.From.Sub(last); last.IsZero() || apart > mostApart || apart < -mostApart {
			past.End()
			past.Begin(backtest.Warm, b.since)
		}
		last = s.To
		err := decoder.Reset(s.Data)
		for err == nil {
			if ctx.Err() != nil {
				return errInterrupted
			}
			var one recording.Record
			if one, err = decoder.Next(); err == nil && one.Frame == nil && !one.Step.At.Add(one.Step.Offset).After(b.until) {
				past.Step(one.Step)
				headway.at(one.Step.At.Add(one.Step.Offset))
			}
		}
		if !errors.Is(err, io.EOF) {
			last = time.Time{} // what follows is a row of its own
			if bad++; first == nil {
				first = fmt.Errorf("raw tallies of %s: %w", local(s.From), err)
			}
		}
		return nil
	})
	past.End()
	if bad > 0 {
		complain(b.stderr, fmt.Errorf("%d pieces of raw tallies cannot be read, and minutes answer for them; the first: %w", bad, first))
	}
	return err
}

// incidents are those of the span; rules are no causes.
func (b *backtesting) incidents(r *history.Reader) ([]backtest.Truth, error) {
	var out []backtest.Truth
	err := r.EachIncident(history.Query{Since: b.since, Until: b.until}, func(i *history.Incident) error {
		id, ok := scope.Parse(i.Scope)
		if !ok || i.Cause == judge.UserRule.String() {
			return nil
		}
		t := backtest.Truth{Scope: id, From: i.SuspectedAt, To: i.ResolvedAt, Says: i.Cause}
		if !i.Over {
			t.To = b.until
		}
		out = append(out, t)
		return nil
	})
	return out, err
}

// labelled are the spans of the file of labels.
func (b *backtesting) labelled(past *backtest.Past) ([]backtest.Truth, error) {
	if b.labels == "" {
		return nil, nil
	}
	known := past.Known()
	text, err := config.ReadPlain(b.labels, maxLabels)
	if err != nil {
		return nil, fmt.Errorf("read the labels: %w", err)
	}
	f, err := label.Parse(b.labels, text, label.Bounds{From: known.From, To: known.To, Scopes: known.Scopes()})
	if err != nil {
		return nil, err
	}
	var out []backtest.Truth
	for _, l := range f.Labels {
		out = append(out, backtest.Truth{Scope: l.Scope, From: l.From, To: l.To, Says: "label " + l.Cause.String()})
	}
	return out, nil
}
