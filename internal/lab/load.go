package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"
)

// Load is an open loop: requests begin when they are due, however the earlier
// ones fare. It runs in a process of its own inside the client's namespace.
type Load struct {
	// URL is an http URL with a literal address.
	URL string
	// Rate is the ramp of arrivals, at least one point.
	Rate []RatePoint
	// Duration is how long requests arrive; those in flight then still end.
	Duration time.Duration
	// Poisson draws arrivals at random, else they are evenly spaced.
	Poisson bool
	// Seed of the random arrivals: one seed, one sequence.
	Seed uint64
	// Timeout is the client's patience for connecting and answer together.
	// Zero is 10 s.
	Timeout time.Duration
	// Body is the size of each request's body, bytes; with one the method is
	// POST.
	Body int
	// KeepAlive reuses connections; else each request has a fresh one.
	KeepAlive bool
	// Connections, with KeepAlive, are opened before the first request and used
	// in turn, the one that rested longest first, as in a pool of fixed size; at
	// most 1000. Zero opens one when none is free, and uses the last one again
	// first, as most clients do.
	Connections int
	// FreshEvery is the N of requests on a connection of their own, which is
	// closed with the answer: each Nth. Zero is none.
	FreshEvery int
}

// maxRequests bounds the requests of a load.
const maxRequests = 1_000_000

// maxBody bounds the body of a request.
const maxBody = 64 << 20

// withDefaults checks l and fills in what is optional.
func (l Load) withDefaults() (Load, error) {
	u, err := url.Parse(l.URL)
	if err != nil {
		return l, fmt.Errorf("url %q: %w", l.URL, err)
	}
	if u.Scheme != "http" {
		return l, fmt.Errorf("url %q is not an http one", l.URL)
	}
	if _, err := addrOf(u); err != nil {
		return l, fmt.Errorf("url %q: %w", l.URL, err)
	}
	if _, err := newRamp(l.Rate); err != nil {
		return l, err
	}
	if l.Duration <= 0 || l.Duration > MaxLoad {
		return l, fmt.Errorf("duration %v is not within 0s to %v", l.Duration, MaxLoad)
	}
	if l.Timeout < 0 {
		return l, fmt.Errorf("time-out %v is negative", l.Timeout)
	}
	if l.Timeout == 0 {
		l.Timeout = 10 * time.Second
	}
	if l.Connections < 0 || l.Connections > idleConnections || l.Connections > 0 && !l.KeepAlive {
		return l, fmt.Errorf("%d connections: want 0 to %d, and kept ones", l.Connections, idleConnections)
	}
	if l.FreshEvery < 0 {
		return l, fmt.Errorf("a fresh connection every %d requests is negative", l.FreshEvery)
	}
	if l.Body < 0 || l.Body > maxBody {
		return l, fmt.Errorf("body of %d bytes is not within 0 to %d", l.Body, maxBody)
	}
	return l, nil
}

// addrOf returns the address a URL names, port 80 when it names none.
func addrOf(u *url.URL) (netip.AddrPort, error) {
	host := u.Host
	if u.Port() == "" {
		host += ":80"
	}
	addr, err := netip.ParseAddrPort(host)
	if err != nil || addr.Addr().Is4In6() || addr.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%q is not an IP address and a port", u.Host)
	}
	return addr, nil
}

// Run is a load on its way.
type Run struct {
	*Running
	log string // the file of the client's log, which grows as requests end
}

// loadConfig is what the child gets: the load, and where to write the log.
type loadConfig struct {
	Load
	Log string
}

// loadEnded is the child's last report; its first has nothing in it.
type loadEnded struct{ Requests int }

// StartLoad begins to send load from the host. ctx bounds the start only.
func (h *Host) StartLoad(ctx context.Context, load Load) (*Run, error) {
	run, err := h.startLoad(ctx, load)
	if err != nil {
		return nil, fmt.Errorf("start load from %s: %w", h.name, err)
	}
	return run, nil
}

func (h *Host) startLoad(ctx context.Context, load Load) (*Run, error) {
	load, err := load.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := h.world.subdir(h.name + "-load")
	if err != nil {
		return nil, err
	}
	run := &Run{log: filepath.Join(dir, "client.jsonl")}
	run.Running, err = h.run(ctx, "load", loadConfig{load, run.log})
	return run, err
}

// Wait waits for the load's end and returns the client's log. A ctx that is
// done first stops the load; the log up to there comes with its error. Requests
// in flight when a load is stopped are not in the log.
func (r *Run) Wait(ctx context.Context) ([]Record, error) {
	var ended loadEnded
	err := r.children[0].read(ctx, &ended)
	err = errors.Join(err, r.Stop())
	records, readErr := readRecordsFile(r.log)
	if err == nil && readErr == nil && len(records) != ended.Requests {
		err = fmt.Errorf("client's log has %d of %d requests", len(records), ended.Requests)
	}
	if err = errors.Join(err, readErr); err != nil {
		return records, fmt.Errorf("load from %s: %w", r.host.name, err)
	}
	return records, nil
}
