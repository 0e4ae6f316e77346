package detect

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/observe/balancer"
)

// opinion is what a balancer says of its backends, read as its operator would.
type opinion struct {
	every time.Duration
	// down returns the addresses that it holds to be down, within opinionWait.
	down func(ctx context.Context, p *pool) ([]netip.AddrPort, error)
}

// opinionWait bounds the wait for an opinion.
const opinionWait = 5 * time.Second

var (
	haproxyStat = opinion{200 * time.Millisecond, func(ctx context.Context, p *pool) ([]netip.AddrPort, error) {
		return down(balancer.HAProxy(ctx, p.running().StatsSocket()))
	}}
	traefikAPI = opinion{500 * time.Millisecond, func(ctx context.Context, p *pool) ([]netip.AddrPort, error) {
		return down(balancer.Traefik(ctx, fmt.Sprintf("http://127.0.0.1:%d", lab.TraefikAPI), p.host.Dial))
	}}
	nginxLog  = logged("temporarily disabled")
	apacheLog = logged("disabling worker")
)

// logged is the opinion of a balancer that only writes it down: a line of its
// error log with these words names the backend.
func logged(words string) opinion {
	return opinion{200 * time.Millisecond, func(_ context.Context, p *pool) ([]netip.AddrPort, error) {
		raw, err := os.ReadFile(filepath.Join(p.running().Dir(), "error.log"))
		if err != nil {
			return nil, err
		}
		return parseLog(raw, words, p), nil
	}}
}

func parseLog(raw []byte, words string, p *pool) []netip.AddrPort {
	var down []netip.AddrPort
	for line := range bytes.Lines(raw) {
		if !bytes.Contains(line, []byte(words)) {
			continue
		}
		for _, m := range p.members {
			if bytes.Contains(line, []byte(m.addr().String())) {
				down = append(down, m.addr())
			}
		}
	}
	return down
}

// down are the members that a balancer holds to be down.
func down(answer balancer.Answer, err error) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	for _, m := range answer.Members {
		if m.Status == balancer.Down {
			addrs = append(addrs, m.Address)
		}
	}
	return addrs, err
}

// running is the balancer of now.
func (p *pool) running() *lab.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.balancer
}
