package agent

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// silent are DNS servers that take questions and never answer one.
type silent struct {
	addresses []string
	mu        sync.Mutex
	asked     map[string]bool
	gaveUp    chan struct{} // one of them is not waited for any more
}

func newSilent(t *testing.T, n int) *silent {
	t.Helper()
	s := &silent{asked: map[string]bool{}, gaveUp: make(chan struct{})}
	var once sync.Once
	for i := range n {
		udp, err := net.ListenPacket("udp", fmt.Sprintf("127.9.3.%d:0", i+1))
		labtest.Need(t, err)
		at := udp.LocalAddr().String()
		tcp, err := net.Listen("tcp", at)
		labtest.Need(t, err)
		t.Cleanup(func() { _ = udp.Close(); _ = tcp.Close() })
		s.addresses = append(s.addresses, at)
		go func() {
			buffer := make([]byte, 512)
			for {
				if _, _, err := udp.ReadFrom(buffer); err != nil {
					return
				}
				s.mu.Lock()
				s.asked[at] = true
				s.mu.Unlock()
			}
		}()
		go func() {
			for {
				conn, err := tcp.Accept() // the last try
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 2))
				for err == nil {
					_, err = conn.Read(make([]byte, 512)) // until it is given up
				}
				once.Do(func() { close(s.gaveUp) })
				_ = conn.Close()
			}
		}()
	}
	return s
}

// TestSilentResolvers: servers that never answer keep the others from nothing:
// 40 of them have been asked before the first is given up.
func TestSilentResolvers(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), drainToken)
	file := filepath.Join(dir, "foreshock.yaml")
	write(t, file, fmt.Sprintf("token: {file: %s}\nobserve: {namespaces: host, cpu_budget: 20%%}\n", filepath.Join(dir, "token")))
	address, _ := running(t, Options{Load: from(file), StateDir: filepath.Join(dir, "state")})
	s := newSilent(t, 40)
	for i, some := range [][]string{s.addresses[:20], s.addresses[20:]} {
		request := api.DrainRequest{Name: fmt.Sprintf("n%d.example", i), Old: []netip.Addr{netip.MustParseAddr("127.9.3.101")}, New: []netip.Addr{netip.MustParseAddr("127.9.3.102")}, Resolvers: some, By: "anna"}
		if got, status := send[api.Problem](t, "POST", address, "/api/v1/drains", request); status != http.StatusOK {
			t.Fatalf("start: %d %+v", status, got)
		}
	}
	select {
	case <-s.gaveUp:
	case <-time.After(time.Minute):
		t.Fatal("none was given up")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) != 40 {
		t.Errorf("%d of 40 were asked before the first was given up", len(s.asked))
	}
}
