package lab_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestRouter: a router forwards both protocols, and treats one host behind it as
// it is told and the others as before.
func TestRouter(t *testing.T) {
	t.Parallel()
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{
		{Name: "router"},
		{Name: "bridged"},
		{Name: "client", Router: "router", Addrs: []netip.Addr{netip.MustParseAddr("10.70.0.1"), netip.MustParseAddr("fd77::1")}},
		{Name: "east", Router: "router", Addrs: []netip.Addr{netip.MustParseAddr("10.71.1.1"), netip.MustParseAddr("fd77:1::1")}},
		{Name: "west", Router: "router", Addrs: []netip.Addr{netip.MustParseAddr("10.72.1.1"), netip.MustParseAddr("fd77:2::1")}},
	}})
	router, client := w.Host("router"), w.Host("client")
	const port = 80
	var places []netip.AddrPort
	for _, name := range []string{"east", "west"} {
		for _, addr := range w.Host(name).Addrs() {
			place := netip.AddrPortFrom(addr, port)
			labtest.Serve(t, w.Host(name), lab.App{Listen: place})
			places = append(places, place)
		}
	}
	bridged := labtest.Serve(t, w.Host("bridged"), lab.App{Listen: netip.AddrPortFrom(w.Host("bridged").Addr(), port)})
	places = append(places, bridged.Addr())

	// What connecting to east, IPv4 and IPv6, to west, and to the host on the
	// bridge ends in.
	connects := func() []string {
		var ends []string
		for _, place := range places {
			// Beyond the second SYN, whose answer may be the one that counts.
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			conn, err := client.Dial(ctx, "tcp", place.String())
			cancel()
			ends = append(ends, end(err))
			if err == nil {
				_ = conn.Close()
			}
		}
		return ends
	}
	treat := func(treatment lab.Treatment) func() error {
		return func() error { return router.Treat(t.Context(), w.Host("east"), treatment) }
	}
	for _, test := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"nothing is wrong", func() error { return nil }, []string{"", "", "", "", ""}},
		{"blackhole", treat(lab.Treatment{Loss: 100}), []string{"timeout", "timeout", "", "", ""}},
		{"unreachable", treat(lab.Treatment{Reject: lab.RejectUnreachable}), []string{"unreachable", "unreachable", "", "", ""}},
		{"reset", treat(lab.Treatment{Reject: lab.RejectReset}), []string{"refused", "refused", "", "", ""}},
		{"no loss", treat(lab.Treatment{}), []string{"", "", "", "", ""}},
		{"unplugged", func() error { return router.Unplug(t.Context(), w.Host("east")) }, []string{"timeout or unreachable", "timeout or unreachable", "", "", ""}},
	} {
		labtest.Need(t, test.do())
		got := connects()
		for i, end := range got {
			if test.want[i] == "timeout or unreachable" && (end == "timeout" || end == "unreachable") {
				got[i] = test.want[i]
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: connecting to %v (-want +got):\n%s", test.name, places, diff)
		}
	}
	if err := router.Treat(t.Context(), w.Host("bridged"), lab.Treatment{}); err == nil {
		t.Error("a host that is not behind the router was treated")
	}
	if err := router.Treat(t.Context(), w.Host("west"), lab.Treatment{Loss: 101}); err == nil {
		t.Error("a loss of 101 percent was accepted")
	}
	if err := router.Treat(t.Context(), w.Host("west"), lab.Treatment{Reject: "tarpit"}); err == nil {
		t.Error("an unknown rejection was accepted")
	}
}

// end is what connecting ended in; "" for a connection.
func end(err error) string {
	var netErr net.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	}
	return err.Error()
}
