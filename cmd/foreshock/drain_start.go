package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/report"
	"github.com/foreshock/foreshock/internal/scope"
)

// startFlags is one call of drain start as it was typed.
type startFlags struct {
	name, ttl, ago, deadline   string
	old, new, ports, resolvers []string
	identity                   api.Identity
}

func drainStartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Follow a switch from old addresses to new ones",
		Long: `Makes agents follow a switch: from now on, or from --ago, they count who is on the
old and on the new addresses, ask resolvers, and try the addresses as a user would.
An address that is among both is no part of the switch. A name that the
configuration has under drain: shows more, as what arrived before the switch says
how many do not arrive after it.

The TTL is for how long answers from before the switch are good; without --ttl the
agent goes by what it was told last. A resolver is system, which is those of the
host, public, or an address with or without a port; servers of the zone are asked
in any case. With --identity-url each address of the name is asked for that page,
and what is not the expected application is a finding.`,
		Example: `  foreshock drain start --name shop.example --old 192.0.2.10 --new 198.51.100.7 --ttl 60s
  foreshock drain start --name shop.example --old 192.0.2.10 --new 198.51.100.7,198.51.100.8 --ago 2m --port 443 --resolver system,public --identity-url https://shop.example/healthz --expect-header "X-Site: dublin"
  foreshock drain start --name shop.example --old 192.0.2.10 --new 198.51.100.7 --agents https://192.0.2.3:9748,https://198.51.100.3:9748`,
		Args: noArgs,
	}
	var s startFlags
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "the DNS name whose addresses change")
	f.StringSliceVar(&s.old, "old", nil, "its addresses before, with a comma between two")
	f.StringSliceVar(&s.new, "new", nil, "its addresses after")
	f.StringVar(&s.ttl, "ttl", "", "for how long answers from before are good, as 60s (default: as the agent was told last)")
	f.StringVar(&s.ago, "ago", "", "how long ago the switch was, as 2m (default: it is now)")
	f.StringSliceVar(&s.ports, "port", nil, "only connections to these ports (default: all)")
	f.StringSliceVar(&s.resolvers, "resolver", nil, "system, public or an address (default: system)")
	f.StringVar(&s.identity.URL, "identity-url", "", "a page to ask each address for, as https://shop.example/healthz")
	f.IntVar(&s.identity.Status, "expect-status", 0, "the page's status (default: any below 400)")
	f.StringVar(&s.identity.BodyContains, "expect-body", "", "a text that is in it")
	f.StringVar(&s.identity.Header, "expect-header", "", `a header that it has, as "X-Site: shop"`)
	f.StringVar(&s.deadline, "deadline", "", "after how long it is stuck, as 30m (default: four times the TTL, 15m at least)")
	_ = cmd.RegisterFlagCompletionFunc("resolver", cobra.FixedCompletions([]string{"system", "public"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"name", "old", "new", "ttl", "ago", "port", "identity-url", "expect-status", "expect-body", "expect-header", "deadline"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	by := byFlag(cmd)
	agents := agentsFlags(cmd, true)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		in, err := s.request()
		if err != nil {
			return usage{err}
		}
		if in.By, err = by(); err != nil {
			return err
		}
		list, err := agents.list()
		if err != nil {
			return err
		}
		said, missing, err := heard(askEach(cmd.Context(), list, func(ctx context.Context, a theAgent) (api.FollowedSwitch, error) {
			var out api.FollowedSwitch
			err := a.call(ctx, "POST", "/api/v1/drains", in, &out)
			return out, err
		}))
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), startedJSON(said, missing))
		} else {
			err = writeStarted(cmd.OutOrStdout(), said)
		}
		if err != nil || len(missing) == 0 {
			return err
		}
		complainOf(cmd.ErrOrStderr(), missing)
		return exit{exitError} // of some of them only
	}
	return cmd
}

// request is what was typed as the API takes it. The agent checks the rest.
func (s *startFlags) request() (api.DrainRequest, error) {
	out := api.DrainRequest{Resolvers: s.resolvers}
	if s.name == "" {
		return out, errors.New("--name is missing: the DNS name whose addresses change")
	}
	var problem, hint string
	if out.Name, problem, hint = config.ParseDomain(s.name); problem != "" {
		return out, fmt.Errorf("--name %q %s: %s", s.name, problem, hint)
	}
	var err error
	if out.Old, err = addresses("old", s.old); err != nil {
		return out, err
	}
	if out.New, err = addresses("new", s.new); err != nil {
		return out, err
	}
	if _, err := scope.NewSwitch(out.Name, out.Old, out.New); err != nil {
		return out, fmt.Errorf("--old and --new: %w", err)
	}
	for _, text := range s.ports {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return out, fmt.Errorf("--port %q is no port: use a number from 1 to %d", text, math.MaxUint16)
		}
		out.Ports = append(out.Ports, uint16(port))
	}
	for _, text := range s.resolvers {
		if _, problem, hint := config.ParseResolver(text); problem != "" {
			return out, fmt.Errorf("--resolver %q %s: %s", text, problem, hint)
		}
	}
	if s.ttl != "" {
		ttl, err := switchSpan("ttl", s.ttl)
		if err != nil {
			return out, err
		}
		out.TTLSeconds = &ttl
	}
	if out.AgoSeconds, err = switchSpan("ago", s.ago); err != nil {
		return out, err
	}
	if out.DeadlineSeconds, err = switchSpan("deadline", s.deadline); err != nil {
		return out, err
	}
	if s.identity != (api.Identity{}) {
		if s.identity.URL == "" {
			return out, errors.New("--identity-url is missing: what is expected is expected of a page")
		}
		out.Identity = &s.identity
	}
	return out, nil
}

func addresses(flag string, texts []string) ([]netip.Addr, error) {
	if len(texts) == 0 {
		return nil, fmt.Errorf("--%s is missing: name the addresses before (--old) and after the switch (--new)", flag)
	}
	out := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		a, problem, hint := config.ParseAddress(text)
		if problem != "" {
			return nil, fmt.Errorf("--%s %q %s: %s", flag, text, problem, hint)
		}
		out = append(out, a)
	}
	return out, nil
}

// switchSpan reads a time in seconds; zero where it was not given.
func switchSpan(flag, text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	d, ok := span(text)
	if !ok {
		return 0, fmt.Errorf("--%s %q is no time: write it as 90s, 2m or 1h", flag, text)
	}
	return d.Seconds(), nil
}

// started is the JSON of drain start.
type started struct {
	Started []api.FollowedSwitch `json:"started"`
	Missing []unheard            `json:"missing"`
}

func startedJSON(said []answer[api.FollowedSwitch], missing []unheard) started {
	out := started{Started: []api.FollowedSwitch{}, Missing: missing}
	for _, a := range said {
		out.Started = append(out.Started, a.said)
	}
	return out
}

func writeStarted(out io.Writer, said []answer[api.FollowedSwitch]) error {
	var b strings.Builder
	for _, a := range said {
		r := &a.said.Report
		fmt.Fprintf(&b, "%s follows %s\n", report.Plain(r.Agent), switchWords(r))
	}
	fmt.Fprintf(&b, "foreshock drain watch %s shows how far it is\n", report.Plain(said[0].said.Report.Name))
	_, err := io.WriteString(out, b.String())
	return err
}

// switchWords is a switch in a line: "shop.example: 192.0.2.10 → 198.51.100.7, TTL
// 1m0s, 2m0s ago, by hand".
func switchWords(r *drain.Report) string {
	words := fmt.Sprintf("%s: %s → %s", report.Plain(r.Name), join(r.Old), join(r.New))
	if r.TTLSeconds != nil {
		words += ", TTL " + lasting(*r.TTLSeconds)
	} else {
		words += ", TTL not known"
	}
	if r.SwitchedAt.IsZero() || r.SinceSeconds < 0 {
		return words + ", not switched yet, " + report.Plain(r.Source)
	}
	return words + fmt.Sprintf(", %s ago, %s", lasting(r.SinceSeconds), report.Plain(r.Source))
}

func join(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return "nothing"
	}
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// lasting is a time in whole seconds: "3m12s"; 30 years are the most.
func lasting(seconds float64) string {
	return time.Duration(min(max(seconds, -1e9), 1e9) * float64(time.Second)).Round(time.Second).String()
}
