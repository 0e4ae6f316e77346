package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/report"
)

func incidentShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NUMBER",
		Short: "Show all that is known of one incident",
		Long: `Shows one incident: what is wrong and who is hurt, the numbers that decided, what
happened when, what else was considered, what to do, and what the response did.
Seconds count from the first suspicion; times are UTC.`,
		Example: `  foreshock incident show 7
  foreshock incident show 7 --output json | jq .evidence`,
		Args: incidentArg,
	}
	open := incidentFlags(cmd)
	output := outputFlag(cmd)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeIncident(cmd, open, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := output()
		if err != nil {
			return err
		}
		place, err := open(cmd.Context())
		if err != nil {
			return err
		}
		defer place.close()
		document, err := place.one(cmd.Context(), incidentOf(args))
		if err != nil {
			return err
		}
		if asJSON && json.Valid(document) {
			return printJSON(cmd.OutOrStdout(), document)
		}
		r, err := report.Build(report.Values{Document: document, Host: place.host(), MadeAt: time.Now()})
		if err != nil {
			return fmt.Errorf("incident %s: %w", args[0], err)
		}
		var b strings.Builder
		if err := show(&b, &r); err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), b.String())
		return err
	}
	return cmd
}

// show prints an incident for a terminal.
func show(out io.Writer, r *report.Report) error {
	fmt.Fprintf(out, "%s\n\n", report.Plain(r.Title))
	part := func(title string, rows [][]string) error {
		if len(rows) == 0 {
			return nil
		}
		if title != "" {
			fmt.Fprintf(out, "\n%s\n", title)
		}
		for _, row := range rows {
			for c := range row {
				row[c] = report.Plain(row[c])
			}
		}
		return writeColumns(out, len(rows[0]), rows)
	}
	var facts, happened, numbers, advice, done, considered [][]string
	for _, f := range r.Facts() {
		facts = append(facts, []string{f.Name, f.Says})
	}
	for _, e := range r.Timeline {
		what := e.What
		if e.Action != "" {
			what = fmt.Sprintf("%s, %s: %s", e.Action, e.State, e.What)
		}
		happened = append(happened, []string{e.At.UTC().Format(time.RFC3339), fmt.Sprintf("%+.1f s", e.Seconds), what})
	}
	for _, e := range r.Evidence() {
		numbers = append(numbers, []string{e.Signal, e.Value, "of " + e.Threshold, e.Origin})
		if e.Threshold == "–" {
			numbers[len(numbers)-1][2] = ""
		}
	}
	for k, a := range r.Advice() {
		advice = append(advice, []string{fmt.Sprintf("%d. %s", k+1, a)})
	}
	for _, a := range r.Actions() {
		done = append(done, []string{a.At.UTC().Format(time.RFC3339), a.Kind, a.State, a.What})
	}
	for _, c := range r.Considered() {
		considered = append(considered, []string{c.Cause, c.Why})
	}
	for _, x := range []struct {
		title string
		rows  [][]string
	}{{"", facts}, {"What happened", happened}, {"Evidence", numbers}, {"What else was considered", considered}, {"What to do", advice}, {"What was done", done}} {
		if err := part(x.title, x.rows); err != nil {
			return err
		}
	}
	return nil
}
