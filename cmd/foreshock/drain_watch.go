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

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/report"
)

func drainWatchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch NAME",
		Short: "Watch a switch until it has settled, or is stuck",
		Long: `Asks again and again how far a switch is. On a terminal each answer takes the place
of the one before; elsewhere each is a line, in JSON too.

Ends with 0 when it has settled; with --until safe when besides nobody is left on
the old addresses, so that they may be powered off. Ends with 3 when it is stuck, or
somebody interrupts it before: a script that goes on after 0 goes on when all is
over and not else. An agent that stops to answer is said, and asked on.`,
		Example: `  foreshock drain watch shop.example
  foreshock drain watch shop.example --until safe --agents https://192.0.2.3:9748,https://198.51.100.3:9748 && echo "power it off"`,
		Args: switchArg,
	}
	agents := agentsFlags(cmd, false)
	output := outputFlag(cmd)
	every := cmd.Flags().Duration("every", time.Second, "how long between two answers")
	until := cmd.Flags().String("until", untils[0], "settled or safe")
	_ = cmd.RegisterFlagCompletionFunc("every", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("until", cobra.FixedCompletions(untils[:], cobra.ShellCompDirectiveNoFileComp))
	timeout := cmd.Flags().Lookup("timeout") // a picture that is half a minute old is none
	timeout.DefValue = "5s"
	_ = timeout.Value.Set(timeout.DefValue)
	cmd.ValidArgsFunction = completeSwitch(agents)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if *every < 100*time.Millisecond {
			return usage{fmt.Errorf("--every %s: ask at most ten times a second", *every)}
		}
		if !slices.Contains(untils[:], *until) {
			return usage{fmt.Errorf("--until %q: use settled or safe", *until)}
		}
		list, err := agents.list()
		if err != nil {
			return err
		}
		orderly(cmd)
		w := drainWatch{agents: list, safe: *until == untils[1], name: args[0], asJSON: asJSON, out: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}
		return w.run(cmd.Context(), *every)
	}
	return cmd
}

// untils are what a watch may wait for.
var untils = [...]string{"settled", "safe"}

// drainWatch is a watch on its way.
type drainWatch struct {
	agents      []theAgent
	name        string
	safe        bool // until the old addresses may be powered off
	asJSON      bool
	out, stderr io.Writer
	shown       int    // answers
	complained  string // of what, last
}

// run asks until what is waited for is there, the switch is stuck, or the context
// ends.
func (w *drainWatch) run(ctx context.Context, every time.Duration) error {
	for {
		g, err := gatherDrain(ctx, w.agents, w.name)
		switch {
		case ctx.Err() != nil:
			return exit{exitUnwell}
		case err != nil && (w.shown == 0 || errors.Is(err, errRefused)):
			return err
		case err != nil:
			w.complain(err.Error())
		default:
			if err := w.show(&g); err != nil {
				return err
			}
			if v := g.Status.Verdict; v == drain.Stuck || v == drain.Settled && (g.Status.SafeToPowerOff || !w.safe) {
				return settled(v)
			}
			if g.idle() == "ended" {
				complain(w.stderr, fmt.Errorf("%s is followed no more: this is as it was then", w.name))
				return exit{exitUnwell}
			}
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return exit{exitUnwell}
		case <-timer.C:
		}
	}
}

// complain says what is wrong, once until it is something else.
func (w *drainWatch) complain(what string) {
	if what != w.complained && what != "" {
		complain(w.stderr, errors.New(what))
	}
	w.complained = what
}

func (w *drainWatch) show(g *gathered) error {
	var missing []string
	for _, m := range g.Missing {
		missing = append(missing, m.Agent+": "+m.Error)
	}
	text := ""
	switch {
	case w.asJSON:
		raw, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("write the JSON: %w", err)
		}
		text = string(raw) + "\n"
	case isTerminal(w.out):
		lines, _ := terminalSize(w.out)
		text = painted(drainText(g), w.shown == 0, lines)
		missing = nil // they are in the picture
	default:
		text = drainLine(&g.Status) + "\n"
	}
	w.complain(strings.Join(missing, "\n"))
	w.shown++
	if _, err := io.WriteString(w.out, text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// drainLine is how far a switch is in one line. It begins with the time since the
// switch.
func drainLine(s *drain.Status) string {
	now := s.Now.Asked
	if s.Basis == "served" {
		now = s.Now.Served
	}
	failing := now.Old.Connecting + now.Old.Retransmitting
	line := fmt.Sprintf("+%s %s: on old %s (%d of %d), of new connections %s, failing there %d", lasting(s.SinceSeconds), s.Verdict,
		percent(s.OldShare), now.Old.Established, now.Old.Established+now.New.Established, percent(s.OldNewShare), failing)
	if s.Missing != nil {
		line += ", missing " + percent(s.Missing)
	}
	if s.EndsInSeconds != nil && s.Verdict != drain.Settled {
		line += ", ends in " + lasting(*s.EndsInSeconds)
	}
	if s.Verdict == drain.Settled || s.Verdict == drain.Stuck || s.Verdict == drain.Unclear {
		line += ". " + s.Sentence
	}
	return report.Plain(line)
}
