package detect

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// The parts of the agent's answers that are needed here.
type (
	scopesAnswer struct {
		Scopes []struct {
			ID     string   `json:"id"`
			Kind   string   `json:"kind"`
			Name   string   `json:"name"`
			Listen []string `json:"listen"`
		} `json:"scopes"`
	}
	backendsAnswer struct {
		Groups []struct {
			Backends []struct {
				ID     string         `json:"id"`
				Remote netip.AddrPort `json:"remote"`
				// Established is unknown where the agent sees nothing of it.
				Established struct {
					Value *float64 `json:"value"`
				} `json:"established"`
			} `json:"backends"`
		} `json:"groups"`
	}
	scopeAnswer struct {
		PIDs    []int `json:"pids"`
		Signals map[string]struct {
			Value  *float64   `json:"value"`
			SeenAt *time.Time `json:"seen_at"`
		} `json:"signals"`
	}
	incidentsAnswer struct {
		Incidents []incident `json:"incidents"`
	}
	incident struct {
		State   string `json:"state"`
		Cause   string `json:"cause"`
		Scope   string `json:"scope"`
		In      string `json:"namespace"`
		Peak    string `json:"peak_severity"`
		Pattern string `json:"pattern"`
		Because string `json:"because"`
		// These are null, which is zero here, until they happen.
		SuspectedAt time.Time `json:"suspected_at"`
		OpenedAt    time.Time `json:"opened_at"`
		ResolvedAt  time.Time `json:"resolved_at"`
		Timeline    []struct {
			At       time.Time `json:"at"`
			What     string    `json:"what"`
			Severity string    `json:"severity"`
		} `json:"timeline"`
	}
)

// serviceAt returns the name of the service that listens on port, once the
// agent has found it.
func (a *agent) serviceAt(ctx context.Context, port uint16) (string, error) {
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		var answer scopesAnswer
		if err := a.get(ctx, "/api/v1/scopes", &answer); err != nil {
			return "", err
		}
		for _, s := range answer.Scopes {
			for _, l := range s.Listen {
				if at, err := netip.ParseAddrPort(l); err == nil && at.Port() == port && s.Kind == "service" {
					return s.Name, nil
				}
			}
		}
		if err := wait(ctx, 250*time.Millisecond); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("the agent has found no service on port %d: %s", port, a.tail())
}

// watchQueue asks for the queue's depth until ended, and returns since when it
// was first above zero for 5 s on end, zero when it never was, and how often it
// was known.
func (a *agent) watchQueue(ctx context.Context, service string, ended <-chan struct{}, progress func(string)) (found time.Time, polls Polls, err error) {
	var since time.Time
	said := time.Now()
	for {
		select {
		case <-ended:
			return found, polls, nil
		case <-ctx.Done():
			return found, polls, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
		var answer scopeAnswer
		if err := a.get(ctx, "/api/v1/scopes/service/"+url.PathEscape(service), &answer); err != nil {
			return found, polls, err
		}
		depth := answer.Signals["queue_depth"].Value
		polls.count(depth != nil)
		switch {
		case depth == nil || *depth == 0:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case found.IsZero() && time.Since(since) >= 5*time.Second:
			found = since
		}
		if time.Since(said) > 30*time.Second && depth != nil {
			progress(fmt.Sprintf("%s: queue depth %.0f", service, *depth))
			said = time.Now()
		}
	}
}

// settle waits until no incident is open, at most for patience, and returns
// all there are.
func (a *agent) settle(ctx context.Context, patience time.Duration) ([]incident, error) {
	for deadline := time.Now().Add(patience); ; {
		var answer incidentsAnswer
		if err := a.get(ctx, "/api/v1/incidents", &answer); err != nil {
			return nil, err
		}
		open := slices.ContainsFunc(answer.Incidents, func(i incident) bool { return i.State == "open" })
		if !open || time.Now().After(deadline) {
			return answer.Incidents, nil
		}
		if err := wait(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// cpuShare is the agent's own processor time since its start, as a share of
// one core.
func (a *agent) cpuShare() (float64, error) {
	used, err := cpuTime(a.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	return float64(used) / float64(time.Since(a.started)), nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
