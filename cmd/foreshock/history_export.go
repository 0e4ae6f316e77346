package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/measure/baseline"
)

func historyExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print incidents or minutes as CSV or lines of JSON",
		Long: `Prints what the history holds, in the order in which it was written, to standard
output: incidents, each as /api/v1/incidents shows it, or what each minute was,
one line for each signal of each scope. CSV has the main fields of an incident.

--since and --until take a time (2026-03-02T10:00:00Z) or how long ago (90m, 7d).
Times are UTC.`,
		Example: `  foreshock history export --what incidents --since 7d --format csv
  foreshock history export --what minutes --since 24h --format csv > day.csv`,
		Args: noArgs,
	}
	place := historyFlags(cmd)
	what := cmd.Flags().String("what", "incidents", "incidents or minutes")
	format := cmd.Flags().String("format", "jsonl", "csv or jsonl")
	since := cmd.Flags().String("since", "", "only what was there at or after this time")
	until := cmd.Flags().String("until", "", "only what began before this time")
	_ = cmd.RegisterFlagCompletionFunc("what", cobra.FixedCompletions([]string{"incidents", "minutes"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"csv", "jsonl"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		e := export{csv: *format == "csv"}
		if *format != "csv" && *format != "jsonl" {
			return usage{fmt.Errorf("unknown format %q: use csv or jsonl", *format)}
		}
		write, known := map[string]func(*export, *history.Reader) error{"incidents": (*export).incidents, "minutes": (*export).minutes}[*what]
		if !known {
			return usage{fmt.Errorf("cannot export %q: use incidents or minutes", *what)}
		}
		var err error
		now := time.Now()
		if e.since, err = ago("since", *since, now); err != nil {
			return err
		}
		if e.until, err = ago("until", *until, now); err != nil {
			return err
		}
		dir, err := place()
		if err != nil {
			return err
		}
		r, err := openHistory(dir)
		if err != nil {
			return err
		}
		defer r.Close()
		out := bufio.NewWriter(cmd.OutOrStdout())
		e.lines, e.rows = json.NewEncoder(out), csv.NewWriter(out)
		e.lines.SetEscapeHTML(false)
		if err := write(&e, r); err != nil {
			return err
		}
		if e.rows.Flush(); e.rows.Error() != nil {
			return fmt.Errorf("write the export: %w", e.rows.Error())
		}
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
		e.complain(cmd.ErrOrStderr())
		return nil
	}
	return cmd
}

// ago reads a time, or how long ago it is; zero for none.
func ago(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if span, ok := span(text); ok {
		return now.Add(-span), nil
	}
	return time.Time{}, usage{fmt.Errorf("--%s %q is neither a time nor how long ago: write 2026-03-02T10:00:00Z, 90m or 7d", flag, text)}
}

// span reads how long something is: "90m", or "7d" in whole days.
func span(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, true
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

// export is one export on its way.
type export struct {
	csv          bool
	since, until time.Time
	lines        *json.Encoder
	rows         *csv.Writer
	unreadable   int
	reason       error // why the first was
}

// complain says what was left out.
func (e *export) complain(stderr io.Writer) {
	if e.unreadable > 0 {
		fmt.Fprintf(stderr, "foreshock: %d of them cannot be read and were left out; the first: %v\n", e.unreadable, e.reason)
	}
}

func (e *export) skip(err error) {
	if e.unreadable++; e.reason == nil {
		e.reason = err
	}
}

// incidents writes incidents, the oldest first.
func (e *export) incidents(r *history.Reader) error {
	if e.csv {
		if err := e.rows.Write([]string{"id", "state", "scope", "cause", "severity", "peak_severity", "suspected_at", "opened_at", "resolved_at", "end", "sentence"}); err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
	}
	return r.EachIncident(history.Query{Since: e.since, Until: e.until}, func(i *history.Incident) error {
		if err := e.incident(i); err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
		return nil
	})
}

func (e *export) incident(i *history.Incident) error {
	if !json.Valid(i.Document) {
		e.skip(fmt.Errorf("incident %d is no JSON", i.ID))
		return nil
	}
	if !e.csv {
		return e.lines.Encode(json.RawMessage(i.Document))
	}
	var says struct{ Sentence, End string }
	if err := json.Unmarshal(i.Document, &says); err != nil {
		e.skip(fmt.Errorf("incident %d: %w", i.ID, err))
		return nil
	}
	return e.rows.Write([]string{
		strconv.FormatUint(i.ID, 10), i.State, plainCell(i.Scope), i.Cause, i.Severity, i.Peak,
		stamp(i.SuspectedAt), stamp(i.OpenedAt), stamp(i.ResolvedAt), says.End, plainCell(says.Sentence),
	})
}

// plainCell keeps a name that others chose from being taken for a formula.
// https://owasp.org/www-community/attacks/CSV_Injection
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// stamp is a time, or nothing.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// exportedRange is what one signal of one scope was in one minute.
type exportedRange struct {
	Start    time.Time `json:"start"`
	Scope    string    `json:"scope"`
	Group    string    `json:"group"`
	Signal   string    `json:"signal"`
	Unit     string    `json:"unit"`
	Looks    int       `json:"looks"`
	Least    float64   `json:"least"`
	Mean     float64   `json:"mean"`
	Greatest float64   `json:"greatest"`
}

func (e *export) minutes(r *history.Reader) error {
	if e.csv {
		if err := e.rows.Write([]string{"start", "scope", "group", "signal", "unit", "looks", "least", "mean", "greatest"}); err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
	}
	err := r.Minutes(e.since, e.until, func(start time.Time, data []byte) error {
		minute, err := baseline.DecodeMinute(data)
		if err != nil {
			e.skip(fmt.Errorf("the minute of %s: %w", stamp(start), err))
			return nil
		}
		for i := range minute.Scopes {
			for _, x := range minute.Scopes[i].Ranges {
				if err := e.ranged(minute.Start, &minute.Scopes[i], x); err != nil {
					return fmt.Errorf("write the export: %w", err)
				}
			}
		}
		return nil
	})
	if bad, ok := errors.AsType[*history.UnreadableError](err); ok {
		e.unreadable += bad.Rows
		e.reason = cmp.Or(e.reason, bad.First)
		return nil
	}
	return err
}

func (e *export) ranged(start time.Time, row *baseline.Row, x baseline.Range) error {
	line := exportedRange{start.UTC(), row.Scope.String(), row.Group, x.Signal.String(), string(x.Signal.Definition().Unit), x.Looks, x.Least, x.Mean, x.Greatest}
	if !e.csv {
		return e.lines.Encode(line)
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	return e.rows.Write([]string{
		stamp(line.Start), plainCell(line.Scope), plainCell(line.Group), line.Signal, line.Unit, strconv.Itoa(line.Looks), number(line.Least), number(line.Mean), number(line.Greatest),
	})
}
