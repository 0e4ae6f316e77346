package post

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// agent is the real agent, started again after each kill.
type agent struct {
	program, dir, address string
	environment           []string
	cmd                   *exec.Cmd
	said                  *os.File
}

func (a *agent) state() string { return filepath.Join(a.dir, "state") }

func (a *agent) configure(receiver string, s *servers, alertmanager bool, library map[string]string) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a.address = free.Addr().String()
	_ = free.Close()
	var b strings.Builder
	fmt.Fprintf(&b, "name: lab\nlisten: %s\npublic_url: https://lab.example\nobserve: {namespaces: host, cpu_budget: 5%%}\nservices:\n", a.address)
	for i, l := range s.listeners {
		fmt.Fprintf(&b, "  - {name: lab%d, listen: [%q]}\n", i, l.Addr().String())
	}
	fmt.Fprintf(&b, "rules: [{name: connected, when: service.established >= %d, hold: 0s}]\nnotify:\n  - {name: hook, webhook: {url: \"http://%s/hook\"}, group: {wait: 0s, interval: 0s}, recovery: 0s, cooldown: 0s}\n", connections, receiver)
	for _, name := range slices.Sorted(maps.Keys(library)) {
		// Each incident alone, as the webhook has it, and all of them within the hour:
		// by itself such a channel would hold what is more than 60.
		fmt.Fprintf(&b, "  - {name: %s, url: {env: %s}, group: {wait: 0s, interval: 0s}, recovery: 0s, cooldown: 0s, max_per_hour: 10000}\n", name, variable(name))
	}
	if alertmanager {
		fmt.Fprintf(&b, "  - {name: alarm, alertmanager: {urls: [\"http://%s\"]}}\n", receiver)
	}
	return os.WriteFile(filepath.Join(a.dir, "foreshock.yaml"), []byte(b.String()), 0o600)
}

func (a *agent) start(ctx context.Context) error {
	said, err := os.OpenFile(filepath.Join(a.dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	a.said = said
	a.cmd = exec.Command(a.program, "agent", "--config", filepath.Join(a.dir, "foreshock.yaml"), "--state-dir", a.state())
	a.cmd.Stdout, a.cmd.Stderr, a.cmd.Env = said, said, a.environment
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start the agent: %w", err), said.Close())
	}
	err = until(ctx, 30*time.Second, "the agent is ready", func() bool { return a.get(ctx, "/readyz", nil) == nil })
	if err != nil {
		log, _ := os.ReadFile(said.Name())
		return fmt.Errorf("%w; it said:\n%s", err, log)
	}
	return nil
}

func (a *agent) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
	_ = a.said.Close()
}

// again kills the agent and starts it again.
func (a *agent) again(ctx context.Context) error {
	a.kill()
	return a.start(ctx)
}

// stop ends it in good order.
func (a *agent) stop() error {
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return errors.Join(a.cmd.Wait(), a.said.Close())
}

func (a *agent) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// quiet reports whether no incident is open that our servers gave reason for, and
// nothing waits.
func (a *agent) quiet(ctx context.Context) bool {
	var open struct {
		Incidents []struct{ Rule, Scope string }
	}
	var channels struct{ Channels []struct{ Queued int } }
	if a.get(ctx, "/api/v1/incidents?state=open", &open) != nil || a.get(ctx, "/api/v1/channels", &channels) != nil {
		return false
	}
	for _, i := range open.Incidents {
		if ours.MatchString(i.Scope) {
			return false
		}
	}
	for _, c := range channels.Channels {
		if c.Queued > 0 {
			return false
		}
	}
	return true
}
