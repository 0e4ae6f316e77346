package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/api"
)

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
