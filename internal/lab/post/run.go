package post

import (
	"cmp"
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

	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/lab"
)

// Config is one run.
type Config struct {
	Agent  string        // the program
	Outage time.Duration // for how long all receivers are down
	Kills  int           // of the agent, spread over the outage and what follows
	// Services is how many servers open and close an incident each, in turn.
	Services int
}

// busy is for how long a server has connections, and again none: long enough for
// an incident to open, and to resolve.
const busy, idle = 6 * time.Second, 14 * time.Second

// Result is what came of a run.
type Result struct {
	Outage time.Duration `json:"outage_ns"`
	Kills  int           `json:"kills"`
	// Incidents were opened, as the history has them, of a severity that is told.
	// GoneOn of them are what was open when the agent was killed, seen again under
	// another number: that is no news. Of the others Missing were not told, and
	// Twice told as opened under two keys.
	Incidents int `json:"incidents"`
	GoneOn    int `json:"gone_on"`
	Missing   int `json:"missing"`
	Twice     int `json:"opened_twice"`
	// Unsaid says which are missing.
	Unsaid []string `json:"unsaid,omitempty"`
	// Misdated were told with another time than the history has of their opening.
	Misdated int `json:"misdated"`
	// Stories is how often something was told as opened; Gaps how many steps of one
	// came without the step before.
	Stories int `json:"stories"`
	Gaps    int `json:"gaps"`
	// Notices came to the webhook; Repeated of their keys came more than once, of
	// which Different said something else then. Unordered came before one that was
	// decided earlier.
	Notices   int `json:"notices"`
	Repeated  int `json:"repeated"`
	Different int `json:"different"`
	Unordered int `json:"unordered"`
	// Left is what the history has as waiting or undelivered at the end.
	Waiting     int `json:"waiting"`
	Undelivered int `json:"undelivered"`
	// Alerts is how many different alerts the real Alertmanager took; -1 where it is
	// not installed.
	Alerts int `json:"alerts"`
	// Told is what came by the notification library: to Slack's and PagerDuty's
	// stand-ins, and to the real mail server where it is installed.
	Told []Told `json:"told"`
}

// Sound reports whether all was told once and in order.
func (r *Result) Sound() bool {
	for i := range r.Told {
		if !r.Told[i].sound(r.Kills) {
			return false
		}
	}
	return r.Incidents > 0 && r.Missing == 0 && r.Twice == 0 && r.Misdated == 0 && r.Gaps == 0 && (r.Alerts < 0 || r.Alerts >= r.Stories) && r.Different == 0 && r.Unordered == 0 && r.Waiting == 0 && r.Undelivered == 0
}

func (r Result) String() string {
	alerts := fmt.Sprintf("%d alerts at the real Alertmanager", r.Alerts)
	if r.Alerts < 0 {
		alerts = "no Alertmanager is installed"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "outage %s, %d kills: %d incidents opened, %d of them going on after a kill, %d not told, %d told twice, %d with another time; %d notices of %d openings, %d without the step before, %d out of order, %d keys came again (%d with other words), %d wait, %d undelivered; %s\n",
		r.Outage, r.Kills, r.Incidents, r.GoneOn, r.Missing, r.Twice, r.Misdated, r.Notices, r.Stories, r.Gaps, r.Unordered, r.Repeated, r.Different, r.Waiting, r.Undelivered, alerts)
	for _, u := range r.Unsaid {
		fmt.Fprintf(&b, "not told: %s\n", u)
	}
	for _, t := range r.Told {
		fmt.Fprintln(&b, t)
	}
	return b.String()
}

// Run plays one run in a directory of its own, which it removes.
func Run(ctx context.Context, c Config, progress func(string)) (Result, error) {
	out := Result{Outage: c.Outage, Kills: c.Kills, Alerts: -1}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "foreshock-post-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	r := &receivers{seen: map[string]int{}, bodies: map[string][]byte{}, alerts: map[string]bool{}}
	var absent *lab.ErrMissing
	switch err := r.startAlertmanager(ctx, dir); {
	case errors.As(err, &absent):
		progress(absent.Error())
	case err != nil:
		return out, err
	}
	o, why, err := startOutside(dir)
	if err != nil {
		return out, err
	}
	defer o.stop()
	if why != nil {
		progress(why.Error())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return out, err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	servers, err := startServers(c.Services)
	if err != nil {
		return out, err
	}
	defer servers.close()
	a := &agent{program: c.Agent, dir: dir, environment: o.environment()}
	if err := a.configure(listener.Addr().String(), servers, r.proxy != nil, o.addresses()); err != nil {
		return out, err
	}
	if err := a.start(ctx); err != nil {
		return out, err
	}
	defer a.kill()
	if err := play(ctx, c, r, o, a, servers, progress); err != nil {
		return out, err
	}
	if err := errors.Join(a.stop(), o.settled(ctx)); err != nil {
		return out, err
	}
	if err := count(&out, a.state(), r); err != nil {
		return out, err
	}
	out.Told, err = o.told(r.steps())
	return out, err
}

// play lets incidents come and go, with an outage in the middle and kills in it
// and behind it, until all is told.
func play(ctx context.Context, c Config, r *receivers, o *outside, a *agent, s *servers, progress func(string)) error {
	playing, stop := context.WithCancel(ctx)
	defer stop()
	played := make(chan struct{})
	go func() {
		defer close(played)
		s.play(playing)
	}()
	sleep(ctx, busy+idle)
	progress(fmt.Sprintf("all receivers are down, for %s", c.Outage))
	if err := outage(ctx, c, r, o, a, progress); err != nil {
		return err
	}
	sleep(ctx, busy+idle)
	stop()
	<-played
	// What was open at a kill and is not seen again is over 2 minutes later, or 10.
	return until(ctx, 15*time.Minute, "all incidents are over and told", func() bool { return a.quiet(ctx) && r.lasting() == 0 })
}

// outage has all receivers down, and kills the agent, the last time when what
// waited is on its way again.
func outage(ctx context.Context, c Config, r *receivers, o *outside, a *agent, progress func(string)) error {
	r.down.Store(true)
	over := make(chan error, 1)
	go func() { over <- o.outage(ctx, c.Outage) }()
	for kill := range c.Kills - 1 {
		sleep(ctx, c.Outage/time.Duration(c.Kills))
		progress(fmt.Sprintf("kill -9, the %d. time", kill+1))
		if err := a.again(ctx); err != nil {
			return errors.Join(err, <-over)
		}
	}
	if err := <-over; err != nil {
		return err
	}
	before, err := o.took()
	if err := errors.Join(err, o.back()); err != nil {
		return err
	}
	r.down.Store(false)
	progress("they are up again")
	if c.Kills == 0 {
		return nil
	}
	if err := o.rising(ctx, before); err != nil {
		return err
	}
	progress("kill -9 while they take what waited")
	return a.again(ctx)
}

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

// count holds what came against what the history has.
func count(out *Result, state string, r *receivers) error {
	h, err := history.OpenReader(state)
	if err != nil {
		return err
	}
	defer h.Close()
	counts, err := h.Outbox()
	if err != nil {
		return err
	}
	for _, c := range counts {
		out.Waiting, out.Undelivered = out.Waiting+c.Waiting, out.Undelivered+c.Undelivered
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out.Notices, out.Different = len(r.took), r.different
	if r.proxy != nil {
		out.Alerts = len(r.alerts)
	}
	opened, at := r.stories(out), r.openedAt()
	stopped := map[thread]bool{} // the last incident of it was open when the agent was killed
	kept := map[thread][]string{}
	unsaid := map[int]thread{} // by its place in Unsaid
	err = h.EachIncident(history.Query{}, func(i *history.Incident) error {
		var more struct{ Because, Rule, End string }
		if err := json.Unmarshal(i.Document, &more); err != nil {
			return err
		}
		if i.Peak == "watch" || more.Because != "" {
			return nil // nobody is to be told
		}
		of := thread{i.Scope, i.Cause, more.Rule}
		kept[of] = append(kept[of], fmt.Sprintf("run %d #%d %s to %s %s", i.Run, i.ID, clock(i.OpenedAt), clock(i.ResolvedAt), more.End))
		goesOn := stopped[of]
		stopped[of] = more.End == "agent_stopped"
		out.Incidents++
		if told, was := at[i.ID]; was && told.Sub(i.OpenedAt).Abs() > time.Second { // the wall's clock may be moved a little
			out.Misdated++
		}
		switch times := opened[i.ID]; {
		case times > 1:
			out.Twice++
		case goesOn && times == 0:
			out.GoneOn++
		case times == 0:
			out.Missing++
			unsaid[len(out.Unsaid)] = of
			out.Unsaid = append(out.Unsaid, fmt.Sprintf("%d %s %s%s from %s to %s: %s", i.ID, i.Scope, i.Cause, more.Rule, clock(i.OpenedAt), clock(i.ResolvedAt), more.End))
		}
		return nil
	})
	for at, of := range unsaid { // what led there, in the history and as it was told
		out.Unsaid[at] += "; kept: " + strings.Join(kept[of], ", ") + "; told: " + strings.Join(r.story(of), ", ")
	}
	return err
}

// story is what came of a thread, in order.
func (r *receivers) story(of thread) []string {
	var out []string
	for _, d := range r.took {
		for _, i := range d.Incidents {
			if (thread{i.Scope, i.Cause, i.Rule}) == of {
				out = append(out, fmt.Sprintf("#%d %s %d since %s", i.Incident, i.Step, i.Sequence, clock(i.OpenedAt)))
			}
		}
	}
	return out
}

// lasting is how many of our servers' stories were not told to their end.
func (r *receivers) lasting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := map[thread]bool{}
	for _, d := range r.took {
		for _, i := range d.Incidents {
			if of := (thread{i.Scope, i.Cause, i.Rule}); i.Step == resolved {
				delete(open, of)
			} else if ours.MatchString(i.Scope) {
				open[of] = true
			}
		}
	}
	return len(open)
}

// openedAt is when each incident began, as it was told.
func (r *receivers) openedAt() map[uint64]time.Time {
	out := map[uint64]time.Time{}
	for _, d := range r.took {
		for _, i := range d.Incidents {
			if i.Step != resolved {
				out[i.Incident] = i.OpenedAt
			}
		}
	}
	return out
}

// thread is what notices of one thing have in common, also over restarts.
type thread struct{ Scope, Cause, Rule string }

// stories holds the notices against each other, in the order in which they came,
// and returns how often each incident was told as opened.
func (r *receivers) stories(out *Result) map[uint64]int {
	opened := map[uint64]int{}
	told := map[thread]int{} // the sequence of the last step; 0 behind the end
	var last time.Time
	for _, d := range r.took {
		if d.At.Before(last) {
			out.Unordered++
		}
		last = d.At
		for _, i := range d.Incidents {
			of := thread{i.Scope, i.Cause, i.Rule}
			if i.Sequence != told[of]+1 {
				out.Gaps++
			}
			told[of] = i.Sequence
			switch i.Step {
			case "opened":
				opened[i.Incident]++
				out.Stories++
			case "resolved":
				told[of] = 0
			}
		}
	}
	for _, times := range r.seen {
		out.Repeated += cmp.Compare(times, 1)
	}
	return opened
}
