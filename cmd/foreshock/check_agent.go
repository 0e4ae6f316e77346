package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/tcp"
)

// defaultAgent is where the agent answers unless it was told otherwise.
const defaultAgent = "http://127.0.0.1:9748"

// maxAnswer bounds what is read of an agent's answer, in bytes.
const maxAnswer = 64 << 20

// askAgent gets what there is to judge. An agent that has not looked yet, or
// no longer does, is an error: what it last saw is no answer.
func askAgent(ctx context.Context, address string) (checked, error) {
	address = strings.TrimSuffix(address, "/")
	var status api.Status
	var looks api.Looks
	var scopes api.Scopes
	var incidents api.Incidents
	var backends api.Backends
	var asked time.Time // by the agent's own clock, which need not be ours
	for _, get := range []struct {
		path string
		into any
	}{{"/api/v1/status", &status}, {"/api/v1/looks", &looks}, {"/api/v1/scopes", &scopes}, {"/api/v1/incidents", &incidents}, {"/api/v1/backends", &backends}} {
		header, err := fetch(ctx, address, get.path, get.into)
		if err != nil {
			return checked{}, err
		}
		if get.path == "/api/v1/status" {
			if asked, err = http.ParseTime(header.Get("Date")); err != nil {
				asked = time.Now()
			}
		}
	}
	if !status.Ready {
		return checked{}, fmt.Errorf("the agent at %s has just started and has not seen everything yet: ask again in a few seconds", address)
	}
	if age := asked.Sub(status.At); age > api.AliveWithin {
		return checked{}, fmt.Errorf("the agent at %s has not looked for %s: see its log", address, age.Round(time.Second))
	}
	for _, l := range looks.Looks {
		if l.Tier == tcp.Pulse.String() && (l.AgeSeconds == nil || *l.AgeSeconds > api.AliveWithin.Seconds()) {
			return checked{}, fmt.Errorf("the agent at %s cannot see accept queues: %s", address, cmp.Or(l.LastError, "its looks are not whole; see its log"))
		}
	}
	var drains api.Drains
	if _, err := fetch(ctx, address, "/api/v1/drains", &drains); err != nil && !errors.Is(err, errRefused) { // an older agent follows no switches
		return checked{}, err
	}
	return checked{scopes: scopes.Scopes, incidents: incidents.Incidents, pools: backends.Pools, drains: drains.Drains}, nil
}

// fetch gets one JSON answer of the agent.
func fetch(ctx context.Context, address, path string, into any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
	if err != nil {
		return nil, fmt.Errorf("--agent %q is no address: %w; use one as %s", address, err, defaultAgent)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the agent does not answer: %w; is `foreshock agent` running there?", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the agent does not answer to the end: GET %s: %w", address+path, err)
	}
	if resp.StatusCode != http.StatusOK {
		var p api.Problem
		if json.Unmarshal(body, &p) == nil && p.Error != "" {
			return nil, refused(p)
		}
		return nil, fmt.Errorf("what answers is no foreshock agent: GET %s: %s; use another --agent", address+path, resp.Status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("what answers is no foreshock agent: GET %s: %w; use another --agent", address+path, err)
	}
	return resp.Header, nil
}
