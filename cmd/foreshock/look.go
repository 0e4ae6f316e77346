package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

// groupings are the values of look --by.
var groupings = [...]string{"service", "backend", "region", "state", "remote", "prefix", "process", "namespace"}

// lookOptions is one call of look, checked.
type lookOptions struct {
	by     string
	source observe.Source
	states tcp.StateMask
	filter tcp.Filter
	// listen narrows to one listening address; zero is none.
	listen netip.AddrPort
	top    int
	rest   bool
	config config.Config // whose backends or regions are looked for
	// configFile is its name, for messages.
	configFile string
}

// lookFlags is one call of look as it was typed.
type lookFlags struct {
	by, source, listen string
	file               string
	states             []string
	port               uint16
	top                int
	rest               bool
}

func lookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "look",
		Short: "Count this host's sockets, once",
		Long: `Takes one look at the kernel's socket table and counts it: by service, backend,
region, state, remote address, prefix, process or network namespace. It counts;
it does not judge, and always ends with code 0 when it could look.

IPv6 is in it, and IPv4 peers of dual-stack servers count as IPv4. Shares leave
out listeners and TIME_WAIT. Processes are told by who holds the socket, not by
/proc/PID/net, which shows the whole namespace. A remote address has its port
where this host is the client; a prefix is a /24, or a /48 of IPv6. A backend is
whom a known balancer talks to, or a process that --config names under
backends:, in every network namespace that may be read: pending are its
connections on which it owes an answer, longest is for how long the oldest of
them has waited. Regions are those that the configuration names under regions:,
in every network namespace that may be read, and only connections that were
begun there are in one. A name@NAMESPACE is in another namespace than this one;
observe: namespaces: host in the configuration leaves those out.`,
		Example: `  foreshock look
  foreshock look --by backend --watch
  foreshock look --by region --config /etc/foreshock/foreshock.yaml
  foreshock look --by remote --port 443 --top 10
  foreshock look --by state --watch=5s --output json`,
		Args: noArgs,
	}
	var f lookFlags
	flags := cmd.Flags()
	flags.StringVar(&f.by, "by", "service", "group by "+strings.Join(groupings[:], ", "))
	flags.StringVar(&f.source, "reader", "auto", "auto, sock_diag or procfs")
	flags.StringVar(&f.listen, "listen", "", "only what is connected to the listener there, as :80 or 192.0.2.1:80")
	flags.Uint16Var(&f.port, "port", 0, "only sockets with this local or remote port")
	flags.StringSliceVar(&f.states, "state", nil, "only sockets in these states, as close_wait,last_ack")
	flags.IntVar(&f.top, "top", 20, "how many groups to show; the others are summed; 0 shows all")
	flags.StringVarP(&f.file, "config", "c", "", "by backend and region: configuration with further pools, and with the regions")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	flags.BoolVar(&f.rest, "rest", false, "by service: also list what belongs to none, by remote address")
	watch := flags.Duration("watch", 0, "look again and again, each so long")
	flags.Lookup("watch").NoOptDefVal = "2s"
	asJSON := outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(groupings[:], cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("reader", cobra.FixedCompletions([]string{"auto", "sock_diag", "procfs"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("state", completeStates)
	for _, name := range []string{"listen", "port", "top", "watch"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		o, err := f.check()
		if err != nil {
			return usage{err}
		}
		if f.file != "" || f.by == "region" {
			if o.config, o.configFile, err = loadConfig(f.file); err != nil {
				return err
			}
		}
		if flags.Changed("watch") && *watch < 100*time.Millisecond {
			return usage{fmt.Errorf("--watch %s: look at most ten times a second", *watch)}
		}
		if *watch > 0 {
			orderly(cmd)
		}
		return repeat(cmd.Context(), cmd.OutOrStdout(), o, *watch, inJSON)
	}
	return cmd
}

// completeStates completes the last of a list of states.
func completeStates(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var out []string
	for _, s := range tcp.States() {
		if name := s.String(); !slices.Contains(strings.Split(before, ","), name) {
			out = append(out, before+name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// check returns what was typed as options, or what is wrong with it.
func (f *lookFlags) check() (lookOptions, error) {
	o := lookOptions{by: f.by, top: f.top, rest: f.rest, states: tcp.AllStates, config: config.Default()}
	if !slices.Contains(groupings[:], f.by) {
		return o, fmt.Errorf("unknown grouping %q: use %s", f.by, strings.Join(groupings[:], ", "))
	}
	var err error
	if o.source, err = observe.ParseSource(f.source); err != nil {
		return o, err
	}
	if f.top < 0 {
		return o, fmt.Errorf("--top %d: use a number of groups, or 0 for all", f.top)
	}
	if f.listen != "" && f.port != 0 {
		return o, errors.New("--listen and --port are two ways to say the same: use one")
	}
	if f.rest && f.by != "service" {
		return o, fmt.Errorf("--rest belongs to --by service, not to --by %s", f.by)
	}
	if f.file != "" && f.by != "backend" && f.by != "region" {
		return o, fmt.Errorf("--config belongs to --by backend and --by region, not to --by %s", f.by)
	}
	if len(f.states) > 0 {
		o.states = 0
		for _, name := range f.states {
			state, err := tcp.ParseState(name)
			if err != nil {
				return o, err
			}
			o.states |= tcp.MaskOf(state)
		}
	}
	if f.port != 0 {
		o.filter = tcp.Filter{LocalPorts: []uint16{f.port}, RemotePorts: []uint16{f.port}}
	}
	if f.listen != "" {
		at, ok := config.ParseListener(f.listen)
		if !ok {
			return o, fmt.Errorf("--listen %q is no address and port: use :80, 192.0.2.1:80 or [::1]:80", f.listen)
		}
		o.listen = at
		o.filter = tcp.Filter{LocalPorts: []uint16{o.listen.Port()}}
	}
	return o, nil
}

// repeat looks once, or until ctx ends. On a terminal each table takes the
// place of the one before; elsewhere tables stand below each other.
func repeat(ctx context.Context, out io.Writer, o lookOptions, every time.Duration, inJSON bool) error {
	repaint := every > 0 && !inJSON && isTerminal(out)
	for n := 0; ; n++ {
		c, err := look(o)
		if err != nil {
			return err
		}
		var b bytes.Buffer // written at once, so that nobody reads half a look
		if inJSON {
			err = writeJSON(&b, c)
		} else {
			err = writeTable(&b, c)
		}
		if err != nil {
			return err
		}
		text := b.String()
		switch {
		case repaint:
			lines, _ := terminalSize(out)
			text = painted(text, n == 0, lines)
		case n > 0 && !inJSON:
			text = "\n" + text
		}
		if _, err := io.WriteString(out, text); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		if every == 0 {
			return nil
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// terminalSize is how many lines and columns a terminal has; 0 when that is not
// known.
func terminalSize(out io.Writer) (lines, columns int) {
	if f, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			return int(size.Row), int(size.Col)
		}
	}
	return 0, 0
}

// painted puts text over what a terminal of so many lines shows, line by line,
// so that nothing flickers; what does not fit is counted, as the head would
// scroll away. The sequences are ECMA-48's: CUP, EL, ED.
func painted(text string, first bool, height int) string {
	if lines := strings.Count(text, "\n"); height > 2 && lines >= height {
		kept := strings.SplitAfterN(text, "\n", height-1)[:height-2]
		text = strings.Join(kept, "") + fmt.Sprintf("and %d more lines: a higher terminal shows them\n", lines-len(kept))
	}
	start := "\x1b[H"
	if first {
		start += "\x1b[2J"
	}
	return start + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
