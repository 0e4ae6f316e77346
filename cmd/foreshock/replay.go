package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/rule"
)

// replaying is one call of replay, checked.
type replaying struct {
	rules    []rule.Rule
	from, to string
	speed    float64 // of time; 0 does not wait
	json     bool
}

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Play a recording again: what would be found in it",
		Long: `Plays a recording through the very code that the agent runs and prints what
becomes of every incident: suspect, open, worse, resolved, and dropped where it
was nothing. The same recording and rules give the same lines, byte for byte.

With --config the rules of a configuration are judged too, with --preset those
that come with the program. Times are the wall's, in UTC. What comes before
--from is played and not printed, as what is usual is learned from it; a time is
RFC 3339, or +1m30s from the recording's start.`,
		Example: `  foreshock replay night.rec
  foreshock replay night.rec --config new.yaml --output json | jq 'select(.change == "open")'`,
		Args: oneFile("replay takes one recording"),
	}
	asJSON := outputFlag(cmd)
	flags := cmd.Flags()
	file := configFlag(cmd, "judge by the rules of this configuration, too")
	names := presetFlag(cmd, "judge by the rules of this preset, too; more than one may be given")
	from := flags.String("from", "", "print only from this time on")
	to := flags.String("to", "", "play only to this time")
	speed := flags.Float64("speed", 0, "1 plays as it happened, 10 ten times as fast, 0 does not wait")
	for _, name := range []string{"from", "to", "speed"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := replaying{from: *from, to: *to, speed: *speed}
		var err error
		if r.json, err = asJSON(); err != nil {
			return err
		}
		if !(r.speed >= 0) {
			return usage{fmt.Errorf("--speed %v: 0 does not wait, 1 plays as it happened", r.speed)}
		}
		if r.rules, err = rulesOf(cmd.ErrOrStderr(), *file, *names); err != nil {
			return err
		}
		orderly(cmd)
		return readRecording(cmd.ErrOrStderr(), args[0], func(source *recording.Reader) error {
			return r.play(cmd.Context(), source, cmd.OutOrStdout(), cmd.ErrOrStderr())
		})
	}
	return cmd
}

// rulesOf are the rules of a configuration and of presets together.
func rulesOf(stderr io.Writer, file string, presets []string) ([]rule.Rule, error) {
	var rules []rule.Rule
	if file != "" {
		var err error
		if rules, err = configRules(stderr, file); err != nil {
			return nil, err
		}
	}
	from := map[string]string{}
	for _, r := range rules {
		from[r.Name] = file
	}
	for _, name := range presets {
		more, err := presetRules(name)
		if err != nil {
			return nil, err
		}
		for _, r := range more {
			if other, taken := from[r.Name]; taken {
				return nil, usage{fmt.Errorf("the rule %s is in preset %s and in %s: leave one of them out", r.Name, name, other)}
			}
			from[r.Name] = "preset " + name
		}
		rules = append(rules, more...)
	}
	return rules, nil
}

// play prints the changes of a source.
func (r *replaying) play(ctx context.Context, source replay.Source, out, stderr io.Writer) error {
	p := replay.New(r.rules)
	var window struct{ from, to time.Time } // zero: no bound
	var began, first time.Time
	headway := newHeadway(stderr, "played")
	if !r.json {
		if _, err := fmt.Fprintf(out, replayLine, "TIME", "CHANGE", "NO", "SCOPE", "CAUSE", "SEVERITY", "SAYS"); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	var wall time.Time
	for ctx.Err() == nil {
		step, err := source.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		wall = step.At.Add(step.Offset).UTC()
		if began.IsZero() {
			began, first = time.Now(), step.At
			if window.from, window.to, err = r.window(wall); err != nil {
				return err
			}
		}
		if !window.to.IsZero() && wall.After(window.to) {
			return nil
		}
		if r.speed > 0 {
			wait := time.Until(began.Add(time.Duration(float64(step.At.Sub(first)) / r.speed)))
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
		}
		for _, c := range p.Changes(step) {
			if wall.Before(window.from) {
				continue
			}
			if err := r.print(out, &c); err != nil {
				return err
			}
		}
		headway.at(wall)
	}
	if r.speed > 0 {
		return nil // who watches it ends it so
	}
	if wall.IsZero() {
		return errors.New("interrupted before anything was played")
	}
	return fmt.Errorf("interrupted: played up to %s, and what came after is not in the answer", wall.Format(time.RFC3339))
}

// window is what is to be printed of a recording that begins at start.
func (r *replaying) window(start time.Time) (from, to time.Time, err error) {
	b := label.Bounds{From: start}
	if r.from != "" {
		if from, err = b.Time(r.from); err != nil {
			return from, to, usage{fmt.Errorf("--from: %w", err)}
		}
	}
	if r.to != "" {
		if to, err = b.Time(r.to); err != nil {
			return from, to, usage{fmt.Errorf("--to: %w", err)}
		}
		if to.Before(start) || to.Before(from) {
			return from, to, usage{fmt.Errorf("--to %s is before the recording or --from: nothing would be played", r.to)}
		}
	}
	return from, to, nil
}

const replayLine = "%-24s  %-8s  %4v  %-28s  %-20s  %-8s  %s\n"

func (r *replaying) print(out io.Writer, c *replay.Change) error {
	if r.json {
		line, err := c.JSON()
		if err == nil {
			_, err = out.Write(line)
		}
		return err
	}
	inc := &c.Incident
	cause, says := inc.Finding.Cause.String(), inc.Finding.Sentence
	if inc.Finding.Cause == judge.UserRule {
		cause = "rule " + inc.Finding.Rule
	}
	severity := inc.Peak.String()
	switch inc.State {
	case judge.Suspected:
		severity, says = "-", inc.Finding.Trigger
	case judge.Resolved:
		says = inc.End.Words()
	}
	if inc.Because != judge.NoCause {
		says += fmt.Sprintf(" (because of %s, incident %d)", inc.Because, inc.BecauseOf)
	}
	_, err := fmt.Fprintf(out, replayLine, c.At.Format("2006-01-02T15:04:05.000Z"), c.Kind, inc.ID, inc.Finding.Scope, cause, severity, says)
	return err
}
