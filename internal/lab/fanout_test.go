package lab_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

func TestFanOut(t *testing.T) {
	servers := []netip.Addr{netip.MustParseAddr("10.78.0.1"), netip.MustParseAddr("10.78.0.2"), netip.MustParseAddr("10.78.0.3")}
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "clients"}, {Name: "servers", Addrs: servers}}})
	clients, far := w.Host("clients"), w.Host("servers")
	run, err := clients.FanOut(t.Context(), lab.FanOut{To: far, Port: 8080, Each: 100})
	if err != nil {
		t.Fatal(err)
	}
	if run.Clients != 1 {
		t.Errorf("300 connections in %d processes", run.Clients)
	}
	if diff := cmp.Diff(counts{"01": 300}, countProc(t, clients)); diff != "" {
		t.Errorf("the clients' sockets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(counts{"01": 300, "0A": 1}, countProc(t, far)); diff != "" {
		t.Errorf("the servers' sockets (-want +got):\n%s", diff)
	}
	if err := run.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := countProc(t, far); got["01"] != 0 {
		t.Errorf("after Stop the servers have %v", got)
	}
	for name, f := range map[string]lab.FanOut{
		"no far host": {Port: 8080, Each: 1}, "itself": {To: clients, Port: 8080, Each: 1},
		"no port": {To: far, Each: 1}, "none": {To: far, Port: 8080}, "too many": {To: far, Port: 8080, Each: lab.MaxPopulation},
	} {
		if _, err := clients.FanOut(t.Context(), f); err == nil {
			t.Errorf("a fan-out with %s is accepted", name)
		}
	}
}

// TestFanOutFails: clients that cannot start leave no server behind.
func TestFanOutFails(t *testing.T) {
	gone := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "clients"}}})
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "servers"}}})
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	far := w.Host("servers")
	if _, err := gone.Host("clients").FanOut(t.Context(), lab.FanOut{To: far, Port: 8080, Each: 10}); err == nil {
		t.Fatal("a fan-out from a host that is gone")
	}
	if diff := cmp.Diff(counts{}, countProc(t, far)); diff != "" {
		t.Errorf("the servers' sockets afterwards (-want +got):\n%s", diff)
	}
}

// TestPoller: it asks until it is stopped, or until an answer makes no sense.
func TestPoller(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
	h := w.Host("server")
	var listener net.Listener
	if err := h.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "127.0.0.1:8080")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string) // the handler waits for the test
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, map[string]string{"/json": "[1]", "/metrics": "up 1\n"}[r.URL.Path])
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	const base = "http://127.0.0.1:8080"
	for _, tt := range []struct {
		name  string
		p     lab.Poller
		paths []string
	}{
		{"a dashboard", lab.Poller{URLs: []string{base + "/json", base + "/json"}, Every: time.Millisecond}, []string{"/json", "/json", "/json", "/json"}},
		{"a scraper", lab.Poller{URLs: []string{base + "/metrics"}, Every: time.Millisecond, Metrics: true}, []string{"/metrics", "/metrics"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []string)
			go func() {
				var paths []string
				for range tt.paths {
					paths = append(paths, <-asked)
				}
				got <- paths
			}()
			run, err := h.StartPoller(t.Context(), tt.p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.paths, <-got); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if err := errors.Join(run.Check(), run.Stop()); err != nil {
				t.Error(err)
			}
			if run.Check() == nil {
				t.Error("a poller that was stopped is said to run")
			}
		})
	}
	go func() {
		for range asked {
		}
	}()
	for name, p := range map[string]lab.Poller{
		"no URLs": {}, "an answer that is no JSON": {URLs: []string{base + "/metrics"}},
		"no samples": {URLs: []string{base + "/other"}, Metrics: true}, "a negative interval": {URLs: []string{base + "/json"}, Every: -1},
	} {
		if _, err := h.StartPoller(t.Context(), p); err == nil {
			t.Errorf("a poller with %s is accepted", name)
		}
	}
	close(asked)
}
