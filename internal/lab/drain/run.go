package drain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/drain"
	"github.com/foreshock/foreshock/internal/lab"
)

// With is what a run needs beside its cell.
type With struct {
	Agent    string       // the program
	Progress func(string) // takes a line of what happens
}

// answer is what the API says of one switch.
type answer struct {
	Report drain.Report `json:"report"`
	Status drain.Status `json:"status"`
}

// poll is what an agent said at one time; Err is why it said nothing.
type poll struct {
	At time.Time
	answer
	Err error
}

// look is when the agent looked, on the wall clock; zero before the switch.
func (p poll) look() time.Time {
	if p.Err != nil || p.Report.SwitchedAt.IsZero() {
		return time.Time{}
	}
	return p.Report.SwitchedAt.Add(time.Duration(p.Report.Now.SinceSeconds * float64(time.Second)))
}

// incident is the part of the agent's that is needed here.
type incident struct {
	Cause    string    `json:"cause"`
	Scope    string    `json:"scope"`
	Peak     string    `json:"peak_severity"`
	OpenedAt time.Time `json:"opened_at"` // zero: it was suspected alone
}

// watched is an agent and all that it said.
type watched struct {
	host      string
	agent     *lab.Agent
	polls     []poll
	incidents []incident
	cpu       float64 // share of one core, from the start on
}

// seen is all that is known of one run.
type seen struct {
	cell    *Cell
	flipped time.Time
	ended   time.Time
	agents  []*watched
	checks  []checks
	crowds  []Crowd
	closed  closing
	// all and silent are what was said for all agents together: see merged.
	all, silent mergedAnswer
}

// closing is what came of closing stale sockets.
type closing struct {
	At          time.Time
	DryRun, Did api.CloseResult
}

// Run plays a cell and judges what was said.
func Run(ctx context.Context, with With, cell Cell) (Outcome, error) {
	out, err := run(ctx, with, cell)
	if err != nil {
		return Outcome{}, fmt.Errorf("switch %s: %w", cell.Name, err)
	}
	return judge(out), nil
}

func run(ctx context.Context, with With, cell Cell) (s seen, err error) {
	st, err := build(ctx, &cell)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, st.world.Close()) }()
	// What stands before the agents is older than all they know, as in life.
	if err := st.visit(ctx); err != nil {
		return s, err
	}
	s.cell = &cell
	for _, host := range cell.Agents {
		w, err := st.watch(ctx, with, host)
		if err != nil {
			return s, err
		}
		s.agents = append(s.agents, w)
	}
	beside, err := st.startChecks(ctx)
	if err != nil {
		return s, err
	}
	if err := st.play(ctx, with, &s, beside); err != nil {
		return s, err
	}
	if cell.Merged {
		if s.all, s.silent, err = merged(ctx, with.Agent, cell.name(), s.agents); err != nil {
			return s, err
		}
	}
	for _, w := range s.agents {
		if err := w.conclude(ctx); err != nil {
			return s, err
		}
	}
	s.checks = beside.done()
	// What clients hold now is the last thing they say.
	if err := wait(ctx, time.Second); err != nil {
		return s, err
	}
	s.crowds, err = st.finish()
	return s, err
}

// watch starts an agent on a host.
func (st *stage) watch(ctx context.Context, with With, host string) (*watched, error) {
	dir, err := st.dir("agent-" + host)
	if err != nil {
		return nil, err
	}
	system, _ := resolver(systemOf(host))
	config := lab.AgentConfig{Binary: with.Agent, Dir: dir, Config: st.config(host)}
	config.Resolvers = append(config.Resolvers, system.Addr)
	agent, err := st.world.Host(host).StartAgent(ctx, config)
	if err != nil {
		return nil, err
	}
	return &watched{host: host, agent: agent}, nil
}

// config is an agent's configuration. Agents that are told by hand are told the
// resolvers and the identity with it.
func (st *stage) config(host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nobserve: {namespaces: host}\n", host)
	if st.cell.How == ByHand {
		return b.String()
	}
	fmt.Fprintf(&b, "drain:\n  - name: %s\n    ports: [%d]\n    resolvers: [system", st.cell.name(), port)
	for _, r := range st.cell.asked() {
		fmt.Fprintf(&b, ", %v", r.Addr)
	}
	fmt.Fprintf(&b, "]\n    identity: {url: \"http://%s/health\", expect: {status: 200, header: \"X-Site: %s\"}}\n", st.cell.name(), Site)
	if st.cell.How == Armed {
		fmt.Fprintf(&b, "    old: [%s]\n    new: [%s]\n", list(st.cell.told(st.cell.before())), list(st.cell.told(st.cell.after())))
	}
	return b.String()
}

// list writes addresses as YAML has them.
func list(all []netip.Addr) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = strconv.Quote(a.String())
	}
	return strings.Join(words, ", ")
}

// tell tells the agents of the switch.
func (st *stage) tell(ctx context.Context, agents []*watched) error {
	ttl := st.cell.TTL.Seconds()
	request := api.DrainRequest{Name: st.cell.name(), Ports: []uint16{port}, TTLSeconds: &ttl, By: "lab", Resolvers: []string{"system"},
		Identity: &api.Identity{URL: "http://" + st.cell.name() + "/health", Status: 200, Header: "X-Site: " + Site}}
	request.Old, request.New = st.cell.told(st.cell.before()), st.cell.told(st.cell.after())
	for _, r := range st.cell.asked() {
		request.Resolvers = append(request.Resolvers, r.Addr.String())
	}
	for _, w := range agents {
		request.AgoSeconds = time.Since(st.flipped).Seconds()
		if err := w.agent.Post(ctx, "/api/v1/drains", request, nil); err != nil {
			return err
		}
	}
	return nil
}

// play lets time pass, with the switch in it, and asks everybody each second.
func (st *stage) play(ctx context.Context, with With, s *seen, beside *beside) error {
	with.Progress(fmt.Sprintf("%s: %d agents, %s until the switch, %s after it", st.cell.Name, len(s.agents), st.cell.Warm, st.cell.After))
	if err := st.ask(ctx, s, beside, time.Now().Add(st.cell.Warm)); err != nil {
		return err
	}
	if err := st.flip(ctx); err != nil {
		return err
	}
	s.flipped = st.flipped
	with.Progress(st.cell.Name + ": the name has its new address")
	if st.cell.How == ByHand {
		if err := st.tell(ctx, s.agents); err != nil {
			return err
		}
	}
	s.ended = st.flipped.Add(st.cell.After)
	if st.cell.CloseStale > 0 {
		if err := st.ask(ctx, s, beside, st.flipped.Add(st.cell.CloseStale)); err != nil {
			return err
		}
		if err := s.closed.close(ctx, s.agents[0].agent); err != nil {
			return err
		}
		with.Progress(fmt.Sprintf("%s: %d stale sockets closed", st.cell.Name, s.closed.Did.Closed))
	}
	if err := st.ask(ctx, s, beside, s.ended); err != nil {
		return err
	}
	return nil
}

// close asks for a dry run and then for the deed.
func (c *closing) close(ctx context.Context, a *lab.Agent) error {
	path := "/api/v1/drains/" + Site + "/close-stale"
	if err := a.Post(ctx, path, api.CloseRequest{By: "lab"}, &c.DryRun); err != nil {
		return err
	}
	c.At = time.Now()
	return a.Post(ctx, path, api.CloseRequest{Really: true, By: "lab"}, &c.Did)
}

// ask asks the agents and the checks each second until a time.
func (st *stage) ask(ctx context.Context, s *seen, beside *beside, until time.Time) error {
	for time.Now().Before(until) {
		began := time.Now()
		beside.round(ctx, began)
		for _, w := range s.agents {
			if err := w.ask(ctx, st.cell.name()); err != nil {
				return err
			}
		}
		if err := wait(ctx, min(time.Until(began.Add(time.Second)), time.Until(until))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ask asks once. That the agent does not know the switch is an answer; that it is
// gone is not.
func (w *watched) ask(ctx context.Context, name string) error {
	var p poll
	p.Err = w.agent.Get(ctx, "/api/v1/drains/"+name, &p.answer)
	p.At = time.Now()
	w.polls = append(w.polls, p)
	return errors.Join(w.agent.Check(), ctx.Err())
}

// conclude asks for what is asked once, at the end.
func (w *watched) conclude(ctx context.Context) error {
	var list struct {
		Incidents []incident `json:"incidents"`
	}
	if err := w.agent.Get(ctx, "/api/v1/incidents", &list); err != nil {
		return err
	}
	w.incidents = list.Incidents
	used, err := w.agent.CPUTime()
	w.cpu = float64(used) / float64(time.Since(w.agent.Started))
	return err
}
