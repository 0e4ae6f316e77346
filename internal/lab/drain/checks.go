package drain

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// checks is what people's own checks said in one round.
type checks struct {
	At time.Time
	// Digs are what dig said of each name server, by its name.
	Digs map[string]lab.Digged
	// Probes are blackbox_exporter's, by name: whether each succeeded.
	Probes map[string]bool
}

// The probes, as they are usually set up: the new site's health at its address, as
// a load balancer asks it; the site by its name, through the host's own resolver;
// and, of each authoritative server and honest resolver, that it answers with the
// new address.
const (
	probeHealth = "health of the new address"
	probeSite   = "the site by its name"
	probeDNS    = "dns "
)

// green reports whether every probe succeeded.
func (c checks) green() bool {
	for _, ok := range c.Probes {
		if !ok {
			return false
		}
	}
	return len(c.Probes) > 0
}

// beside asks all that is not an agent.
type beside struct {
	st       *stage
	blackbox *http.Client // nil where it is not installed
	asking   sync.WaitGroup

	mu   sync.Mutex
	said []checks
}

const blackboxAddress = "127.0.0.1:9115"

// startChecks starts blackbox_exporter on the clients' host. Where it is not
// installed its probes are left out.
func (st *stage) startChecks(ctx context.Context) (*beside, error) {
	b := &beside{st: st}
	dir, err := st.dir("blackbox")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "blackbox.yml")
	const modules = `modules:
  http: {prober: http, timeout: 3s, http: {preferred_ip_protocol: ip4}}
  dns: {prober: dns, timeout: 2s, dns: {preferred_ip_protocol: ip4, query_name: %[1]s, query_type: A, validate_answer_rrs: {fail_if_not_matches_regexp: ['\s%[2]s$']}}}
`
	text := fmt.Appendf(nil, modules, Site, regexp.QuoteMeta(newAddr.String()))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	web, system := st.world.Host("web"), netip.Addr{}
	if r, found := resolver(systemOf("web")); found {
		system = r.Addr
	}
	cmd, err := web.Resolving(ctx, dir, []netip.Addr{system}, "prometheus-blackbox-exporter", "--config.file="+file, "--web.listen-address="+blackboxAddress)
	if err != nil {
		return nil, err
	}
	program, err := cmd.Launch()
	if err != nil {
		return nil, err
	}
	client := web.Client()
	client.Timeout = 4 * time.Second
	for range 50 {
		if _, err = lab.Get(ctx, client, "http://"+blackboxAddress+"/-/healthy"); err == nil {
			b.blackbox = client
			return b, nil
		}
		if program.Check() != nil {
			return b, nil // it is not installed
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("blackbox_exporter does not answer: %w: %s", err, program.Said())
}

// round asks everybody, without waiting for answers.
func (b *beside) round(ctx context.Context, at time.Time) {
	b.asking.Go(func() {
		c := checks{At: at, Digs: map[string]lab.Digged{}, Probes: map[string]bool{}}
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, r := range Zoo() {
			if b.st.servers[r.Name] == nil {
				continue
			}
			all.Go(func() {
				said, err := b.st.world.Host("web").Dig(ctx, r.Addr, Site)
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				c.Digs[r.Name] = said
			})
		}
		for name, query := range b.probes() {
			all.Go(func() {
				raw, err := lab.Get(ctx, b.blackbox, "http://"+blackboxAddress+"/probe?"+query.Encode())
				mu.Lock()
				defer mu.Unlock()
				c.Probes[name] = err == nil && succeeded.Match(raw)
			})
		}
		all.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, c)
	})
}

var succeeded = regexp.MustCompile(`(?m)^probe_success 1$`)

// probes are what blackbox_exporter is asked for, by name.
func (b *beside) probes() map[string]url.Values {
	if b.blackbox == nil {
		return nil
	}
	query := func(module, target string) url.Values {
		return url.Values{"module": {module}, "target": {target}}
	}
	out := map[string]url.Values{
		probeHealth: query("http", fmt.Sprintf("http://%v/health", newAddr)),
		probeSite:   query("http", "http://"+Site+"/"),
	}
	for _, r := range Zoo() {
		if b.st.servers[r.Name] != nil && (r.Kind == KindServer || r.Kind == KindHonest) && !slices.Contains(b.st.cell.Silent, r.Name) {
			out[probeDNS+r.Name] = query("dns", r.Addr.String())
		}
	}
	return out
}

// done waits for the last answers and returns all, in order.
func (b *beside) done() []checks {
	b.asking.Wait()
	if b.blackbox != nil {
		b.blackbox.CloseIdleConnections()
	}
	slices.SortFunc(b.said, func(x, y checks) int { return x.At.Compare(y.At) })
	return b.said
}
