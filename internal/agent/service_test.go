package agent

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// toThree sends the connections to a service address to three servers in turn.
const toThree = `table ip shop {
	chain out {
		type nat hook output priority -100;
		ip daddr 10.96.0.1 tcp dport 80 dnat to numgen inc mod 3 map { 0 : 127.0.0.2, 1 : 127.0.0.3, 2 : 127.0.0.4 }
	}
}
`

// TestServiceAddress: a backend that is a service address says what is behind
// it, and that they are judged together.
func TestServiceAddress(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is missing: install nftables")
	}
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "shop"}}})
	exe := self(t)
	vip := netip.MustParseAddrPort("10.96.0.1:80")
	var servers []netip.AddrPort
	var p *Pipeline
	errNoNAT := errors.New("this kernel translates no addresses")
	err := w.Host("shop").Do(func() error {
		for _, c := range []struct {
			input string
			args  []string
		}{
			{"", []string{"ip", "route", "add", "10.96.0.0/24", "dev", "lo", "src", "127.0.0.1"}},
			{toThree, []string{"nft", "-f", "-"}},
		} {
			cmd := exec.CommandContext(t.Context(), c.args[0], c.args[1:]...) // in this thread's namespace
			cmd.Stdin = strings.NewReader(c.input)
			if out, err := cmd.CombinedOutput(); err != nil {
				return errors.Join(errNoNAT, errors.New(string(out)))
			}
		}
		for _, at := range []string{"127.0.0.2:80", "127.0.0.3:80", "127.0.0.4:80"} {
			ln, err := net.Listen("tcp4", at)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = ln.Close() })
			servers = append(servers, netip.MustParseAddrPort(at))
		}
		for range 6 {
			c, err := net.Dial("tcp4", vip.String())
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = c.Close() })
		}
		cfg := config.Default()
		cfg.Backends = []config.Backends{{Name: "pool", Process: config.Process{Exe: exe}}}
		var err error
		if p, err = ownPipeline(cfg, observe.Auto); err != nil {
			return err
		}
		t.Cleanup(func() { _ = p.Close() })
		// A process is where its main thread is, which need not be this one.
		if p.place.namespace, err = netns.Of("/proc", os.Getpid()); err != nil {
			return err
		}
		if _, _, err := tick(p, start, tcp.Pulse); err != nil {
			return err
		}
		// A look that is interrupted finds nothing.
		for i := 1; i <= 40 && !slices.ContainsFunc(p.finder.backends, func(b scope.Backend) bool { return len(b.Behind) > 0 }); i++ {
			if _, _, err := tick(p, start.Add(time.Duration(i)*peersEvery), tcp.Full); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errNoNAT) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.finder.backends, func(b scope.Backend) bool { return b.Group == "pool" && b.Remote == vip })
	if i < 0 {
		t.Fatalf("no backend at %s: %+v", vip, p.finder.backends)
	}
	if b := p.finder.backends[i]; !slices.Equal(b.Behind, servers) || !strings.Contains(b.Limit, "a service address") {
		t.Errorf("behind it %v, limit %q; want %v", b.Behind, b.Limit, servers)
	}
	if !slices.ContainsFunc(p.limits(nil), func(l api.Limit) bool { return l.Subject == "backend/pool/"+vip.String() }) {
		t.Error("the limits do not say that they are judged together")
	}
}
