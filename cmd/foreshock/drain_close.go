package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/report"
)

func drainCloseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "close-stale NAME",
		Short: "Close this host's own connections to the old addresses, so that they are made anew",
		Long: `Says which connections that processes of the agent's host began to the old addresses
would be closed, and with --really closes them: a pool then connects again, and to
the new address if it resolves the name. What clients elsewhere began is never
touched, nor is any other connection.

A closed connection is an error to who uses it: what is asked on it at that moment
fails. So only some are closed at once, and the agent says when more may be. It
needs CAP_NET_ADMIN, which the agent has only where it was given it, and writes
down who had what closed.

Ends with 3 where some could not be closed, or are left for later.`,
		Example: `  foreshock drain close-stale shop.example
  foreshock drain close-stale shop.example --really --most 20`,
		Args: switchArg,
	}
	var in api.CloseRequest
	cmd.Flags().BoolVar(&in.Really, "really", false, "close them; without it they are only listed")
	cmd.Flags().IntVar(&in.Most, "most", 100, "how many at most, on each agent's host")
	_ = cmd.RegisterFlagCompletionFunc("most", cobra.NoFileCompletions)
	by := byFlag(cmd)
	agents := agentsFlags(cmd, true)
	output := outputFlag(cmd)
	cmd.ValidArgsFunction = completeSwitch(agents)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		if in.Most < 1 {
			return usage{fmt.Errorf("--most %d: close one at least", in.Most)}
		}
		list, err := agents.list()
		if err != nil {
			return err
		}
		if in.By, err = by(); err != nil {
			return err
		}
		said, missing, err := heard(askEach(cmd.Context(), list, func(ctx context.Context, a theAgent) (api.CloseResult, error) {
			var out api.CloseResult
			err := a.call(ctx, "POST", pathOf(args[0])+"/close-stale", in, &out)
			return out, err
		}))
		if err != nil {
			return err
		}
		out := closings{Results: []closing{}, Missing: missing}
		for _, a := range said {
			out.Results = append(out.Results, closing{a.from, a.said})
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), out)
		} else {
			err = out.write(cmd.OutOrStdout())
		}
		if err != nil {
			return err
		}
		complainOf(cmd.ErrOrStderr(), missing)
		return out.code()
	}
	return cmd
}

// closings is the JSON of drain close-stale.
type closings struct {
	Results []closing `json:"results"`
	Missing []unheard `json:"missing"`
}

// closing is what one agent closed, or would. Agent is its address, empty for the
// one that was not named.
type closing struct {
	Agent string `json:"agent"`
	api.CloseResult
}

// code is the exit code: 1 where an agent did not answer, 3 where something that
// was to be closed is not.
func (c *closings) code() error {
	if len(c.Missing) > 0 {
		return exit{exitError}
	}
	for i := range c.Results {
		r := &c.Results[i].CloseResult
		if r.Really && (r.Left > 0 || slices.ContainsFunc(r.Sockets, func(s api.StaleSocket) bool { return s.Outcome == "failed" })) {
			return exit{exitUnwell}
		}
	}
	return nil
}

func (c *closings) write(out io.Writer) error {
	t := &page{}
	for i := range c.Results {
		if i > 0 {
			t.line("")
		}
		at := ""
		if len(c.Results)+len(c.Missing) > 1 {
			at = c.Results[i].Agent + ": "
		}
		c.Results[i].words(t, at)
	}
	_, err := io.WriteString(out, t.b.String())
	return err
}

// words is what one agent says; at names it where there are several.
func (c *closing) words(t *page, at string) {
	all := len(c.Sockets) + c.Over
	again := "which may be now"
	if c.AgainInSeconds > 0 {
		again = "in " + lasting(c.AgainInSeconds)
	}
	left := ""
	if c.Left > 0 {
		left = fmt.Sprintf("; %s left for later, %s", count(c.Left, "is", "are"), again)
	}
	switch {
	case all == 0:
		t.line("%snothing here began a connection to an old address of %s that is still there", at, c.Name)
		return
	case c.Really:
		t.line("%s%s to old addresses of %s: %d closed, %d gone before%s", at, count(all, "connection", "connections"), c.Name, c.Closed, c.Gone, left)
	default:
		t.line("%s%s to old addresses of %s would be closed; --really closes them%s", at, count(all-c.Left, "connection", "connections"), c.Name, left)
	}
	rows := [][]string{{"OUTCOME", "PROCESS", "LOCAL", "REMOTE", "STATE", "NAMESPACE", "PID", "AGE"}}
	for i := range c.Sockets {
		s := &c.Sockets[i]
		process, pid, outcome := s.Process, "-", spaced(s.Outcome)
		if process == "" {
			process = "-"
		}
		if s.PID > 0 {
			pid = fmt.Sprint(s.PID)
		}
		if s.Error != "" {
			outcome = strings.TrimSpace(outcome + ": " + s.Error)
		}
		namespace := s.Namespace
		if namespace == "" {
			namespace = "-"
		}
		rows = append(rows, []string{outcome, process, s.Local.String(), s.Remote.String(), s.State, namespace, pid, lasting(s.AgeSeconds)})
	}
	for _, row := range rows {
		for k := range row {
			row[k] = report.Plain(row[k])
		}
	}
	_ = writeColumns(&t.b, 6, rows) // a Builder takes everything
	if c.Over > 0 {
		t.line("and %d more", c.Over)
	}
}
