package detect

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/scope"
)

// Pools is a run of the agent beside many backends with many connections each,
// and, where a balancer holds them, of programs that ask the balancer instead.
type Pools struct {
	Through  string        `json:"through"` // "traefik" or "generator"
	Backends int           `json:"backends"`
	Each     int           `json:"connections_each"`
	Buckets  int           `json:"buckets"`
	Span     time.Duration `json:"span_ns"`
	// Sockets are those in use in the watched namespace, before and after.
	Sockets [2]int `json:"sockets"`
	// Holders is how many processes hold the clients' ends.
	Holders int `json:"processes"`
	// Quiet is the balancer's processor share while nobody reads, before and
	// after all readers; what they differ by is noise.
	Quiet   []float64    `json:"quiet_balancer_cpu_share"`
	Readers []PoolReader `json:"readers"`
}

// PoolReader is what one reader cost.
type PoolReader struct {
	Usage
	// Balancer is the balancer's own processor share meanwhile.
	Balancer float64 `json:"balancer_cpu_share"`
	// Netlink is what the kernel told of sockets, Read what the process read
	// from files and connections; bytes per second.
	Netlink float64 `json:"netlink_bytes_per_second"`
	Read    float64 `json:"read_bytes_per_second"`
	Agent   *Sight  `json:"agent,omitempty"` // nil for other programs
}

// Sight is what an agent saw. Ages are the greatest it said, asked each second:
// of backends, and of all sockets.
type Sight struct {
	Found     int            `json:"backends_found"`
	FoundIn   time.Duration  `json:"found_after_ns"`
	FocusAge  float64        `json:"worst_focus_age_seconds"`
	FullAge   float64        `json:"worst_full_age_seconds"`
	Incidents map[string]int `json:"incidents"` // of its own namespace, by cause and peak severity
}

const (
	// poolBuckets is the size of each host's hash table: what a machine with
	// some tens of GiB gives all its namespaces.
	poolBuckets = 1 << 18
	// poolHold is how long a request through the balancer takes. So few of them
	// end that the balancer's own work hides nobody's share of it.
	poolHold = time.Minute
	// poolWait is how long the connections may take to stand beyond poolHold,
	// and the backends to be found.
	poolWait = time.Minute
)

// backendsHost is a host with so many backends' addresses.
func backendsHost(count int) lab.HostConfig {
	h := lab.HostConfig{Name: "backends"}
	for i := range count {
		h.Addrs = append(h.Addrs, netip.AddrFrom4([4]byte{10, 78, byte((i + 1) >> 8), byte(i + 1)}))
	}
	return h
}

// maxBackends fits their addresses and the agent's view.
const maxBackends = 1000

// poolWorld makes the hosts. Each has a table of its own: what the backends and
// the clients hold is not the watched machine's.
func poolWorld(ctx context.Context, count, each int, watched string, others ...string) (*lab.World, error) {
	if count < 1 || count > maxBackends || each < 1 {
		return nil, fmt.Errorf("%d backends with %d connections each: want 1 to %d, and 1 or more", count, each, maxBackends)
	}
	hosts := []lab.HostConfig{{Name: watched}, backendsHost(count)}
	for _, name := range others {
		hosts = append(hosts, lab.HostConfig{Name: name})
	}
	return lab.New(ctx, lab.Config{Hosts: hosts, Buckets: poolBuckets})
}

// RunPoolsGenerated lets the agent watch count backends with each connections
// that a generator made and that only stand there. Its pool is configured by
// the process' name, once with the list of its backends and once without.
func RunPoolsGenerated(ctx context.Context, binary string, count, each int, span time.Duration, progress func(string)) (Pools, error) {
	out := Pools{Through: "generator", Backends: count, Each: each, Span: span, Buckets: poolBuckets}
	world, err := poolWorld(ctx, count, each, "client")
	if err != nil {
		return out, err
	}
	defer world.Close()
	host := world.Host("client")
	began := time.Now()
	crowd, err := host.FanOut(ctx, lab.FanOut{To: world.Host("backends"), Port: appPort, Each: each})
	if err != nil {
		return out, err
	}
	out.Holders = crowd.Clients
	progress(fmt.Sprintf("%d connections stand after %s", count*each, time.Since(began).Round(time.Second)))
	w := poolWatch{out: &out, host: host, binary: binary, dir: world.Dir(), progress: progress}
	if err := w.count(0); err != nil {
		return out, err
	}
	var members []string
	for _, a := range world.Host("backends").Addrs() {
		members = append(members, strconv.Quote(netip.AddrPortFrom(a, appPort).String()))
	}
	const chosen = "backends:\n  - {name: shop, process: {name: lab-fanout}"
	listed := fmt.Sprintf("%s, discover: {static: [%s]}}\n", chosen, strings.Join(members, ", "))
	if err := w.agent(ctx, "foreshock agent, backends listed", listed); err != nil {
		return out, err
	}
	if err := w.agent(ctx, "foreshock agent, backends observed", chosen+"}\n"); err != nil {
		return out, err
	}
	return out, w.count(1)
}

// RunPoolsThroughTraefik lets the agent, and after it programs that ask
// Traefik, watch count backends behind it with each connections.
func RunPoolsThroughTraefik(ctx context.Context, binary string, count, each int, span time.Duration, progress func(string)) (Pools, error) {
	out := Pools{Through: "traefik", Backends: count, Each: each, Span: span, Buckets: poolBuckets, Holders: 1}
	world, err := poolWorld(ctx, count, each, "balancer", "client")
	if err != nil {
		return out, err
	}
	defer world.Close()
	host, far := world.Host("balancer"), world.Host("backends")
	if _, err := far.Serve(ctx, lab.App{Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), appPort)}); err != nil {
		return out, err
	}
	software := lab.Traefik{Metrics: true}
	for _, a := range far.Addrs() {
		software.Backends = append(software.Backends, netip.AddrPortFrom(a, appPort))
	}
	traefik, err := host.Serve(ctx, software)
	if err != nil {
		return out, err
	}
	if _, err := world.Host("client").StartLoad(ctx, lab.Load{
		URL: traefik.URL(fmt.Sprintf("/sleep?ms=%d", poolHold.Milliseconds())), KeepAlive: true,
		Rate:     []lab.RatePoint{{PerSecond: float64(count*each) / poolHold.Seconds()}},
		Duration: lab.MaxLoad, Timeout: 2 * poolHold,
	}); err != nil {
		return out, err
	}
	progress(fmt.Sprintf("%d requests of %s each fill the pool", count*each, poolHold))
	w := poolWatch{out: &out, host: host, binary: binary, dir: world.Dir(), balancer: traefik.PID(), progress: progress}
	if err := w.fill(ctx); err != nil {
		return out, err
	}
	return out, w.beside(ctx)
}

// beside measures all readers one after the other, and nobody before and after.
func (w *poolWatch) beside(ctx context.Context) error {
	program, err := lab.TraefikProgram()
	if err != nil {
		return err
	}
	api := fmt.Sprintf("http://127.0.0.1:%d", lab.TraefikAPI)
	told := fmt.Sprintf("backends:\n  - {name: shop, process: {exe: %q}, discover: {traefik: {api: %q}}, status: 1s}\n", program, api)
	for _, step := range []func() error{
		func() error { return w.count(0) },
		func() error { return w.quiet(ctx) },
		func() error { return w.agent(ctx, "foreshock agent, nothing configured", "") },
		func() error { return w.agent(ctx, "foreshock agent, asks Traefik's API too", told) },
		func() error {
			return w.poller(ctx, "Traefik's API polled", lab.Poller{URLs: []string{api + "/api/http/services", api + "/api/http/routers"}})
		},
		func() error {
			return w.poller(ctx, "Traefik's metrics scraped", lab.Poller{URLs: []string{api + "/metrics"}, Metrics: true})
		},
		func() error { return w.quiet(ctx) },
		func() error { return w.count(1) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// poolWatch measures readers of one host.
type poolWatch struct {
	out         *Pools
	host        *lab.Host
	binary, dir string
	balancer    int // its process; zero for none
	progress    func(string)
}

// count notes how many sockets stand, before (0) or after (1) the readers.
func (w *poolWatch) count(when int) error {
	stat, err := w.host.SockStat()
	w.out.Sockets[when] = stat.InUse
	return err
}

// fill waits until both sides of the balancer have their connections.
func (w *poolWatch) fill(ctx context.Context) error {
	// Requests that end at the moment, and the next ones that do not come to
	// the same millisecond, are the missing hundredth.
	want := 2 * w.out.Backends * w.out.Each * 99 / 100
	stand, err := until(ctx, poolHold+poolWait, time.Second, func() (bool, error) {
		err := w.count(0)
		return w.out.Sockets[0] >= want, err
	})
	if err == nil && !stand {
		err = fmt.Errorf("only %d of %d sockets stand at the balancer: one process may not open as many; ask for fewer with -count or -each", w.out.Sockets[0], want)
	}
	return err
}

func (w *poolWatch) quiet(ctx context.Context) error {
	w.progress(fmt.Sprintf("nobody reads for %s", w.out.Span))
	u, err := use(ctx, "nobody", w.balancer, w.out.Span, func() error { return nil })
	w.out.Quiet = append(w.out.Quiet, u.CPU)
	return err
}

// poller measures a program that asks the balancer each second.
func (w *poolWatch) poller(ctx context.Context, name string, p lab.Poller) error {
	w.progress(fmt.Sprintf("%s each second for %s", name, w.out.Span))
	run, err := w.host.StartPoller(ctx, p)
	if err != nil {
		return err
	}
	r, err := w.reader(ctx, name, run.PID(), run.Check)
	if err != nil {
		return err
	}
	w.out.Readers = append(w.out.Readers, r)
	return run.Stop()
}

// reader measures one process, and the balancer meanwhile.
func (w *poolWatch) reader(ctx context.Context, name string, pid int, each func() error) (PoolReader, error) {
	var r PoolReader
	share := func() (cpu time.Duration, bytes int64, err error) {
		if w.balancer != 0 {
			if cpu, err = lab.CPUTime(w.balancer); err != nil {
				return 0, 0, err
			}
		}
		bytes, err = bytesRead(pid)
		return cpu, bytes, err
	}
	began := time.Now()
	cpu, bytes, err := share()
	if err != nil {
		return r, err
	}
	if r.Usage, err = use(ctx, name, pid, w.out.Span, each); err != nil {
		return r, err
	}
	cpuAfter, bytesAfter, err := share()
	if err != nil {
		return r, err
	}
	took := time.Since(began)
	r.Balancer = float64(cpuAfter-cpu) / float64(took)
	r.Read = float64(bytesAfter-bytes) / took.Seconds()
	return r, nil
}

// bytesRead is what a process has read from files, pipes and connections. What
// it receives by netlink is not among it.
// Kernel: /proc/PID/io, rchar; fs/read_write.c adds what read and pread return,
// not recvmsg.
func bytesRead(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, fmt.Errorf("read what process %d has read: %w", pid, err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, found := strings.CutPrefix(line, "rchar:"); found {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("read what process %d has read: no rchar in %.80q", pid, raw)
}

// agent measures the agent, once it has found all backends.
func (w *poolWatch) agent(ctx context.Context, name, config string) error {
	a, err := startAgent(ctx, w.host, w.binary, w.dir, config)
	if err != nil {
		return err
	}
	defer a.stop()
	var sight Sight
	if sight.Found, err = a.findBackends(ctx, w.out.Backends); err != nil {
		return err
	}
	sight.FoundIn = time.Since(a.Started)
	w.progress(fmt.Sprintf("%s: %d of %d backends after %s; the next %s count", name, sight.Found, w.out.Backends, sight.FoundIn.Round(time.Second), w.out.Span))
	var tiers lookTiers
	r, err := w.reader(ctx, name, a.PID(), func() error {
		var now looksAnswer
		err := a.Get(ctx, "/api/v1/looks", &now)
		tiers.add(now)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, a.Said())
	}
	var answer incidentsAnswer
	if err := a.Get(ctx, "/api/v1/incidents", &answer); err != nil {
		return err
	}
	sight.Incidents = map[string]int{}
	for _, i := range answer.Incidents {
		if id, known := scope.Parse(i.Scope); known && id.Namespace != "" {
			continue // of another world of this machine
		}
		sight.Incidents[i.Cause+" "+i.Peak]++
	}
	sight.FocusAge, sight.FullAge = tiers.ages["focus"], tiers.ages["full"]
	r.Agent, r.Netlink = &sight, float64(tiers.bytes)/w.out.Span.Seconds()
	w.out.Readers = append(w.out.Readers, r)
	return nil
}

// findBackends waits until the agent knows so many backends, and returns how
// many it knows after poolWait at the latest: fewer are a result, not a failure.
func (a *agent) findBackends(ctx context.Context, want int) (found int, err error) {
	_, err = until(ctx, time.Until(a.Started.Add(poolWait)), time.Second, func() (bool, error) {
		var answer backendsAnswer
		if err := a.Get(ctx, "/api/v1/backends", &answer); err != nil {
			return false, err
		}
		found = 0
		for _, g := range answer.Groups {
			found += len(g.Backends)
		}
		return found >= want, nil
	})
	return found, err
}

// looksAnswer is what is needed of /api/v1/looks for the cost of looking.
type looksAnswer struct {
	Looks []tierAnswer `json:"looks"`
}

type tierAnswer struct {
	Tier    string   `json:"tier"`
	Age     *float64 `json:"age_seconds"` // nil: never seen
	Bytes   int64    `json:"bytes"`       // of the last look
	Looks   uint64   `json:"looks"`
	Failed  uint64   `json:"failed"`
	Sockets int      `json:"sockets"`
}

// lookTiers sums up what the agent says of its looks, answer after answer.
type lookTiers struct {
	seen  map[string]uint64  // how many looks a tier had made
	ages  map[string]float64 // the greatest
	bytes int64              // since the first answer, as if looks since the last answer were as big as the last one
}

func (t *lookTiers) add(a looksAnswer) {
	if t.seen == nil {
		t.seen, t.ages = map[string]uint64{}, map[string]float64{}
	}
	for _, l := range a.Looks {
		if before, known := t.seen[l.Tier]; known {
			t.bytes += int64(l.Looks-before) * l.Bytes
		}
		t.seen[l.Tier] = l.Looks
		if l.Age != nil {
			t.ages[l.Tier] = max(t.ages[l.Tier], *l.Age)
		}
	}
}
