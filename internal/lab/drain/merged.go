package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/lab"
)

// mergedAnswer is what `drain status --agents` said.
type mergedAnswer struct {
	At     time.Time
	Exit   int
	Status drain.Status `json:"status"`
	// Missing are the agents that did not answer.
	Missing []struct {
		Agent string `json:"agent"`
	} `json:"missing"`
}

// merged asks all agents at once with the command, once as they are and once where
// the last does not answer. Each is reached over a door on this machine's loopback.
func merged(ctx context.Context, binary, name string, agents []*watched) (all, silent mergedAnswer, err error) {
	var urls []string
	for _, w := range agents {
		to, stop, err := door(&httputil.ReverseProxy{Transport: w.agent.Client.Transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: lab.AgentAddress})
		}})
		if err != nil {
			return all, silent, err
		}
		defer stop()
		urls = append(urls, to)
	}
	if all, err = status(ctx, binary, name, urls); err != nil {
		return all, silent, err
	}
	deaf, stop, err := door(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	if err != nil {
		return all, silent, err
	}
	defer stop()
	urls[len(urls)-1] = deaf
	silent, err = status(ctx, binary, name, urls)
	return all, silent, err
}

// door answers on a free port of loopback until it is stopped.
func door(answer http.Handler) (at string, stop func(), err error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("open a door to an agent: %w", err)
	}
	server := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}

// status runs the command. That something has not settled is an answer.
func status(ctx context.Context, binary, name string, urls []string) (a mergedAnswer, err error) {
	cmd := exec.CommandContext(ctx, binary, "drain", "status", name, "--output", "json", "--agents", strings.Join(urls, ","))
	a.At = time.Now()
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		a.Exit = failed.ExitCode()
		if a.Exit != 3 {
			return a, fmt.Errorf("drain status: %w: %s", err, failed.Stderr)
		}
	} else if err != nil {
		return a, err
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return a, fmt.Errorf("drain status: %w in %.200s", err, out)
	}
	return a, nil
}
