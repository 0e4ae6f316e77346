//go:build linux

// Package detect makes a real server fail and writes down who said so first:
// the agent, its clients, or nobody.
//
// A [Cell] is one failure as data: a server, a load, a threshold for slow.
// [Run] plays it in a world of its own with the agent as a user runs it, a
// program of its own that is asked over HTTP.
package detect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Cell is one scenario on one server.
type Cell struct {
	Name string
	// Service is the listener's port as the agent will name its scope.
	Port uint16
	// Software serves; its application answers /sleep?ms=N after N ms.
	Software lab.Software
	Load     lab.Load
	// Slow is from which response time on a request counts as slow.
	Slow time.Duration
}

// Prefork is the workers article's server: Apache prefork, requests of 1 s, so
// its capacity is one a second for each worker. The rate rises in a straight
// line from a tenth to 1.3 times of that over span, and stays.
func Prefork(workers int, span, duration time.Duration) Cell {
	return Cell{
		Name: "prefork-ramp", Port: 80, Slow: 2 * time.Second,
		Software: lab.ApachePrefork{Workers: workers, Port: 80},
		Load: lab.Load{
			Rate:     []lab.RatePoint{{PerSecond: 0.1 * float64(workers)}, {At: span, PerSecond: 1.3 * float64(workers)}},
			Duration: duration, Timeout: 10 * time.Second,
		},
	}
}

// Healthy is the same server at a share of its capacity, with random arrivals.
func Healthy(workers int, share float64, duration time.Duration, seed uint64) Cell {
	c := Prefork(workers, time.Minute, duration)
	c.Name = fmt.Sprintf("prefork-healthy-%.0f", 100*share)
	c.Load.Rate = []lab.RatePoint{{PerSecond: float64(workers) * share}}
	c.Load.Poisson, c.Load.Seed = true, seed
	return c
}

// Outcome is when what was first seen, since the first request. Nil is never.
type Outcome struct {
	Cell        string         `json:"cell"`
	Requests    int            `json:"requests"`
	Failed      int            `json:"failed"`
	Queue       *time.Duration `json:"queue_ns"` // accept queue above 0 for 5 s on end
	Suspect     *time.Duration `json:"suspect_ns"`
	Warning     *time.Duration `json:"warning_ns"`
	Critical    *time.Duration `json:"critical_ns"`
	GaveUp      *time.Duration `json:"clients_gave_up_ns"`
	FirstSlow   *time.Duration `json:"first_slow_ns"`
	FirstFailed *time.Duration `json:"first_failed_ns"`
	Recovered   *time.Duration `json:"recovered_ns"`
	// Steps is the whole life of every incident.
	Steps []string `json:"steps"`
	// CPU is the agent's share of one core over the run.
	CPU float64 `json:"agent_cpu_share"`
}

// String is the outcome as one line for a person.
func (o Outcome) String() string {
	at := func(d *time.Duration) string {
		if d == nil {
			return "never"
		}
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%s: queue %s, warning %s, critical %s, first slow %s, clients gave up %s, first failed %s, recovered %s; %d of %d requests failed",
		o.Cell, at(o.Queue), at(o.Warning), at(o.Critical), at(o.FirstSlow), at(o.GaveUp), at(o.FirstFailed), at(o.Recovered), o.Failed, o.Requests)
}

// agentAddress is where the agent listens inside the world.
const agentAddress = "127.0.0.1:9748"

// Run plays a cell with the agent program at binary. After the load it waits,
// up to a minute, for open incidents to end. progress gets a line now and
// then.
func Run(ctx context.Context, binary string, cell Cell, progress func(string)) (Outcome, error) {
	out := Outcome{Cell: cell.Name}
	world, err := lab.New(ctx, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
	if err != nil {
		return out, err
	}
	defer world.Close()
	server, client := world.Host("server"), world.Host("client")
	software, err := server.Serve(ctx, cell.Software)
	if err != nil {
		return out, err
	}
	agent, err := startAgent(ctx, server, binary, filepath.Join(world.Dir(), "agent.log"))
	if err != nil {
		return out, err
	}
	defer agent.stop()
	cell.Load.URL = fmt.Sprintf("http://%s:%d/sleep?ms=1000", server.Addr(), cell.Port)
	if cell.Load.Log == "" {
		cell.Load.Log = filepath.Join(world.Dir(), "client.jsonl")
	}
	scope, err := agent.serviceAt(ctx, cell.Port)
	if err != nil {
		return out, err
	}
	progress(fmt.Sprintf("%s: %s is %s; load for %s", cell.Name, software.Addr(), scope, cell.Load.Duration))
	run, err := client.StartLoad(ctx, cell.Load)
	if err != nil {
		return out, err
	}
	queue, err := agent.watchQueue(ctx, scope, run.Ended(), progress)
	if err != nil {
		return out, err
	}
	records, err := run.Wait(ctx)
	if err != nil {
		return out, err
	}
	incidents, err := agent.settle(ctx, time.Minute)
	if err != nil {
		return out, err
	}
	out.sum(cell, records, queue, incidents)
	out.CPU, err = agent.cpuShare()
	return out, err
}

// sum puts everything on the clock that starts with the first request.
func (o *Outcome) sum(cell Cell, records []lab.Record, queue time.Time, incidents []incident) {
	s := lab.Summarize(records, cell.Slow)
	o.Requests, o.Failed = s.Requests, s.Requests-s.Outcomes[lab.OK]
	begin := s.Begin.Wall
	since := func(at time.Time) *time.Duration {
		if at.IsZero() {
			return nil
		}
		d := at.Sub(begin)
		return &d
	}
	moment := func(m *lab.Moment) *time.Duration {
		if m == nil {
			return nil
		}
		return since(m.Wall)
	}
	o.Queue, o.FirstSlow, o.FirstFailed = since(queue), moment(s.FirstSlow), moment(s.FirstFailed)
	earliest := func(into **time.Duration, at time.Time) {
		if d := since(at); *into == nil || d != nil && *d < **into {
			*into = d
		}
	}
	for _, inc := range incidents {
		if inc.State == "suspect" {
			continue
		}
		for _, step := range inc.Timeline {
			o.Steps = append(o.Steps, fmt.Sprintf("%+.1fs %s %s: %s", step.At.Sub(begin).Seconds(), inc.Scope, inc.Cause, step.What))
			switch {
			case inc.Cause == "clients_gave_up":
				if strings.HasPrefix(step.What, "open") {
					earliest(&o.GaveUp, step.At)
				}
			case strings.HasPrefix(step.What, "suspect"):
				earliest(&o.Suspect, step.At)
			case strings.HasPrefix(step.What, "open, warning"):
				earliest(&o.Warning, step.At)
			case strings.HasPrefix(step.What, "open, critical"):
				earliest(&o.Warning, step.At)
				earliest(&o.Critical, step.At)
			case strings.HasPrefix(step.What, "now critical"):
				earliest(&o.Critical, step.At)
			case strings.HasPrefix(step.What, "resolved: recovered"):
				earliest(&o.Recovered, step.At)
			}
		}
	}
}

// agent is a running agent, asked over its API from inside its namespace.
type agent struct {
	cmd     *lab.Cmd
	ended   chan struct{} // closed when the program has ended, with endErr
	endErr  error
	client  *http.Client
	log     *os.File
	started time.Time
}

// startAgent starts the program as a user would, without a configuration.
func startAgent(ctx context.Context, host *lab.Host, binary, logFile string) (*agent, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	a := &agent{cmd: host.Command(ctx, binary, "agent", "--listen", agentAddress, "--log-format", "json"), log: log, started: time.Now()}
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.Cancel = func() error { return a.cmd.Process.Signal(os.Interrupt) }
	a.cmd.WaitDelay = 5 * time.Second
	a.client = inside(host)
	if err := a.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start agent: %w", err), log.Close())
	}
	a.ended = make(chan struct{})
	go func() {
		a.endErr = a.cmd.Wait()
		close(a.ended)
	}()
	ready := func() error { return a.get(ctx, "/readyz", nil) }
	for deadline := time.Now().Add(20 * time.Second); ready() != nil; {
		select {
		case <-a.ended:
			return nil, fmt.Errorf("the agent ended at its start: %w: %s", a.endErr, a.tail())
		case <-ctx.Done():
			a.stop()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			err := ready()
			a.stop()
			return nil, fmt.Errorf("the agent is not ready after 20 s: %w: %s", err, a.tail())
		}
	}
	return a, nil
}

func (a *agent) stop() {
	_ = a.cmd.Process.Signal(os.Interrupt)
	select {
	case <-a.ended:
	case <-time.After(10 * time.Second):
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
	a.client.CloseIdleConnections()
	_ = a.log.Close()
}

// tail is the end of the agent's log.
func (a *agent) tail() string {
	raw, err := os.ReadFile(a.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-2000):])
}

// get asks the API; into is filled from the JSON of the answer unless nil.
func (a *agent) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+agentAddress+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the agent: GET %s: %s", path, resp.Status)
	}
	if into == nil {
		return nil
	}
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(resp.Body); err != nil {
		return fmt.Errorf("ask the agent: GET %s: %w", path, err)
	}
	if err := json.Unmarshal(raw.Bytes(), into); err != nil {
		return fmt.Errorf("ask the agent: GET %s: %w in %.200s", path, err, raw.Bytes())
	}
	return nil
}
