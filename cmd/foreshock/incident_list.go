package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/report"
)

// gravities are the severities, the least first.
var gravities = []string{"watch", "warning", "critical"}

func incidentListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the incidents that go on, or all",
		Long: `Lists what goes wrong now: the open incidents, the worst first, and what is only
suspected. With --all those that are over too, of earlier runs of the agent as
well where it has a history; with --since those that were there at or after a
time. Times are UTC.

Ends with code 0 whatever goes on: foreshock check says whether all is well.`,
		Example: `  foreshock incident list
  foreshock incident list --since 7d --severity warning --output json`,
		Args: noArgs,
	}
	open := incidentFlags(cmd)
	output := outputFlag(cmd)
	all := cmd.Flags().Bool("all", false, "those that are over, too")
	since := cmd.Flags().String("since", "", "those that were there at or after this time: 2026-03-02T10:00:00Z, 90m or 7d")
	severity := cmd.Flags().String("severity", "watch", "those that were at least that grave at their worst: watch, warning or critical")
	_ = cmd.RegisterFlagCompletionFunc("since", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(gravities, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		least := slices.Index(gravities, *severity)
		if least < 0 {
			return usage{fmt.Errorf("unknown severity %q: use watch, warning or critical", *severity)}
		}
		from, err := ago("since", *since, time.Now())
		if err != nil {
			return err
		}
		if *all && !from.IsZero() {
			return usage{errors.New("--all is everything and --since a part: leave one of them out")}
		}
		over := *all || !from.IsZero()
		if *all {
			from = time.Unix(0, 0)
		}
		place, err := open(cmd.Context())
		if err != nil {
			return err
		}
		defer place.close()
		found, err := place.some(cmd.Context(), from, time.Time{})
		if err != nil {
			return err
		}
		l := listing{least: least, over: over, since: from}
		if unread := l.choose(found); unread > 0 {
			complain(cmd.ErrOrStderr(), fmt.Errorf("%d of them cannot be read and were left out", unread))
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				Incidents []json.RawMessage `json:"incidents"`
			}{l.documents()})
		}
		return l.write(cmd.OutOrStdout(), time.Now())
	}
	return cmd
}

// listing is a list of incidents.
type listing struct {
	least  int  // of gravities
	over   bool // those that are resolved, too
	since  time.Time
	chosen []listed
}

type listed struct {
	api.Incident
	document json.RawMessage
}

// choose takes those that are asked for, in order: the open ones, the worst and
// then the newest first, the suspected, and the others by when they were over.
func (l *listing) choose(found []json.RawMessage) (unread int) {
	for _, raw := range found {
		i, err := api.ParseIncident(raw)
		switch {
		case err != nil:
			unread++
		case i.State == "resolved" && (!l.over || i.ResolvedAt != nil && i.ResolvedAt.Before(l.since)):
		case i.State != "suspect" && gravity(&i) < l.least, i.State == "suspect" && l.least > 0:
		default:
			l.chosen = append(l.chosen, listed{i, raw})
		}
	}
	order := map[string]int{"open": 0, "suspect": 1, "resolved": 2}
	slices.SortStableFunc(l.chosen, func(a, b listed) int {
		if by := cmp.Compare(order[a.State], order[b.State]); by != 0 {
			return by
		}
		if a.ResolvedAt != nil && b.ResolvedAt != nil {
			return cmp.Or(b.ResolvedAt.Compare(*a.ResolvedAt), cmp.Compare(b.ID, a.ID))
		}
		return cmp.Or(cmp.Compare(slices.Index(gravities, b.Severity), slices.Index(gravities, a.Severity)), cmp.Compare(b.ID, a.ID))
	})
	return unread
}

// gravity is how bad it was at its worst; one of a newer program counts as the
// worst, so that nothing hides.
func gravity(i *api.Incident) int {
	if at := slices.Index(gravities, i.PeakSeverity); at >= 0 {
		return at
	}
	return len(gravities) - 1
}

func (l *listing) documents() []json.RawMessage {
	out := make([]json.RawMessage, 0, len(l.chosen))
	for i := range l.chosen {
		out = append(out, l.chosen[i].document)
	}
	return out
}

func (l *listing) write(out io.Writer, now time.Time) error {
	if len(l.chosen) == 0 {
		says := "nothing goes on"
		if l.over {
			says = "nothing went wrong"
		}
		_, err := fmt.Fprintln(out, says)
		return err
	}
	rows := [][]string{{"NO", "STATE", "SEVERITY", "CAUSE", "SCOPE", "SINCE", "FOR", "SAYS"}}
	for k := range l.chosen {
		i := &l.chosen[k].Incident
		since, lasted, cause := "-", "-", i.Cause
		if i.SuspectedAt != nil {
			since = i.SuspectedAt.UTC().Format(time.RFC3339)
			until := now
			if i.ResolvedAt != nil {
				until = *i.ResolvedAt
			}
			lasted = max(0, until.Sub(*i.SuspectedAt)).Round(time.Second).String()
		}
		if i.Rule != "" {
			cause = "rule " + i.Rule
		}
		state, severity := i.State, i.Severity
		if i.State == "resolved" {
			severity = i.PeakSeverity
			state = cmp.Or(i.End, state)
		} else if i.AcknowledgedAt != nil {
			state += ", taken"
		}
		row := []string{strconv.FormatUint(i.ID, 10), state, severity, cause, i.Scope, since, lasted, i.Sentence}
		for c := range row {
			row[c] = report.Plain(row[c])
		}
		rows = append(rows, row)
	}
	return writeColumns(out, len(rows[0]), rows)
}
