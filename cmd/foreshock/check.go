package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// Nagios's exit codes; https://nagios-plugins.org/doc/guidelines.html.
const (
	nagiosOK = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

var nagiosWords = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// checked is what there is to judge: from the agent, or from looks of our own.
type checked struct {
	scopes    []api.Scope
	incidents []api.Incident
	// notes are said behind the first line: what cannot be judged this way.
	notes []string
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [SERVICE]",
		Short: "Say whether anything fails, as a Nagios plugin",
		Long: `Says whether anything fails, in the words, exit codes (0 OK, 1 WARNING,
2 CRITICAL, 3 UNKNOWN) and performance data of a Nagios plugin. It asks the
running agent; without one it looks four times in two seconds by itself, and
says what that cannot judge. SERVICE narrows it to one service by name.`,
		Example: `  foreshock check
  foreshock check apache2:80 --agent http://127.0.0.1:9748`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage{fmt.Errorf("check takes one service, got %q", args)}
			}
			return nil
		},
	}
	address := cmd.Flags().String("agent", "http://127.0.0.1:9748", "the agent to ask")
	timeout := cmd.Flags().Duration("timeout", 5*time.Second, "how long to wait for it")
	file := cmd.Flags().StringP("config", "c", "", "configuration to look with when no agent runs")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := cmd.OutOrStdout()
		name := ""
		if len(args) == 1 {
			name = args[0]
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		c, err := askAgent(ctx, *address)
		if errors.Is(err, syscall.ECONNREFUSED) && !cmd.Flags().Changed("agent") {
			c, err = lookFourTimes(cmd.Context(), *file)
		}
		if err != nil {
			fmt.Fprintf(out, "FORESHOCK UNKNOWN - %v\n", err)
			return exit{nagiosUnknown}
		}
		code, text := verdict(c, name)
		fmt.Fprint(out, text)
		if code == nagiosOK {
			return nil
		}
		return exit{code}
	}
	return cmd
}

// maxAnswer bounds what is read of an agent's answer.
const maxAnswer = 64 << 20

func askAgent(ctx context.Context, address string) (checked, error) {
	var scopes api.Scopes
	var incidents api.Incidents
	for path, into := range map[string]any{"/api/v1/scopes": &scopes, "/api/v1/incidents": &incidents} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+path, nil)
		if err != nil {
			return checked{}, fmt.Errorf("--agent %q is no address: %w", address, err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return checked{}, fmt.Errorf("the agent does not answer: %w", err)
		}
		err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return checked{}, fmt.Errorf("what answers at %s is no foreshock agent: GET %s: %s", address, path, resp.Status)
		}
	}
	return checked{scopes: scopes.Scopes, incidents: incidents.Incidents}, nil
}

// lookFourTimes judges without an agent.
func lookFourTimes(ctx context.Context, file string) (checked, error) {
	cfg, _, err := loadConfig(file)
	if err != nil {
		return checked{}, err
	}
	s, err := agent.Glance(ctx, cfg, 4, 2*time.Second)
	if err != nil {
		return checked{}, err
	}
	c := checked{notes: []string{
		"no agent runs: judged by 4 looks in 2 s, which see who waits now and no trend",
		"not judged: what must hold for longer than 2 s; rates and slopes; start `foreshock agent` for these",
	}}
	c.scopes, c.incidents = api.Views(s)
	return c, nil
}

// verdict is the exit code and the text of a plugin.
func verdict(c checked, service string) (code int, text string) {
	scopes := slices.DeleteFunc(slices.Clone(c.scopes), func(s api.Scope) bool {
		return s.Kind != scope.KindService.String() || service != "" && s.Name != service
	})
	if service != "" && len(scopes) == 0 {
		return nagiosUnknown, fmt.Sprintf("FORESHOCK UNKNOWN - there is no service %q: foreshock look lists them\n", service)
	}
	var says, details, unknown []string
	for _, i := range c.incidents {
		if i.State == judge.Resolved.String() || service != "" && i.Scope != scope.KindService.String()+"/"+service {
			continue
		}
		severity := nagiosOK
		switch i.Severity {
		case judge.Warning.String():
			severity = nagiosWarning
		case judge.Critical.String():
			severity = nagiosCritical
		}
		// Without an agent nothing is held long enough to be more than
		// suspected: what is true in each of the four looks is said.
		if i.State == judge.Suspected.String() && len(c.notes) == 0 {
			continue
		}
		code = max(code, severity)
		says = append(says, fmt.Sprintf("%s: %s", strings.TrimPrefix(i.Scope, "service/"), strings.ReplaceAll(i.Cause, "_", " ")))
		details = append(details, i.Sentence)
		details = append(details, i.Advice[:min(1, len(i.Advice))]...)
	}
	var data []string
	for _, s := range scopes {
		for _, p := range []struct {
			signal, unit, levels string
		}{{"queue_wait_seconds", "s", ";1;3;0"}, {"queue_depth", "", ";;;0;%s"}, {"accepted", "", ";;;0"}, {"unaccepted", "", ";;;0"}} {
			v := s.Signals[p.signal]
			if v.Value == nil {
				if p.signal == measure.QueueWait.String() {
					unknown = append(unknown, fmt.Sprintf("%s: %s is %s", s.Name, p.signal, strings.ReplaceAll(v.Unknown, "_", " ")))
				}
				continue
			}
			levels := p.levels
			if strings.Contains(levels, "%s") {
				limit := ""
				if l := s.Signals["queue_limit"].Value; l != nil {
					limit = strconv.FormatFloat(*l, 'f', -1, 64)
				}
				levels = fmt.Sprintf(levels, limit)
			}
			data = append(data, fmt.Sprintf("'%s_%s'=%s%s%s", perfLabel(s.Name), strings.TrimSuffix(p.signal, "_seconds"), strconv.FormatFloat(*v.Value, 'f', -1, 64), p.unit, levels))
		}
	}
	if code == nagiosOK && len(unknown) > 0 && (service != "" || len(unknown) == len(scopes)) {
		code = nagiosUnknown
		says = append(says, unknown...)
	}
	first := cmp.Or(strings.Join(says, "; "), count(len(scopes), "service", "services")+", none short of workers")
	var b strings.Builder
	fmt.Fprintf(&b, "FORESHOCK %s - %s | %s\n", nagiosWords[code], first, strings.Join(data, " "))
	for _, line := range slices.Concat(details, c.notes) {
		b.WriteString(strings.ReplaceAll(line, "|", "/") + "\n")
	}
	return code, b.String()
}

// perfLabel fits a name into a quoted label: no quotes, no equals sign.
func perfLabel(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '\'' || r == '=' || r == '|' {
			return '_'
		}
		return r
	}, name)
}
