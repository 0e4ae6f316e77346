package library

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// through has a service send through the guard that made itself a client with a
// transport of its own: gotify, mattermost, ntfy. That also goes through the
// environment's proxy then, and verifies certificates whatever the address says.
func (g *guard) through(service types.Service, name string) {
	var transport http.RoundTripper = g
	if name == "pagerduty" {
		transport = customDetails{g}
	}
	switch s := service.(type) {
	case interface{ SetHTTPClient(client *http.Client) }:
		s.SetHTTPClient(&http.Client{Transport: transport, Timeout: Timeout})
	case interface{ GetHTTPClient() *http.Client }:
		if client := s.GetHTTPClient(); client != nil {
			client.Transport = transport
		}
	}
}

// customDetails puts an event's details where PagerDuty shows them, in
// payload.custom_details. The library has them beside the payload, where nobody
// reads them:
// https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
type customDetails struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c customDetails) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	if body, err = moveDetails(body); err != nil {
		return nil, err
	}
	moved := r.Clone(r.Context())
	moved.Body, moved.ContentLength, moved.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return c.next.RoundTrip(moved)
}

// moveDetails moves an event's details into its payload.
func moveDetails(event []byte) ([]byte, error) {
	var all, payload map[string]json.RawMessage
	if err := json.Unmarshal(event, &all); err != nil {
		return nil, fmt.Errorf("decode the event: %w", err)
	}
	if err := json.Unmarshal(all["payload"], &payload); err != nil {
		return nil, fmt.Errorf("decode the event's payload: %w", err)
	}
	details, has := all["details"]
	if !has || payload == nil {
		return event, nil
	}
	delete(all, "details")
	payload["custom_details"] = details
	var err error
	if all["payload"], err = json.Marshal(payload); err != nil {
		return nil, fmt.Errorf("encode the event's payload: %w", err)
	}
	return json.Marshal(all)
}
