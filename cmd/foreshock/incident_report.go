package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/report"
)

// reportFormats are those in which a report can be written.
var reportFormats = []string{"md", "html", "json"}

func incidentReportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report NUMBER",
		Short: "Write the report of one incident, as Markdown, HTML or JSON",
		Long: `Writes all that is known of one incident for those who were not there: what was
wrong and who was hurt, how long before others it was told, what happened when,
the numbers beside their thresholds, what the signals were from five minutes
before the suspicion until a minute after the end, what the response did, and
what could not be seen.

HTML is one page with its graphs in it; it needs no network and prints well. The
graphs are worked out of the raw tallies that the history keeps for an incident,
and of minutes where these are gone; the report says which. The JSON has the
incident as the API shows it, and only grows.

An agent works on the graphs for two seconds at most. With --state-dir this
program does, for as long as --timeout allows.`,
		Example: `  foreshock incident report 7 --format html --out incident-7.html
  foreshock incident report 7 | less`,
		Args: incidentArg,
	}
	open := incidentFlags(cmd)
	format := cmd.Flags().String("format", reportFormats[0], "md, html or json")
	file := cmd.Flags().String("out", "", "write to this file, in place of one that may be there (default standard output)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(reportFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("out")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeIncident(cmd, open, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(reportFormats, *format) {
			return usage{fmt.Errorf("unknown format %q: use md, html or json", *format)}
		}
		orderly(cmd)
		place, err := open(cmd.Context())
		if err != nil {
			return err
		}
		defer place.close()
		timeout, _ := cmd.Flags().GetDuration("timeout")
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		r, err := gatherReport(ctx, place, incidentOf(args), cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return writeReport(cmd.OutOrStdout(), *file, *format, &r)
	}
	return cmd
}

// document is a report of an incident or of a switch.
type document interface {
	Markdown(io.Writer) error
	HTML(io.Writer) error
	JSON(io.Writer) error
}

// writeReport writes a report as "md", "html" or "json" to a file, in place of one
// that may be there, or without a name to out.
func writeReport(out io.Writer, file, format string, r document) error {
	var b bytes.Buffer
	if err := map[string]func(io.Writer) error{"md": r.Markdown, "html": r.HTML, "json": r.JSON}[format](&b); err != nil {
		return err
	}
	if file != "" {
		return replaceFile(file, b.Bytes())
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// gatherReport fetches what a report is made of. Only the incident itself is
// required: of what else cannot be had the report says so, and stderr.
func gatherReport(ctx context.Context, place incidents, id uint64, stderr io.Writer) (report.Report, error) {
	document, err := place.one(ctx, id)
	if err != nil {
		return report.Report{}, err
	}
	i, err := api.ParseIncident(document)
	if err != nil {
		return report.Report{}, fmt.Errorf("incident %d: %w", id, err)
	}
	v := report.Values{Document: document, Host: place.host(), MadeBy: "foreshock " + currentVersion(), MadeAt: time.Now()}
	without := func(what string, err error) {
		complain(stderr, fmt.Errorf("the report is without %s: %w", what, err))
	}
	if series, err := place.series(ctx, &i); err == nil {
		v.Series = &series
	} else {
		v.NoSeries = strings.TrimSuffix(err.Error(), ".")
		without("graphs", err)
	}
	if v.Limits, err = place.limits(ctx); err != nil {
		without("what could not be seen", err)
	}
	if v.Others, err = foretellers(ctx, place, &i); err != nil {
		without("what foretold it", err)
	}
	r, err := report.Build(v)
	if err != nil {
		return report.Report{}, fmt.Errorf("incident %d: %w", id, err)
	}
	return r, nil
}

// foretellers are the other incidents of the scope that were over when this one
// opened, or a moment before.
func foretellers(ctx context.Context, place incidents, i *api.Incident) ([]api.Incident, error) {
	if i.OpenedAt == nil {
		return nil, nil
	}
	found, err := place.some(ctx, i.OpenedAt.Add(-time.Minute), i.OpenedAt.Add(time.Second))
	if err != nil {
		return nil, err
	}
	var out []api.Incident
	for _, raw := range found {
		if o, err := api.ParseIncident(raw); err == nil && o.ID != i.ID && o.Scope == i.Scope {
			out = append(out, o)
		}
	}
	return out, nil
}
