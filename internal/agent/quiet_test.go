package agent

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestQuietPulse: where nothing moves a pulse does not ask for the listeners
// again, and yet no signal grows stale; whatever happens shows with the next.
func TestQuietPulse(t *testing.T) {
	w, _, address, _ := shop(t)
	inside := func(do func() error) {
		t.Helper()
		if err := w.Host("shop").Do(do); err != nil {
			t.Fatal(err)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var p *Pipeline
	inside(func() (err error) {
		p, err = ownPipeline(config.Default(), observe.SockDiag)
		return err
	})
	defer p.Close()

	now := start
	type pulse struct {
		Asked     bool // the kernel for the listeners
		Listeners int
		Depth     float64 // of the one that nobody accepts from
	}
	look := func(later time.Duration) pulse {
		t.Helper()
		now = now.Add(later)
		_, view, err := tick(p, now, tcp.Pulse)
		if err != nil {
			t.Fatal(err)
		}
		last := p.status[tcp.Pulse].last
		if !last.Begin.Equal(now) || !last.Judgeable() {
			t.Errorf("look %+v, want one of %s that may be judged", last, now)
		}
		out := pulse{Asked: last.Bytes > 0, Listeners: last.Sockets}
		for i := range view.Scopes {
			if s := &view.Scopes[i]; s.Scope.Kind == scope.KindService || s.Scope.Kind == scope.KindRest {
				if depth := s.Get(measure.QueueDepth); depth.Validity == measure.Known {
					out.Depth += depth.Value
					if !depth.Seen.Equal(now) {
						t.Errorf("the queue of %s was seen %s ago", s.Scope, now.Sub(depth.Seen))
					}
				}
			}
		}
		return out
	}
	check := func(what string, got, want pulse) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", what, diff)
		}
	}
	const soon = observe.PulseInterval
	check("the first pulse", look(0), pulse{true, 1, 0})
	check("nothing moved", look(soon), pulse{false, 1, 0})
	check("nothing moved for long", look(listenEvery), pulse{true, 1, 0})
	check("nor again", look(soon), pulse{false, 1, 0})

	for i, network := range []string{"tcp4", "tcp6"} {
		var another net.Listener
		inside(func() (err error) {
			another, err = net.Listen(network, map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network])
			return err
		})
		defer another.Close()
		check("a listener of "+network+" came", look(soon), pulse{true, 2 + i, 0})
		check("and stayed", look(soon), pulse{false, 2 + i, 0})
	}

	var client net.Conn
	inside(func() (err error) {
		client, err = net.Dial("tcp", address.String())
		return err
	})
	defer client.Close()
	check("a client came", look(soon), pulse{true, 3, 1})
	check("and waits: its going needs no segment", look(soon), pulse{true, 3, 1})
}
