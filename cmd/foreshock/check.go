package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/tcp"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [SERVICE]",
		Short: "Say whether anything fails, as a Nagios plugin",
		Long: `Says whether anything fails, in the words, exit codes (0 OK, 1 WARNING,
2 CRITICAL, 3 UNKNOWN) and performance data of a Nagios plugin. What cannot be
seen is UNKNOWN, never OK; so is a mistake in how it is called.

It asks the running agent. Without one it looks four times in two seconds by
itself, and says what that cannot judge. SERVICE narrows it to one service by
name, --backend to one backend. A backend of which nothing is asked does not
show how it does; only where it is named is that UNKNOWN. A pool of the
configuration of which no member is known, or not all, is UNKNOWN. A switch of
addresses that is stuck (foreshock drain) is WARNING.`,
		Example: `  foreshock check
  foreshock check apache2:80 --agent http://127.0.0.1:9748
  foreshock check --backend shop/s1`,
		Args:              atMostOne("check takes one service"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	address := cmd.Flags().String("agent", "", "the agent to ask (default "+defaultAgent+", or where the configuration says it listens)")
	timeout := cmd.Flags().Duration("timeout", 5*time.Second, "how long to wait for the agent")
	file := cmd.Flags().StringP("config", "c", "", "configuration that says where the agent listens, and what to look with when none runs (default "+defaultConfig+" when it is there)")
	calls := addCallerFlags(cmd)
	backend := cmd.Flags().String("backend", "", "only this backend, by name")
	_ = cmd.RegisterFlagCompletionFunc("backend", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("agent", cobra.NoFileCompletions)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		only := narrowed{backend: *backend}
		if len(args) == 1 {
			only.service = args[0]
		}
		if cmd.Flags().Changed("backend") && (*backend == "" || only.service != "") {
			return usage{fmt.Errorf("--backend %q: name one backend, and no service beside it", *backend)}
		}
		if *timeout <= 0 {
			return usage{fmt.Errorf("--timeout %s: use a time above zero, as 5s", *timeout)}
		}
		orderly(cmd) // a verdict in any case
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		code, text := nagiosUnknown, ""
		c, err := askOrLook(ctx, cmd.Context(), calls, *address, *file)
		if err == nil {
			code, text = verdict(c, only)
		} else {
			text = unknown(err)
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
			complain(cmd.ErrOrStderr(), fmt.Errorf("write the verdict: %w", err))
			return exit{nagiosUnknown}
		}
		return exit{code}
	}
	return cmd
}

// askOrLook asks the agent at an address. Without an address it asks where the
// configuration says that it listens, and where nobody does, looks by itself.
func askOrLook(asking, looking context.Context, flags callerFlags, address, file string) (checked, error) {
	cfg, err := configBeside(address, file)
	if err != nil {
		return checked{}, err
	}
	conn, err := flags.connect(address, cfg, config.Secret{})
	if err != nil {
		return checked{}, err
	}
	defer conn.close()
	c, err := askAgent(asking, conn)
	if conn.own && nobodyThere(err) {
		return lookFourTimes(looking, cfg)
	}
	return c, err
}

// nobodyThere reports whether there was nothing to talk to: no agent runs.
func nobodyThere(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial" && !dial.Timeout()
}

const (
	glances     = 4
	glancesSpan = 2 * time.Second
)

// lookFourTimes judges without an agent.
func lookFourTimes(ctx context.Context, cfg config.Config) (checked, error) {
	s, err := agent.Glance(ctx, cfg, glances, glancesSpan)
	if err != nil {
		return checked{}, err
	}
	for _, l := range s.Looks {
		if l.Tier == tcp.Pulse && l.Partial > 0 {
			return checked{}, fmt.Errorf("%d of %d looks were not whole: check again", l.Partial, l.Partial+l.Looks)
		}
	}
	c := checked{glanced: true, notes: []string{
		"no agent runs: judged by 4 looks in 2 s, which see who waits now and no trend",
		"not judged: what must hold for longer than 2 s; rates and slopes; start `foreshock agent` for these",
	}}
	c.scopes, c.incidents = api.Views(s)
	c.pools = s.Pools
	return c, nil
}
