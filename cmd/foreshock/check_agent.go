package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/tcp"
)

// askAgent gets what there is to judge. An agent that has not looked yet, or
// no longer does, is an error: what it last saw is no answer.
func askAgent(ctx context.Context, c connection) (checked, error) {
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
		header, err := c.get(ctx, get.path, get.into)
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
		return checked{}, fmt.Errorf("the agent at %s has just started and has not seen everything yet: ask again in a few seconds", c.address)
	}
	if age := asked.Sub(status.At); age > api.AliveWithin {
		return checked{}, fmt.Errorf("the agent at %s has not looked for %s: see its log", c.address, age.Round(time.Second))
	}
	for _, l := range looks.Looks {
		if l.Tier == tcp.Pulse.String() && (l.AgeSeconds == nil || *l.AgeSeconds > api.AliveWithin.Seconds()) {
			return checked{}, fmt.Errorf("the agent at %s cannot see accept queues: %s", c.address, cmp.Or(l.LastError, "its looks are not whole; see its log"))
		}
	}
	var drains api.Drains
	if _, err := c.get(ctx, "/api/v1/drains", &drains); err != nil && !errors.Is(err, errRefused) { // an older agent follows no switches
		return checked{}, err
	}
	return checked{scopes: scopes.Scopes, incidents: incidents.Incidents, pools: backends.Pools, drains: drains.Drains}, nil
}
