package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/history"
)

func incidentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "incident",
		Short: "List incidents, show one, take it, and write its report",
		Long: `Says what goes wrong on this host, and what went wrong: the incidents that the
agent knows, those of its history, and all that is known of one of them. Where
no agent runs, its history is read.`,
		Example: `  foreshock incident list
  foreshock incident report 7 --format html --out incident-7.html`,
	}
	onlyHelps(cmd, "unknown command %q: use list, show, ack or report")
	cmd.AddCommand(incidentListCommand(), incidentShowCommand(), incidentAckCommand(), incidentReportCommand())
	return cmd
}

// incidents is where they are read from: an agent, or its history.
type incidents interface {
	// some are the incidents that were open or changed at or after since and opened
	// before until, as the API's JSON, in any order and once each; there may be
	// others among them. With a zero since it is those that the agent has in mind,
	// or all of the history that are open; a zero until is no bound.
	some(ctx context.Context, since, until time.Time) ([]json.RawMessage, error)
	// one is the newest of that number.
	one(ctx context.Context, id uint64) (json.RawMessage, error)
	series(ctx context.Context, of *api.Incident) (api.Series, error)
	// limits are what cannot be seen now; nil where that is not known.
	limits(ctx context.Context) ([]api.Limit, error)
	host() string // empty where it is not known
	close()
}

// incidentFlags adds the flags that say where incidents are read from, and
// returns what opens that place.
func incidentFlags(cmd *cobra.Command) func(ctx context.Context) (incidents, error) {
	a := agentFlags(cmd, false)
	place := historyDirOf(cmd, a.file)
	return func(ctx context.Context) (incidents, error) {
		flags := cmd.Flags()
		if flags.Changed("agent") && flags.Changed("state-dir") {
			return nil, usage{errors.New("--agent asks an agent and --state-dir reads its file: leave one of them out")}
		}
		if err := a.valid(); err != nil {
			return nil, err
		}
		if flags.Changed("state-dir") {
			return openKept(place, *a.file)
		}
		asked, err := a.incidents(ctx)
		if err == nil {
			return asked, nil
		}
		if flags.Changed("agent") || !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		kept, noHistory := openKept(place, *a.file)
		if noHistory != nil {
			return nil, fmt.Errorf("no agent answers here, and its history cannot be read: %w", noHistory)
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "foreshock: no agent answers here: this is what its history has")
		return kept, nil
	}
}

// askedIncidents are an agent's.
type askedIncidents struct {
	agent  theAgent
	status api.Status
}

// incidents are those of the agent.
func (a theAgent) incidents(ctx context.Context) (incidents, error) {
	out := askedIncidents{agent: a}
	err := a.call(ctx, "GET", "/api/v1/status", nil, &out.status)
	return &out, err
}

func (a *askedIncidents) close()       {}
func (a *askedIncidents) host() string { return a.status.Host }

func (a *askedIncidents) some(ctx context.Context, since, until time.Time) ([]json.RawMessage, error) {
	var page struct {
		Incidents  []json.RawMessage `json:"incidents"`
		NextBefore int64             `json:"next_before"`
	}
	if err := a.agent.call(ctx, "GET", "/api/v1/incidents", nil, &page); err != nil {
		return nil, err
	}
	out := page.Incidents
	if since.IsZero() || a.status.History.State == api.HistoryOff {
		return out, nil
	}
	known := make(map[uint64]bool)
	for _, raw := range out {
		known[idOf(raw)] = true
	}
	before := ""
	for {
		page.Incidents, page.NextBefore = nil, 0
		if err := a.agent.call(ctx, "GET", "/api/v1/incidents"+query("since", stamp(since), "until", stamp(until), "limit", "500", "before", before), nil, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Incidents {
			if id := idOf(raw); !known[id] {
				known[id] = true
				out = append(out, raw)
			}
		}
		if page.NextBefore == 0 {
			return out, nil
		}
		before = strconv.FormatInt(page.NextBefore, 10)
	}
}

func idOf(raw json.RawMessage) uint64 {
	var i struct {
		ID uint64 `json:"id"`
	}
	_ = json.Unmarshal(raw, &i) // one that cannot be read is told of where it is shown
	return i.ID
}

func (a *askedIncidents) one(ctx context.Context, id uint64) (raw json.RawMessage, err error) {
	return raw, a.agent.call(ctx, "GET", fmt.Sprintf("/api/v1/incidents/%d", id), nil, &raw)
}

func (a *askedIncidents) series(ctx context.Context, of *api.Incident) (s api.Series, err error) {
	return s, a.agent.call(ctx, "GET", fmt.Sprintf("/api/v1/incidents/%d/series", of.ID), nil, &s)
}

func (a *askedIncidents) limits(ctx context.Context) ([]api.Limit, error) {
	var l api.Limits
	err := a.agent.call(ctx, "GET", "/api/v1/limits", nil, &l)
	return append([]api.Limit{}, l.Limits...), err
}

// keptIncidents are those of a history.
type keptIncidents struct {
	reader *history.Reader
	name   string
}

// openKept opens the history of a directory. Its host is the one that the
// configuration names, or this one.
func openKept(place func() (string, error), file string) (incidents, error) {
	dir, err := place()
	if err != nil {
		return nil, err
	}
	r, err := openHistory(dir)
	if err != nil {
		return nil, err
	}
	k := &keptIncidents{reader: r}
	if cfg, _, err := loadConfig(file); err == nil {
		k.name = cfg.Name
	}
	if k.name == "" {
		k.name, _ = os.Hostname() // or the report does without
	}
	return k, nil
}

func (k *keptIncidents) close()       { _ = k.reader.Close() }
func (k *keptIncidents) host() string { return k.name }

func (k *keptIncidents) some(_ context.Context, since, until time.Time) ([]json.RawMessage, error) {
	q := history.Query{Since: since, Until: until}
	if since.IsZero() {
		q.State = "open"
	}
	var out []json.RawMessage
	err := k.reader.EachIncident(q, func(i *history.Incident) error {
		out = append(out, i.Document)
		return nil
	})
	return out, err
}

func (k *keptIncidents) one(_ context.Context, id uint64) (json.RawMessage, error) {
	found, err := k.reader.Incidents(history.Query{ID: id, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no incident %d in %s; foreshock incident list --all lists them", id, k.reader.Path)
	}
	return agent.DocumentWithActions(k.reader, &found[0])
}

func (k *keptIncidents) series(ctx context.Context, of *api.Incident) (api.Series, error) {
	return agent.SeriesOf(ctx, of, time.Now(), agent.HistorySeries(k.reader))
}

func (k *keptIncidents) limits(context.Context) ([]api.Limit, error) { return nil, nil }

// incidentArg refuses all but one number of an incident.
func incidentArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage{fmt.Errorf("%s takes the number of one incident, got %q: foreshock incident list shows them", cmd.CommandPath(), args)}
	}
	if id, err := strconv.ParseUint(args[0], 10, 64); err != nil || id == 0 {
		return usage{fmt.Errorf("%q is not the number of an incident: foreshock incident list shows them", args[0])}
	}
	return nil
}

// incidentOf is the number that incidentArg let pass.
func incidentOf(args []string) uint64 {
	id, _ := strconv.ParseUint(args[0], 10, 64)
	return id
}

// completeIncident completes the number of an incident that is open.
func completeIncident(cmd *cobra.Command, open func(context.Context) (incidents, error), args []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.SetErr(io.Discard)
	from, err := open(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer from.close()
	found, err := from.some(cmd.Context(), time.Time{}, time.Time{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, raw := range found {
		if i, err := api.ParseIncident(raw); err == nil && i.ResolvedAt == nil {
			out = append(out, fmt.Sprintf("%d\t%s of %s", i.ID, i.Cause, i.Scope))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
