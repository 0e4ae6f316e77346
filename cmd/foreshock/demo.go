package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/demo"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo [gradual|spike|leak|slow-clients]",
		Short: "Watch a small server run out of workers",
		Long: `Shows how long before the first failed request a warning comes. It starts a
real server with 8 workers on loopback, loads it until it fails, and shows what
the agent says of it beside what the clients see. It needs no root, no
configuration and no files, and takes at most 90 s.

Without a scenario it plays gradual and, in a terminal, then asks for another.`,
		Example: `  foreshock demo
  foreshock demo slow-clients --output json`,
		ValidArgs: scenarios(),
		Args:      atMostOne("demo takes one scenario"),
	}
	duration := cmd.Flags().Duration("duration", 0, "how long it takes, 15s to 90s; 0 for the scenario's own")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if *duration != 0 && (*duration < demo.MinDuration || *duration > demo.MaxDuration) {
			return usage{fmt.Errorf("--duration %s: use between %s and %s", *duration, demo.MinDuration, demo.MaxDuration)}
		}
		s := demo.Gradual
		if len(args) == 1 {
			if s, err = demo.ParseScenario(args[0]); err != nil {
				return usage{err}
			}
		}
		orderly(cmd)
		for ask := len(args) == 0 && !asJSON && isTerminal(os.Stdin); ; {
			if err := playDemo(cmd.Context(), s, *duration, asJSON, cmd.OutOrStdout()); err != nil || !ask {
				return err
			}
			if s, ask = nextDemo(cmd.Context(), cmd.OutOrStdout()); !ask {
				return nil
			}
		}
	}
	return cmd
}

func scenarios() []string {
	var out []string
	for _, s := range demo.Scenarios() {
		out = append(out, s.String())
	}
	return out
}

// playDemo plays one scenario: in a terminal the last line is redrawn, and
// elsewhere there is one each second.
func playDemo(ctx context.Context, s demo.Scenario, d time.Duration, asJSON bool, out io.Writer) error {
	if d == 0 {
		d = s.Duration()
	}
	text, live := out, isTerminal(out)
	if asJSON {
		text, live = io.Discard, false
	}
	fmt.Fprintf(text, "%s, %s: %d workers, one connection each. Ctrl-C ends it.\n", s, d, demo.Workers)
	var last time.Duration
	clear := ""
	if live {
		clear = "\r\x1b[K"
	}
	sum, err := demo.Run(ctx, s, d, func(m demo.Moment) {
		switch {
		case live:
			fmt.Fprint(text, clear, fit(m.Line(), out))
		case m.At-last >= time.Second:
			last = m.At
			fmt.Fprintln(text, m.Line())
		}
	}, func(seen demo.Seen) {
		fmt.Fprint(text, clear)
		for _, line := range seen.Lines() {
			fmt.Fprintln(text, line)
		}
	})
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(sum.JSON())
	}
	cut := ""
	if ctx.Err() != nil {
		cut = fmt.Sprintf("Ended after %.1f s of %s: what did not come had no time to.\n", sum.Lasted.Seconds(), d)
	}
	if _, err := fmt.Fprintf(text, "\n\n%s%s", sum.Table(), cut); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// nextDemo asks which to play next; false ends.
func nextDemo(ctx context.Context, out io.Writer) (demo.Scenario, bool) {
	for ctx.Err() == nil {
		fmt.Fprintf(out, "\nNext: %s; Enter ends. ", strings.Join(scenarios(), ", "))
		name, ok := readLine(ctx)
		if !ok || name == "" {
			break
		}
		s, err := demo.ParseScenario(name)
		if err == nil {
			return s, true
		}
		fmt.Fprintln(out, err)
	}
	return 0, false
}

// readLine reads one line of standard input, and gives up when ctx ends.
func readLine(ctx context.Context) (string, bool) {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(os.Stdin.Fd()), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, 200); n < 1 {
			continue
		}
		var line [256]byte
		n, err := os.Stdin.Read(line[:])
		return strings.TrimSpace(string(line[:n])), err == nil
	}
	return "", false
}

// fit cuts a line to the terminal's width, so that redrawing stays in one row.
func fit(line string, out io.Writer) string {
	_, columns := terminalSize(out)
	if runes := []rune(line); columns > 1 && len(runes) >= columns {
		return string(runes[:columns-1])
	}
	return line
}
