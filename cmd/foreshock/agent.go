package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe/privilege"
	"github.com/foreshock/foreshock/internal/tcp"
)

func agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Watch this host and open an incident when something fails",
		Long: `Watches what this host serves: looks at the kernel's socket table within its
processor budget, and opens an incident when a service runs out of workers, or
when a backend that a balancer here talks to fails. Its page, API and metrics
are on http://127.0.0.1:9748 unless told otherwise.

It needs no configuration and no privilege; as root it can name the programs
that own sockets. SIGHUP reads the configuration again, and keeps the old one
when the new one is wrong.

Incidents and what each minute was outlive it, in a directory that no other
agent may have: $STATE_DIRECTORY, else /var/lib/foreshock where that may be
written to, else ~/.local/state/foreshock; foreshock history reads it.`,
		Example: `  foreshock agent
  foreshock agent --config foreshock.yaml --listen 127.0.0.1:9749`,
		Args: noArgs,
	}
	file := cmd.Flags().StringP("config", "c", "", "configuration file (default "+defaultConfig+" when it is there)")
	listen := cmd.Flags().String("listen", "", "address of page, API and metrics; goes before the configuration's")
	state := cmd.Flags().String("state-dir", "", "directory of what outlives it, or none; goes before the configuration's")
	format := cmd.Flags().String("log-format", "text", "text or json")
	level := cmd.Flags().String("log-level", "info", "debug, info, warn or error")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	_ = cmd.MarkFlagDirname("state-dir")
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := newLogger(cmd.ErrOrStderr(), *format, *level, os.Getenv("JOURNAL_STREAM") != "")
		if err != nil {
			return err
		}
		orderly(cmd)
		// Only closing sockets and reading tracked connections take it.
		if err := privilege.Lower(unix.CAP_NET_ADMIN); err != nil {
			log.Debug("CAP_NET_ADMIN stays in force", "error", err.Error())
		}
		// Of a heap of some megabytes twice as many collections cost nothing that
		// shows, and leave two megabytes less.
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(50)
		}
		signal.Ignore(syscall.SIGPIPE) // nobody reads the greeting any more: no reason to end
		o := agent.Options{
			Load: func() (config.Config, string, error) { return loadConfig(*file) },
			Log:  log, Version: currentVersion(),
			Announce: func(s *api.Snapshot, base string) {
				if err := announce(cmd.OutOrStdout(), s, base); err != nil {
					log.Warn("the greeting could not be written", "error", err.Error())
				}
			},
		}
		if cmd.Flags().Changed("listen") {
			if o.Listen, err = config.ParseListen(*listen); err != nil {
				return usage{fmt.Errorf("--%w", err)}
			}
		}
		if cmd.Flags().Changed("state-dir") {
			if o.StateDir, err = stateDir(*state); err != nil {
				return err
			}
		}
		if stderr := cmd.ErrOrStderr(); isTerminal(stderr) {
			o.Abandoned = func() bool { return !isTerminal(stderr) } // a closed one answers nothing more
		}
		return agent.Run(cmd.Context(), o)
	}
	return cmd
}

// stateDir reads --state-dir: a directory, from where we are, or none.
func stateDir(text string) (string, error) {
	if text == config.NoStateDir {
		return text, nil
	}
	if text == "" {
		return "", usage{errors.New("--state-dir is empty: name a directory, or none")}
	}
	dir, err := filepath.Abs(text)
	if err != nil {
		return "", fmt.Errorf("--state-dir %s: %w", text, err)
	}
	if dir, err = config.ParseStateDir(dir); err != nil {
		return "", usage{fmt.Errorf("--%w", err)}
	}
	return dir, nil
}

// maxAnnounced is how many backends are listed at the start; the API has all.
const maxAnnounced = 20

// announceBackends lists whom our balancers and pools talk to.
func announceBackends(out io.Writer, s *api.Snapshot) {
	if len(s.Backends) == 0 {
		return
	}
	fmt.Fprintf(out, "\nbackends that processes here talk to:\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range s.Backends {
		if i == maxAnnounced {
			fmt.Fprintf(w, "  and %d more\n", len(s.Backends)-maxAnnounced)
			break
		}
		b := &s.Backends[i]
		says := b.Describe() + ", " + b.Source
		if b.Limit != "" {
			says += "; " + b.Limit
		}
		fmt.Fprintf(w, "  %s\t%s\n", b.Name, says)
	}
	_ = w.Flush()
}

// newLogger logs to w. The journal adds its own time.
func newLogger(w io.Writer, format, level string, journal bool) (*slog.Logger, error) {
	var at slog.Level
	if err := at.UnmarshalText([]byte(level)); err != nil {
		return nil, usage{fmt.Errorf("unknown log level %q: use debug, info, warn or error", level)}
	}
	options := &slog.HandlerOptions{Level: at}
	if journal {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usage{fmt.Errorf("unknown log format %q: use text or json", format)}
}

// announce says, once, what is watched, what cannot be seen, and where to
// look.
func announce(to io.Writer, s *api.Snapshot, base string) error {
	out := &bytes.Buffer{}
	fmt.Fprintf(out, "foreshock %s watches %s by %s, with a budget of %.3g %% of one core\n\n", s.Version, s.Host, s.Reader, 100*s.Budget.Allowed)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range s.Services {
		fmt.Fprintf(w, "  %s\t%s\n", s.Services[i].Name, s.Services[i].Describe())
	}
	_ = w.Flush()
	if len(s.Services) == 0 {
		fmt.Fprintln(out, "  nothing listens here yet; a service is taken up two seconds after it starts to")
	}
	announceBackends(out, s)
	var every []string
	for _, l := range s.Looks {
		if !l.Covered && l.Interval > 0 && (l.Tier != tcp.Focus || len(s.Services)+len(s.Backends) > 0) {
			every = append(every, fmt.Sprintf("%s each %s", l.Tier, l.Interval.Round(10*time.Millisecond)))
		}
	}
	fmt.Fprintf(out, "\nlooks: %s\nnot seen:\n", strings.Join(every, ", "))
	for _, l := range s.Limits {
		fmt.Fprintf(out, "  %s: %s\n", l.Subject, l.Reason)
	}
	fmt.Fprintf(out, "\npage     %[1]s/\nmetrics  %[1]s/metrics\nAPI      %[1]s/api/v1/openapi.yaml\n\nincidents are logged below; Ctrl-C ends it\n", base)
	_, err := to.Write(out.Bytes())
	return err
}
