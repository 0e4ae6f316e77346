//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// App is the lab's own application: /sleep?ms=N answers "ok" after N
// milliseconds, any other path after Service. A worker of a server in front
// waits as long, which is what occupies it.
type App struct {
	// Listen is where it answers; the zero value is a free port of
	// 127.0.0.1.
	Listen netip.AddrPort
	// Service is how long a request without a time of its own takes.
	Service time.Duration
}

// maxService bounds what a request may ask for.
const maxService = 10 * time.Minute

type appReport struct{ Listen netip.AddrPort }

func (a App) plan(place) (plan, error) {
	if a.Service < 0 || a.Service > maxService {
		return plan{}, fmt.Errorf("service time %v is not within 0 to %v", a.Service, maxService)
	}
	if !a.Listen.IsValid() {
		a.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	return plan{role: "app", config: a, listen: a.Listen}, nil
}

// runApp is the child that serves.
func runApp(ctx context.Context, config json.RawMessage, ready func(any) error) error {
	var app App
	if err := json.Unmarshal(config, &app); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if _, err := descriptorLimit(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", app.Listen.String())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(app.serve), ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := ready(appReport{Listen: listener.Addr().(*net.TCPAddr).AddrPort()}); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (a App) serve(w http.ResponseWriter, r *http.Request) {
	service := a.Service
	if r.URL.Path == "/sleep" {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		service = time.Duration(ms) * time.Millisecond
		if err != nil || service < 0 || service > maxService {
			http.Error(w, fmt.Sprintf("ms=%q is not a number of milliseconds up to %v", r.URL.Query().Get("ms"), maxService), http.StatusBadRequest)
			return
		}
	}
	timer := time.NewTimer(service)
	defer timer.Stop()
	select {
	case <-timer.C:
		_, _ = io.WriteString(w, "ok\n")
	case <-r.Context().Done(): // the client gave up
	}
}
