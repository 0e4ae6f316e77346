package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Usage is what a program used over a stretch of time.
type Usage struct {
	Program string `json:"program"`
	// CPU is processor time over time on the clock: 0.01 is 1 % of a core.
	CPU float64 `json:"cpu_share"`
	// RSS is all resident memory at the end, RSSAnon its part that is no
	// file's; bytes. RSSPeak is the most there ever was.
	RSS     int64 `json:"rss_bytes"`
	RSSAnon int64 `json:"rss_anon_bytes"`
	RSSPeak int64 `json:"rss_peak_bytes"`
}

// Steady is a run of the agent, and of a peer, beside a population that only
// stands there.
type Steady struct {
	Sockets int           `json:"sockets"`
	Buckets int           `json:"buckets"`
	Span    time.Duration `json:"span_ns"`
	Agent   Usage         `json:"agent"`
	// Peer is prometheus-node-exporter's tcpstat, scraped each second.
	Peer Usage `json:"peer"`
}

// RunSteady makes a population and lets the agent and the peer watch it, one
// after the other, each for span.
func RunSteady(ctx context.Context, binary string, sockets int, span time.Duration, progress func(string)) (Steady, error) {
	out := Steady{Sockets: sockets, Span: span}
	world, err := lab.New(ctx, lab.Config{Hosts: []lab.HostConfig{{Name: "bench"}}, Buckets: -1})
	if err != nil {
		return out, err
	}
	defer world.Close()
	host := world.Host("bench")
	if _, err := host.Populate(ctx, lab.Population{Sockets: sockets, OddShare: 0.01}); err != nil {
		return out, err
	}
	if out.Buckets, err = host.Buckets(); err != nil {
		return out, err
	}
	out.Buckets = max(out.Buckets, -out.Buckets)
	progress(fmt.Sprintf("%d sockets stand; the agent for %s", sockets, span))
	a, err := startAgent(ctx, host, binary, world.Dir(), "")
	if err != nil {
		return out, err
	}
	out.Agent, err = use(ctx, "foreshock agent", a.PID(), span, func() error { return nil })
	a.stop()
	if err != nil {
		return out, err
	}
	progress(fmt.Sprintf("node_exporter's tcpstat, scraped each second, for %s", span))
	out.Peer, err = usePeer(ctx, host, span)
	return out, err
}

func usePeer(ctx context.Context, host *lab.Host, span time.Duration) (Usage, error) {
	const address = "127.0.0.1:" + nodeExporterPort
	program, err := startPeer(ctx, host, "prometheus-node-exporter", "--collector.disable-defaults", "--collector.tcpstat", "--web.listen-address="+address)
	if err != nil {
		return Usage{}, err
	}
	defer func() { _ = program.End(os.Kill) }()
	client := host.Client()
	defer client.CloseIdleConnections()
	scrape := func() error {
		raw, err := lab.Get(ctx, client, "http://"+address+"/metrics")
		if err == nil && !strings.Contains(string(raw), "node_tcp_connection_states") {
			err = errors.New("no tcpstat in its answer")
		}
		if err != nil {
			return fmt.Errorf("scrape the peer: %w", err)
		}
		return nil
	}
	var missed error
	up, err := until(ctx, 10*time.Second, 100*time.Millisecond, func() (bool, error) {
		missed = scrape()
		return missed == nil, nil
	})
	if err != nil || !up {
		return Usage{}, cmp.Or(err, missed)
	}
	return use(ctx, "node_exporter tcpstat at 1 Hz", program.PID(), span, scrape)
}

// use measures a process over span, calling each once a second.
func use(ctx context.Context, name string, pid int, span time.Duration, each func() error) (Usage, error) {
	u := Usage{Program: name}
	before, err := lab.CPUTime(pid)
	if err != nil {
		return u, err
	}
	begin := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for time.Since(begin) < span {
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-ticker.C:
			if err := each(); err != nil {
				return u, err
			}
		}
	}
	after, err := lab.CPUTime(pid)
	if err != nil {
		return u, err
	}
	u.CPU = float64(after-before) / float64(time.Since(begin))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("read the memory of %s: %w", name, err)
	}
	u.RSS, u.RSSAnon, u.RSSPeak = kilobytes(status, "VmRSS"), kilobytes(status, "RssAnon"), kilobytes(status, "VmHWM")
	return u, nil
}

func kilobytes(status []byte, key string) int64 {
	for line := range strings.Lines(string(status)) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == key {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n << 10
		}
	}
	return -1
}
