package agent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// spoilt reads nothing: it fails, or is cut short.
type spoilt struct {
	observe.Reader
	look tcp.Look
	err  error
}

func (s spoilt) Read(tcp.Request, func([]tcp.Socket)) (tcp.Look, error) { return s.look, s.err }

// TestServicesOutliveASpoiltPulse: a reload right after a pulse that failed, or
// was not whole, works out the services from the last one that was.
func TestServicesOutliveASpoiltPulse(t *testing.T) {
	address := stuckListener(t, 16)
	for _, tt := range []struct {
		name   string
		spoilt spoilt
	}{
		{"failed", spoilt{err: errors.New("interrupted")}},
		{"cut", spoilt{look: tcp.Look{Completeness: tcp.Interrupted}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			p := pipeline(t, cfg, observe.Auto)
			found := func() bool {
				return slices.ContainsFunc(p.services, func(s scope.Service) bool { return slices.Contains(s.Listen, address) })
			}
			if _, _, err := tick(p, start, tcp.Pulse); err != nil {
				t.Fatal(err)
			}
			if !found() {
				t.Fatalf("no service at %s: %v", address, p.services)
			}
			whole := p.reader
			tt.spoilt.Reader = whole
			p.reader = tt.spoilt
			if _, _, err := tick(p, start.Add(listenEvery), tcp.Pulse); (err != nil) != (tt.spoilt.err != nil) {
				t.Fatalf("the spoilt pulse: %v", err)
			}
			if tt.spoilt.err == nil {
				p.reader = whole
			}
			p.Configure(start.Add(listenEvery+time.Millisecond), cfg)
			if !found() {
				t.Errorf("the service at %s is lost: %v", address, p.services)
			}
		})
	}
}
