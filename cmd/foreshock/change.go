package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
)

// change makes one call of the agent that changes something. into, where it is
// not nil, is read from the answer.
func change(ctx context.Context, method, address, path, token string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write what to change: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, address+path, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("--agent %q is no address: %w; use one as %s", address, err, defaultAgent)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the agent does not answer: %w; is `foreshock agent` running there?", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the agent does not answer to the end: %s %s: %w", method, address+path, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		var p api.Problem
		if json.Unmarshal(answer, &p) == nil && p.Error != "" {
			return refused(p)
		}
		return fmt.Errorf("what answers is no foreshock agent: %s %s: %s; use another --agent", method, address+path, resp.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("what answers is no foreshock agent: %s %s: %w; use another --agent", method, address+path, err)
	}
	return nil
}

// inCommands are the API's ways out, and the commands that go them.
var inCommands = strings.NewReplacer(
	"GET /api/v1/incidents?state=open lists", "foreshock incident list shows",
	"GET /api/v1/incidents lists", "foreshock incident list --all shows",
	"GET /api/v1/silences lists", "foreshock silence list shows",
	"GET /api/v1/channels lists", "foreshock notify status lists",
	"GET /api/v1/drains lists", "foreshock drain status shows",
	"end that one first: DELETE /api/v1/drains/", "end that one first: foreshock drain stop ",
	"GET /api/v1/status says", "foreshock history says",
)

// errRefused is that an agent has answered, and not what it was asked for.
var errRefused = errors.New("the agent refuses")

// refused is what an agent says against a call.
func refused(p api.Problem) error {
	return fmt.Errorf("%w: %s; %s", errRefused, p.Error, inCommands.Replace(p.Hint))
}

// query writes the parameters that are not empty, given as name and value, with
// the ? before them; nothing where all are.
func query(pairs ...string) string {
	values := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			values.Set(pair[0], pair[1])
		}
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// printJSON prints a value as indented JSON.
func printJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("write the JSON: %w", err)
	}
	return nil
}
