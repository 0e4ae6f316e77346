package detect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// ResponseCell is a real Apache that runs out of workers, and an agent with the
// article's timed response to that.
type ResponseCell struct {
	Name string
	// Workers is MaxRequestWorkers before, More what the hook makes of it, by a
	// graceful reload.
	Workers, More int
	Load          lab.Load
	// Key is the response of the agent's configuration; Gather, Hook, FollowUp
	// and Escalate are when its steps are due.
	Key                              string
	Gather, Hook, FollowUp, Escalate time.Duration
	// Fails: the hook ends with 1 and changes nothing.
	Fails bool
	// Whole: the load is waited for, so that its requests are counted.
	Whole bool
	// Kill ends the agent by SIGKILL while the hook runs, and starts another.
	Kill bool
}

// Response is what was seen of one run.
type Response struct {
	Cell    string
	Actions []ActionSeen
	// HookRuns is how often the hook ran, by its own count.
	HookRuns int
	// Told counts the notices of each receiver by their reason; Again those that
	// came with a key that had come before.
	Told  map[string]map[string]int
	Again int
	// Workers is how many processes of Apache there were at the end.
	Workers int
	// Evidence is the kinds of what was gathered.
	Evidence         map[string]int
	Requests, Failed int // of a whole load
}

// ActionSeen is one action of the incidents, each once.
type ActionSeen struct {
	After             time.Duration // the first one
	Kind, State, What string
}

// Action returns the last action of a kind in that state; nil for none.
func (r *Response) Action(kind, state string) *ActionSeen {
	for i := range slices.Backward(r.Actions) {
		if a := &r.Actions[i]; a.Kind == kind && a.State == state {
			return a
		}
	}
	return nil
}

// String is the run as a table.
func (r Response) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: hook ran %d times, %d processes of Apache at the end, %d of %d requests failed, told %v, evidence %v\n", r.Cell, r.HookRuns, r.Workers, r.Failed, r.Requests, r.Told, r.Evidence)
	for _, a := range r.Actions {
		fmt.Fprintf(&b, "%8.1f s  %-10s %-12s %s\n", a.After.Seconds(), a.Kind, a.State, a.What)
	}
	return b.String()
}

// ResponseCells are the cells in a hurry, or at the article's own times.
func ResponseCells(real bool) []ResponseCell {
	if real {
		helps := ResponseCell{
			Name: "respond-real", Whole: true, Workers: articleWorkers, More: 2 * articleWorkers, Key: "gradual_saturation",
			Load: load(660, false, 0, 0, 2, 240, 26), Gather: time.Minute, Hook: 2 * time.Minute, FollowUp: 5 * time.Minute, Escalate: 15 * time.Minute,
		}
		fails := helps
		fails.Name, fails.Fails = "respond-real-fails", true
		return []ResponseCell{helps, fails}
	}
	hurry := ResponseCell{
		Name: "respond", Workers: 4, More: 20, Key: "default",
		Load: load(150, false, 0, 0, 1, 12, 7), Gather: time.Second, Hook: 3 * time.Second, FollowUp: 40 * time.Second, Escalate: 2 * time.Minute,
	}
	fails, killed := hurry, hurry
	fails.Name, fails.Fails = "respond-fails", true
	killed.Name, killed.Kill = "respond-killed", true
	return []ResponseCell{hurry, fails, killed}
}

// receiver counts notices.
type receiver struct {
	listener net.Listener
	server   *http.Server

	mu    sync.Mutex
	told  map[string]map[string]int
	keys  map[string]bool
	again int
}

// receive serves on a host of the world, until stop.
func receive(host *lab.Host) (*receiver, error) {
	r := &receiver{told: map[string]map[string]int{}, keys: map[string]bool{}}
	err := host.Do(func() (err error) {
		r.listener, err = net.Listen("tcp", netip.AddrPortFrom(host.Addr(), 9100).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start a receiver: %w", err)
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = r.server.Serve(r.listener) }()
	return r, nil
}

// ServeHTTP implements http.Handler: the path is the receiver's name.
func (r *receiver) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	var notice struct {
		Reason string `json:"reason"`
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &notice) != nil {
		return
	}
	name, key := strings.Trim(req.URL.Path, "/"), req.Header.Get("Idempotency-Key")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[key] {
		r.again++
		return
	}
	r.keys[key] = true
	if r.told[name] == nil {
		r.told[name] = map[string]int{}
	}
	r.told[name][notice.Reason]++
}

func (r *receiver) count(name, reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told[name][reason]
}

func (r *receiver) stop() { _ = r.server.Close() }

// responseRun is a cell at work.
type responseRun struct {
	cell     *ResponseCell
	world    *lab.World
	binary   string
	apache   *lab.Server
	agent    *agent
	told     *receiver
	seen     map[string]int // where an action is among the outcome's, by kind and time
	first    time.Time
	out      Response
	progress func(string)
}

// RunResponse plays a cell with a program.
func RunResponse(ctx context.Context, binary string, cell ResponseCell, progress func(string)) (Response, error) {
	r := &responseRun{cell: &cell, binary: binary, progress: progress, out: Response{Cell: cell.Name, Evidence: map[string]int{}}}
	world, err := lab.New(ctx, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}, {Name: "apps"}}})
	if err != nil {
		return r.out, err
	}
	defer world.Close()
	r.world = world
	if err := r.begin(ctx); err != nil {
		return r.out, err
	}
	defer r.told.stop()
	defer func() { r.agent.stop() }()
	load := cell.Load
	load.URL = fmt.Sprintf("http://%s%s", r.apache.Addr(), oneSecond)
	run, err := world.Host("client").StartLoad(ctx, load)
	if err != nil {
		return r.out, err
	}
	defer func() { _ = run.Stop() }() // it has ended, or nobody asks any more
	if err := r.follow(ctx, cell.Load.Duration); err != nil {
		return r.out, err
	}
	r.out.Workers = r.workers()
	if cell.Whole {
		records, err := run.Wait(ctx)
		if err != nil {
			return r.out, err
		}
		r.count(records)
	}
	return r.out, r.sum(ctx)
}

// begin starts the application, Apache, the receiver and the agent.
func (r *responseRun) begin(ctx context.Context) error {
	apps, server := r.world.Host("apps"), r.world.Host("server")
	app, err := apps.Serve(ctx, lab.App{Listen: netip.AddrPortFrom(apps.Addr(), appPort)})
	if err != nil {
		return err
	}
	if r.apache, err = server.Serve(ctx, lab.ApachePrefork{Workers: r.cell.Workers, Room: 2 * r.cell.More, Upstream: app.Addr()}); err != nil {
		return err
	}
	if r.told, err = receive(apps); err != nil {
		return err
	}
	if err := r.writeHook(); err != nil {
		return err
	}
	r.agent, err = startAgent(ctx, server, r.binary, r.world.Dir(), r.config())
	return err
}

// hookFile and countFile are the hook, and where it counts its runs.
func (r *responseRun) hookFile() string  { return filepath.Join(r.world.Dir(), "add-workers") }
func (r *responseRun) countFile() string { return filepath.Join(r.world.Dir(), "runs") }

// writeHook writes the operator's hook: more workers by a graceful reload, as
// "apachectl graceful" does it.
func (r *responseRun) writeHook() error {
	conf := filepath.Join(r.apache.Dir(), "apache.conf")
	does := fmt.Sprintf(`for key in MaxRequestWorkers MinSpareServers MaxSpareServers StartServers; do
  sed -i "s/^$key .*/$key %d/" %s
done
kill -USR1 %d && echo "MaxRequestWorkers is %[1]d now"
`, r.cell.More, conf, r.apache.PID())
	switch {
	case r.cell.Fails:
		does = "echo 'no host has room for more' >&2\nexit 1\n"
	case r.cell.Kill:
		does = "sleep 5\n" + does
	}
	script := fmt.Sprintf("#!/bin/sh\nset -e\necho run >> %s\ncat > %s.input\n%s", r.countFile(), r.countFile(), does)
	if err := os.WriteFile(r.hookFile(), []byte(script), 0o755); err != nil {
		return fmt.Errorf("write the hook: %w", err)
	}
	return nil
}

func (r *responseRun) config() string {
	at := r.told.listener.Addr()
	c := r.cell
	return ownNamespace + fmt.Sprintf(`notify:
  - {name: ops, severities: [none], webhook: {url: "http://%[1]s/ops"}}
  - {name: boss, severities: [none], webhook: {url: "http://%[1]s/boss"}}
respond:
  %[2]s:
    - {after: 0s, notify: [ops]}
    - {after: %[3]s, gather: true}
    - {after: %[4]s, hook: {exec: [%[5]s], timeout: 20s}, dry_run: false}
    - {after: %[6]s, follow_up: true}
    - {after: %[7]s, escalate: [boss], unless: acknowledged}
`, at, c.Key, c.Gather, c.Hook, r.hookFile(), c.FollowUp, c.Escalate)
}

// follow asks the agent what it does until the cell has come to its end.
func (r *responseRun) follow(ctx context.Context, patience time.Duration) error {
	r.seen = map[string]int{}
	killed := !r.cell.Kill
	done, err := until(ctx, patience, 250*time.Millisecond, func() (bool, error) {
		if !killed && r.runs() > 0 {
			killed = true
			if err := r.kill(ctx); err != nil {
				return false, err
			}
		}
		if err := r.ask(ctx); err != nil {
			return false, err
		}
		if r.cell.Fails || r.cell.Kill {
			return r.told.count("boss", "escalation") > 0, nil
		}
		return r.out.Action("follow_up", "done") != nil && r.told.count("ops", "follow_up") > 0, nil
	})
	if err == nil && !done {
		err = fmt.Errorf("the response did not come to its end within %s:\n%s%s", patience, r.out, r.agent.Said())
	}
	return err
}

// kill ends the agent at once, and starts another one in its place.
func (r *responseRun) kill(ctx context.Context) error {
	r.progress(r.cell.Name + ": the agent is killed while its hook runs")
	if err := syscall.Kill(r.agent.PID(), syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the agent: %w", err)
	}
	r.agent.stop()
	var err error
	r.agent, err = startAgent(ctx, r.world.Host("server"), r.binary, r.world.Dir(), r.config())
	return err
}

// ask notes the actions of all incidents; what is done for several is one.
func (r *responseRun) ask(ctx context.Context) error {
	var answer struct {
		Incidents []struct {
			ID      uint64 `json:"id"`
			Actions []struct {
				At                time.Time `json:"at"`
				Kind, State, What string
			} `json:"actions"`
		} `json:"incidents"`
	}
	if err := r.agent.Get(ctx, "/api/v1/incidents", &answer); err != nil {
		return err
	}
	for _, inc := range answer.Incidents {
		for _, a := range inc.Actions {
			if a.State == "planned" {
				continue
			}
			if r.first.IsZero() {
				r.first = a.At
			}
			key := a.Kind + a.At.UTC().Format(time.RFC3339)
			at, known := r.seen[key]
			if !known {
				at = len(r.out.Actions)
				r.seen[key], r.out.Actions = at, append(r.out.Actions, ActionSeen{})
				r.progress(fmt.Sprintf("%s: %s %s: %s", r.cell.Name, a.Kind, a.State, a.What))
			}
			r.out.Actions[at] = ActionSeen{After: a.At.Sub(r.first), Kind: a.Kind, State: a.State, What: a.What}
		}
	}
	return nil
}

// runs is how often the hook ran.
func (r *responseRun) runs() int {
	text, err := os.ReadFile(r.countFile())
	if err != nil {
		return 0
	}
	return strings.Count(string(text), "\n")
}

// workers counts Apache's children.
func (r *responseRun) workers() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", r.apache.PID()))
	if err != nil {
		return 0
	}
	return len(strings.Fields(string(text)))
}

// count counts the requests.
func (r *responseRun) count(records []lab.Record) {
	r.out.Requests = len(records)
	for i := range records {
		if records[i].Outcome != lab.OK || records[i].Status >= 500 {
			r.out.Failed++
		}
	}
}

// sum counts what was told and gathered.
func (r *responseRun) sum(ctx context.Context) error {
	r.out.HookRuns = r.runs()
	var incidents incidentsAnswer
	if err := r.agent.Get(ctx, "/api/v1/incidents", &incidents); err != nil {
		return err
	}
	for id := range 20 {
		var gathered struct {
			Evidence []struct{ Kind string } `json:"evidence"`
		}
		if r.agent.Get(ctx, fmt.Sprintf("/api/v1/incidents/%d/evidence", id+1), &gathered) != nil {
			continue
		}
		found := map[string]int{}
		for _, e := range gathered.Evidence {
			found[e.Kind]++
		}
		for kind, n := range found {
			r.out.Evidence[kind] = max(r.out.Evidence[kind], n)
		}
	}
	r.told.mu.Lock()
	defer r.told.mu.Unlock()
	r.out.Told, r.out.Again = r.told.told, r.told.again
	return nil
}
