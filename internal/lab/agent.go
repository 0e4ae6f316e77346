package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Agent is the program under test, running as a user runs it, and asked over its
// API from inside its namespace.
type Agent struct {
	*Program
	// Started is when it was started.
	Started time.Time
	// Client asks its API.
	Client *http.Client
}

// AgentConfig is how an agent is started.
type AgentConfig struct {
	// Binary is the program.
	Binary string
	// Dir is the agent's own: its configuration and its state. The configuration is
	// called [AgentFile].
	Dir string
	// Config is that configuration, without a token.
	Config string
	// Resolvers are the system's name servers, for the agent alone: an
	// /etc/resolv.conf of its own, in a mount namespace of its own. None: the
	// machine's.
	Resolvers []netip.Addr
}

const (
	// AgentAddress is where an agent listens inside the world.
	AgentAddress = "127.0.0.1:9748"
	// AgentFile is the name of an agent's configuration.
	AgentFile = "agent.yaml"
	// agentToken is what calls that change something present.
	agentToken = "lab-token-of-an-agent-that-only-the-lab-can-reach"
)

// StartAgent starts an agent on the host and returns when it is ready. ctx bounds
// the start, and ends the agent when it is done.
func (h *Host) StartAgent(ctx context.Context, c AgentConfig) (*Agent, error) {
	a := &Agent{Client: h.Client()}
	if err := a.start(ctx, h, c); err != nil {
		if a.Program != nil {
			a.Close()
		}
		return nil, fmt.Errorf("start agent: %w", err)
	}
	return a, nil
}

func (a *Agent) start(ctx context.Context, h *Host, c AgentConfig) error {
	file, token := filepath.Join(c.Dir, AgentFile), filepath.Join(c.Dir, "token")
	if err := os.WriteFile(token, []byte(agentToken+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "token: {file: %q}\n%s", token, c.Config), 0o600); err != nil {
		return err
	}
	args := []string{c.Binary, "agent", "--listen", AgentAddress, "--log-format", "json", "--config", file, "--state-dir", filepath.Join(c.Dir, "state")}
	args, err := resolving(c.Dir, c.Resolvers, args)
	if err != nil {
		return err
	}
	cmd := h.Command(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	a.Started = time.Now()
	if a.Program, err = cmd.Launch(); err != nil {
		return err
	}
	pause := 100 * time.Millisecond
	for deadline := time.Now().Add(20 * time.Second); ; {
		unready := a.Get(ctx, "/readyz", nil)
		if unready == nil {
			return nil
		}
		if waitFor(a.ended, pause) {
			return a.Check()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after 20 s: %w: %s", unready, a.Said())
		}
	}
}

// Resolving prepares a program whose system's name servers are these: it has an
// /etc/resolv.conf of its own, in dir. It wants the programs unshare and mount.
func (h *Host) Resolving(ctx context.Context, dir string, servers []netip.Addr, name string, args ...string) (*Cmd, error) {
	line, err := resolving(dir, servers, append([]string{name}, args...))
	if err != nil {
		return nil, err
	}
	return h.Command(ctx, line[0], line[1:]...), nil
}

// resolving wraps a command so. Each step becomes the next, and so keeps the
// process and its death with its parent.
func resolving(dir string, servers []netip.Addr, line []string) ([]string, error) {
	if len(servers) == 0 {
		return line, nil
	}
	unshare, err := program("unshare", "util-linux")
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&text, "nameserver %v\n", s)
	}
	file := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		return nil, err
	}
	// unshare makes what it mounts private.
	const script = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	return append([]string{unshare, "--mount", "sh", "-c", script, file}, line...), nil
}

// Close ends the agent as its user would.
func (a *Agent) Close() {
	_ = a.End(os.Interrupt)
	a.Client.CloseIdleConnections()
}

// Get asks the API; into is filled from the JSON of the answer unless nil.
func (a *Agent) Get(ctx context.Context, path string, into any) error {
	raw, err := a.Raw(ctx, path)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("ask the agent: GET %s: %w in %.200s", path, err, raw)
	}
	return nil
}

// Raw asks the API and returns the answer as it is.
func (a *Agent) Raw(ctx context.Context, path string) ([]byte, error) {
	raw, err := Get(ctx, a.Client, "http://"+AgentAddress+path)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	return raw, nil
}

// Post sends JSON to a call that changes something.
func (a *Agent) Post(ctx context.Context, path string, body, into any) error {
	err := a.post(ctx, path, body, into)
	if err != nil {
		return fmt.Errorf("ask the agent: POST %s: %w", path, err)
	}
	return nil
}

func (a *Agent) post(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+AgentAddress+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+agentToken)
	answer, err := a.Client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if raw, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer)); err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s: %.300s", answer.Status, raw)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}
