package post

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// delivery is a notice as the webhook took it first.
type delivery struct {
	Key       string    `json:"key"`
	At        time.Time `json:"at"`
	Incidents []struct {
		Incident   uint64     `json:"incident"`
		Step       string     `json:"step"`
		Severity   string     `json:"severity"`
		Sequence   int        `json:"sequence"`
		Scope      string     `json:"scope"`
		Cause      string     `json:"cause"`
		Rule       string     `json:"rule"`
		OpenedAt   time.Time  `json:"opened_at"`
		ResolvedAt *time.Time `json:"resolved_at"`
	} `json:"incidents"`
}

// receivers are a webhook and a proxy before Alertmanager; both can be down.
type receivers struct {
	down  atomic.Bool
	proxy http.Handler // nil where there is no Alertmanager

	mu        sync.Mutex
	took      []delivery
	seen      map[string]int // deliveries of each key
	different int            // that came again and said something else
	bodies    map[string][]byte
	alerts    map[string]bool // accepted by Alertmanager, by start and labels
}

func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if r.down.Load() || err != nil {
		panic(http.ErrAbortHandler) // the connection is cut, without an answer
	}
	if strings.HasPrefix(req.URL.Path, "/api/v2/alerts") {
		req.Body = io.NopCloser(bytes.NewReader(body))
		r.proxy.ServeHTTP(w, req)
		return
	}
	var d delivery
	if err := json.Unmarshal(body, &d); err != nil || d.Key == "" || d.Key != req.Header.Get("Idempotency-Key") {
		http.Error(w, "no notice", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[d.Key]++
	if before, again := r.bodies[d.Key]; again {
		if !bytes.Equal(before, body) {
			r.different++
		}
		return
	}
	r.bodies[d.Key] = body
	r.took = append(r.took, d)
}

// accepted notes the alerts that the real Alertmanager took.
func (r *receivers) accepted(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK || answer.Request.Method != http.MethodPost {
		return nil
	}
	raw, err := answer.Request.GetBody()
	if err != nil {
		return err
	}
	var alerts []struct {
		Labels   map[string]string
		StartsAt time.Time
	}
	if err := json.NewDecoder(raw).Decode(&alerts); err != nil {
		return fmt.Errorf("read what Alertmanager took: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range alerts {
		r.alerts[fmt.Sprintf("%s %s %s", a.StartsAt.UTC().Format(time.RFC3339Nano), a.Labels["scope"], a.Labels["rule"])] = true
	}
	return nil
}

// startAlertmanager starts the real one, for as long as ctx lasts, and lets r
// pass on to it. The error is an *lab.ErrMissing where it is not installed.
func (r *receivers) startAlertmanager(ctx context.Context, dir string) error {
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		return &lab.ErrMissing{Program: "prometheus-alertmanager", Package: "prometheus-alertmanager"}
	}
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	_ = free.Close()
	cmd := exec.CommandContext(ctx, program, "--config.file="+config, "--storage.path="+filepath.Join(dir, "alertmanager"), "--web.listen-address="+address, "--cluster.listen-address=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Alertmanager: %w", err)
	}
	go func() { _ = cmd.Wait() }() // ended with ctx
	base := &url.URL{Scheme: "http", Host: address}
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			body, _ := io.ReadAll(p.In.Body) // it is in memory
			p.SetURL(base)
			p.Out.Body = io.NopCloser(bytes.NewReader(body))
			p.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		},
		ModifyResponse: r.accepted,
	}
	return until(ctx, 20*time.Second, "Alertmanager is ready", func() bool {
		answer, err := http.Get(base.String() + "/-/ready")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// until polls until holds does.
func until(ctx context.Context, within time.Duration, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not within %s: %s", within, what), ctx.Err())
		case <-poll.C:
		}
	}
	return nil
}

// sleep waits so long, or until ctx ends.
func sleep(ctx context.Context, long time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(long):
	}
}
