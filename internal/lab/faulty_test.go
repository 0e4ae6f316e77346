package lab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestAppLeaks: every second connection stays in CLOSE_WAIT, and once the
// descriptors are used up nobody is served.
func TestAppLeaks(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
	server, client := w.Host("server"), w.Host("client")
	const descriptors = 64
	app := labtest.Serve(t, server, lab.App{Listen: netip.AddrPortFrom(server.Addr(), 80), LeakEvery: 2, Descriptors: descriptors})
	ask := func(n int) map[lab.Outcome]int {
		run, err := client.StartLoad(t.Context(), lab.Load{
			URL: app.URL("/"), Rate: []lab.RatePoint{{PerSecond: 100}}, Duration: time.Second * time.Duration(n) / 100, Timeout: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		records, err := run.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return lab.Summarize(records, time.Minute).Outcomes
	}
	if diff := cmp.Diff(map[lab.Outcome]int{lab.OK: 40}, ask(40)); diff != "" {
		t.Errorf("while descriptors last (-want +got):\n%s\n%s", diff, app.Log())
	}
	if got := countProc(t, server)["08"]; got != 20 {
		t.Errorf("%d connections in CLOSE_WAIT after 40 requests, want 20", got)
	}
	if got := ask(3 * descriptors); got[lab.Timeout] == 0 {
		t.Errorf("requests past %d descriptors ended as %v, want time-outs", descriptors, got)
	}
}

// TestFloodSYN: a flood fills the backlog with half-open connections, and
// clients are served all the same, by cookies.
func TestFloodSYN(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
	server := w.Host("server")
	if err := server.SetSysctl("net.ipv4.tcp_syncookies", "1"); err != nil {
		t.Fatal(err)
	}
	// A small queue: the kernel takes the lesser of it and of the backlog.
	if err := server.SetSysctl("net.core.somaxconn", "32"); err != nil {
		t.Fatal(err)
	}
	app := labtest.Serve(t, server, lab.App{Listen: netip.AddrPortFrom(server.Addr(), 80)})
	if err := server.FloodSYN(t.Context(), app.Addr(), 500, time.Second); err != nil {
		t.Fatal(err)
	}
	if got := countProc(t, server)["03"]; got == 0 || got > 2*32 {
		t.Errorf("%d half-open connections after 500 SYNs to a backlog of 32", got)
	}
	run, err := server.StartLoad(t.Context(), lab.Load{URL: app.URL("/"), Rate: []lab.RatePoint{{PerSecond: 20}}, Duration: time.Second / 2})
	if err != nil {
		t.Fatal(err)
	}
	records, err := run.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[lab.Outcome]int{lab.OK: 10}, lab.Summarize(records, time.Minute).Outcomes); diff != "" {
		t.Errorf("requests during the flood (-want +got):\n%s", diff)
	}
	for name, rate := range map[string]int{"no rate": 0, "too many": 2 * lab.MaxFlood} {
		if err := server.FloodSYN(t.Context(), app.Addr(), rate, time.Second); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
