package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/presets"
	"github.com/foreshock/foreshock/internal/rule/rulefile"
)

// readRecording opens a recording and hands its source to use. What of it could
// not be read is said afterwards: the rest was used.
func readRecording(stderr io.Writer, path string, use func(*recording.Reader) error) error {
	r, err := recording.Open(path)
	if err != nil {
		return err
	}
	err = use(r)
	for _, p := range r.Problems() {
		complain(stderr, fmt.Errorf("%s: %s", path, p))
	}
	return errors.Join(err, r.Close())
}

// surveyed is what a recording has that a label can be about.
func surveyed(stderr io.Writer, path string) (label.Bounds, error) {
	var s label.Survey
	err := readRecording(stderr, path, func(r *recording.Reader) error {
		for headway := newHeadway(stderr, "read"); ; {
			step, err := r.Next()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			s.Add(&step)
			headway.at(step.At.Add(step.Offset))
		}
	})
	b := s.Bounds()
	if err == nil && len(b.Scopes) == 0 {
		err = fmt.Errorf("%s has no step: record for longer", path)
	}
	return b, err
}

// headway says on stderr how far a long file is, once that takes a while.
type headway struct {
	out  io.Writer
	what string
	next time.Time
	step int
}

const headwayEvery = 5 * time.Second

func newHeadway(out io.Writer, what string) *headway {
	return &headway{out: out, what: what, next: time.Now().Add(headwayEvery)}
}

// at takes each step's time on the wall's clock.
func (p *headway) at(wall time.Time) {
	const stride = 1000 // steps between two looks at the clock
	if p.step++; p.step%stride != 0 || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(headwayEvery)
	fmt.Fprintf(p.out, "foreshock: %s until %s\n", p.what, wall.UTC().Format(time.RFC3339))
}

// configRules are the rules of a configuration, with those of its presets.
func configRules(stderr io.Writer, path string) ([]rule.Rule, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	rules, warnings, err := agent.Rules(cfg, path)
	for _, w := range warnings {
		complain(stderr, errors.New(w))
	}
	return rules, err
}

// presetRules are the rules of a preset. That there is none is wrong usage.
func presetRules(name string) ([]rule.Rule, error) {
	f, err := rulefile.Preset(name)
	if err != nil {
		return nil, usage{err}
	}
	return f.Rules, nil
}

// presetFlag adds --preset, as often as one likes.
func presetFlag(cmd *cobra.Command, says string) *[]string {
	names := cmd.Flags().StringArray("preset", nil, says)
	_ = cmd.RegisterFlagCompletionFunc("preset", cobra.FixedCompletions(presets.Names(), cobra.ShellCompDirectiveNoFileComp))
	return names
}

// configFlag adds --config, the file of a configuration.
func configFlag(cmd *cobra.Command, says string) *string {
	file := cmd.Flags().StringP("config", "c", "", says)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return file
}

// oneFile refuses anything but one argument. takes is "replay takes one
// recording".
func oneFile(takes string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage{fmt.Errorf("%s, got %q: %s --help shows one", takes, args, cmd.CommandPath())}
		}
		return nil
	}
}
