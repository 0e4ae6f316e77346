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
		At        time.Time  `json:"at"` // of the agent's list
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
		Timeline    []moment  `json:"timeline"`
	}
	moment struct {
		At       time.Time `json:"at"`
		What     string    `json:"what"`
		Severity string    `json:"severity"`
	}
)

// serviceAt returns the name of the service that listens on port, once the
// agent has found it.
func (a *agent) serviceAt(ctx context.Context, port uint16) (name string, err error) {
	found, err := until(ctx, 15*time.Second, 250*time.Millisecond, func() (bool, error) {
		var answer scopesAnswer
		if err := a.Get(ctx, "/api/v1/scopes", &answer); err != nil {
			return false, err
		}
		for _, s := range answer.Scopes {
			for _, l := range s.Listen {
				if at, err := netip.ParseAddrPort(l); err == nil && at.Port() == port && s.Kind == "service" {
					name = s.Name
				}
			}
		}
		return name != "", nil
	})
	if err == nil && !found {
		err = fmt.Errorf("the agent has found no service on port %d: %s", port, a.Said())
	}
	return name, err
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
		if err := a.Get(ctx, "/api/v1/scopes/service/"+url.PathEscape(service), &answer); err != nil {
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
	var answer incidentsAnswer
	_, err := until(ctx, patience, time.Second, func() (bool, error) {
		answer = incidentsAnswer{}
		err := a.Get(ctx, "/api/v1/incidents", &answer)
		return err == nil && !slices.ContainsFunc(answer.Incidents, func(i incident) bool { return i.State == "open" }), err
	})
	return answer.Incidents, err
}

// cpuShare is the agent's own processor time since its start, as a share of
// one core.
func (a *agent) cpuShare() (float64, error) {
	used, err := a.CPUTime()
	if err != nil {
		return 0, err
	}
	return float64(used) / float64(time.Since(a.Started)), nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// until does something each every until that is done, and reports whether it
// was before the end of patience.
func until(ctx context.Context, patience, every time.Duration, do func() (done bool, err error)) (bool, error) {
	for deadline := time.Now().Add(patience); ; {
		if done, err := do(); done || err != nil {
			return done, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := wait(ctx, every); err != nil {
			return false, err
		}
	}
}
