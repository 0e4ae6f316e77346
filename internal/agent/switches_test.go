package agent

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

func switchOf(t *testing.T, name, old, fresh string) scope.Switch {
	t.Helper()
	s, err := scope.NewSwitch(name, []netip.Addr{netip.MustParseAddr(old)}, []netip.Addr{netip.MustParseAddr(fresh)})
	labtest.Need(t, err)
	return s
}

// TestPipelineCountsASwitch over real sockets, by both readers: at either end, and
// what begins after the TTL apart from what is older.
func TestPipelineCountsASwitch(t *testing.T) {
	for n, source := range []observe.Source{observe.Auto, observe.Procfs} {
		t.Run(string(source), func(t *testing.T) {
			of := switchOf(t, "shop.example", netip.AddrFrom4([4]byte{127, 8, 3, byte(10 + n)}).String(), netip.AddrFrom4([4]byte{127, 8, 3, byte(20 + n)}).String())
			of.TTL = 10 * time.Second
			var at []netip.AddrPort // where the old and the new address listen
			for _, a := range []netip.Addr{of.Old[0], of.New[0]} {
				l, err := net.Listen("tcp4", netip.AddrPortFrom(a, 0).String())
				labtest.Need(t, err)
				t.Cleanup(func() { _ = l.Close() })
				at = append(at, l.Addr().(*net.TCPAddr).AddrPort())
			}
			p := pipeline(t, config.Default(), source)
			p.setSwitches([]scope.Switch{of}) // expected
			old, fresh := of.ID(scope.OldSide, ""), of.ID(scope.NewSide, "")
			now := start
			var view *measure.View
			// Other tests' sockets spoil a look now and then.
			until := func(what string, done func() bool) {
				t.Helper()
				for give := now.Add(time.Minute); ; {
					_, view = run(t, p, now, 2*time.Second)
					now = now.Add(2 * time.Second)
					if view.Scope(old) != nil && done() {
						return
					}
					if now.After(give) {
						t.Fatalf("not %s: old %+v, new %+v", what, view.Scope(old).Address, view.Scope(fresh).Address)
					}
				}
			}
			for range 3 {
				connect(t, at[0])
			}
			established := func(oldWant, freshWant int) func() bool {
				return func() bool {
					o, f := view.Scope(old).Address, view.Scope(fresh).Address
					return o.Asked.Established == oldWant && o.Served.Established == oldWant && f.Asked.Established == freshWant && f.Served.Established == freshWant
				}
			}
			until("three at the old address", established(3, 0))
			if v, known := view.Scope(old).Get(measure.OldShare).Get(); known {
				t.Errorf("before the switch %v of the connections are on the old address", v)
			}
			of.Since = now
			p.setSwitches([]scope.Switch{of})
			connect(t, at[1])
			until("one at the new address", established(3, 1))
			if v := view.Scope(old).Get(measure.OldShare); v.Validity != measure.Known || v.Value != 0.75 {
				t.Errorf("%+v is the share on the old address, want 0.75", v)
			}
			// Each end of a connection is one of this host's.
			signal := func(sig measure.Signal) float64 { return view.Scope(old).Get(sig).Value }
			until("three that are older than the TTL", func() bool { return now.Sub(of.Since) > 14*time.Second && signal(measure.OlderThanTTL) == 6 })
			connect(t, at[0])
			until("one that began after it", func() bool { return signal(measure.NewAfterTTL) == 2 && signal(measure.OlderThanTTL) == 6 })
			f := p.focusFilter()
			if both := append(of.Prefixes(scope.OldSide), of.Prefixes(scope.NewSide)...); !slices.Equal(f.LocalPrefixes, both) || !slices.Equal(f.RemotePrefixes, both) || !p.drains() {
				t.Errorf("focus asks for %+v", f)
			}
			rows, over, _ := p.tallier.Held(0)
			late, served := 0, 0
			for _, row := range rows {
				if row.NewAfterTTL {
					late++
				}
				if row.Served {
					served++
				}
			}
			if len(rows) != 8 || over != 0 || late != 2 || served != 4 {
				t.Errorf("%d held, %d late, %d served: %+v", len(rows), late, served, rows)
			}
			p.setSwitches(nil)
			_, view = run(t, p, now, 2*time.Second)
			if view.Scope(old) != nil || len(p.switches) > 0 {
				t.Errorf("the switch is still there after it was ended: %+v", p.switches)
			}
		})
	}
}

// TestFocusOnManyAddresses asks for those in use, and beyond what a filter is
// worth for everything.
func TestFocusOnManyAddresses(t *testing.T) {
	p := pipeline(t, config.Default(), observe.Auto)
	many := switchOf(t, "many.example", "192.0.2.1", "198.51.100.1")
	for i := range byte(wideRegions) {
		many.New = append(many.New, netip.AddrFrom4([4]byte{198, 51, 101, i}))
	}
	p.switches = []scope.Switch{many, switchOf(t, "one.example", "192.0.2.2", "198.51.100.2")}
	old := many.ID(scope.OldSide, "")
	p.inUse[old] = true
	if f := p.focusFilter(); !slices.Equal(f.RemotePrefixes, many.Prefixes(scope.OldSide)) || !slices.Equal(f.LocalPrefixes, f.RemotePrefixes) {
		t.Errorf("beside many that nobody uses focus asks for %+v", f)
	}
	p.inUse[many.ID(scope.NewSide, "")] = true
	if f := p.focusFilter(); !f.IsZero() {
		t.Errorf("with many in use focus asks for %+v, and not for everything", f)
	}
}

// TestSwitchInAnotherNamespace: a switch is a scope there with its first
// connection; who is on the old address is told with the namespace, what
// resolvers say comes to its scope, and the recorded sockets give the tallies.
func TestSwitchInAnotherNamespace(t *testing.T) {
	w, label, address, _ := shop(t) // 17 connections fit its accept queue
	h := newHost(t, lavish(), label)
	tape := recordingtest.NewTape(recording.Limits{Size: 4000})
	h.tap(func(s measure.Step) { labtest.Need(t, tape.Step(s)) }, func(f recording.Frame) { labtest.Need(t, tape.Frame(f)) })
	of := switchOf(t, "shop.example", address.Addr().String(), "192.0.2.7")
	of.Ports, of.TTL, of.Since = []uint16{address.Port()}, time.Second, start
	other := switchOf(t, "other.example", "192.0.2.8", "192.0.2.9")
	h.SetSwitches([]scope.Switch{other, of})
	at := start
	on := func(span time.Duration) measure.View {
		t.Helper()
		_, err := play(h, at, span)
		labtest.Need(t, err)
		at = at.Add(span)
		return h.view()
	}
	old := of.ID(scope.OldSide, label)
	view := on(11 * time.Second)
	r := h.resident(label)
	switch {
	case r == nil:
		t.Fatalf("namespace %s is not read", label)
	case view.Scope(old) != nil || len(r.switches) > 0:
		t.Errorf("a switch that nobody has met there is a scope: %+v", r.switches)
	case view.Scope(of.ID(scope.OldSide, "")) == nil || view.Scope(other.ID(scope.NewSide, "")) == nil:
		t.Error("our own namespace has no scope of a switch")
	}
	const dialled, fit = 20, 17
	labtest.Need(t, w.Host("shop").Do(func() error {
		for range dialled {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Close(fd) })
			if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}); err != nil && !errors.Is(err, unix.EINPROGRESS) {
				return err
			}
		}
		return nil
	}))
	view = on(12 * time.Second)
	h.Answered([]measure.Answered{{Scope: old, Asked: 2, Stale: 1, Seen: at, Good: time.Minute}, {Scope: old.In("elsewhere"), Asked: 1}})
	view = on(4 * time.Second)
	s := view.Scope(old)
	if s == nil {
		t.Fatal("the switch that was met is no scope")
	}
	want := measure.AddressNow{
		Asked:  measure.EndNow{Connections: dialled, Established: fit, Connecting: dialled - fit},
		Served: measure.EndNow{Connections: fit, Established: fit},
	}
	got := s.Address
	for _, end := range []*measure.EndNow{&got.Asked, &got.Served} { // they are all there before and after
		end.NewPerSecond, end.Retransmitting = 0, 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("both ends (-want +got):\n%s", diff)
	}
	if asked, stale := s.Get(measure.ResolversAsked).Value, s.Get(measure.ResolversStale).Value; asked != 2 || stale != 1 {
		t.Errorf("%v resolvers asked, %v stale; want 2 and 1", asked, stale)
	}
	var there *Held
	for _, held := range h.Held() {
		if held.Switch == of.Name && held.Namespace == label {
			there = &held
		} else if len(held.Sockets) > 0 {
			t.Errorf("held elsewhere: %+v", held)
		}
	}
	if there == nil || len(there.Sockets) != dialled+fit || there.Over != 0 || there.ID != r.space.ID {
		t.Fatalf("held there: %+v", there)
	}
	waiting := 0
	for _, row := range there.Sockets {
		if row.State == tcp.SynSent && row.Remote == address && !row.Served && row.Inode != 0 && row.Cookie != 0 {
			waiting++
		}
	}
	if waiting != dialled-fit {
		t.Errorf("%d wait for the handshake, want %d", waiting, dialled-fit)
	}
	r.schedule.SetIdle(true) // as when all have gone, and only pulses look
	if slices.ContainsFunc(h.Held(), func(held Held) bool { return held.Namespace == label }) {
		t.Error("of a namespace where nobody is left the last look is told for ever")
	}
	tape.End()
	met := false
	labtest.Need(t, recordingtest.Recount(tape.Records(), func(step measure.Step, counted measure.Tallies) error {
		if diff := cmp.Diff(step.Tallies, counted, asRecorded); diff != "" {
			return errors.New("(-recorded +counted again):\n" + diff)
		}
		for i := range counted.Scopes {
			met = met || counted.Scopes[i].Scope == old && counted.Scopes[i].Address.Asked.Established == fit
		}
		return nil
	}))
	if !met {
		t.Error("what was counted again does not have the switch")
	}
}
