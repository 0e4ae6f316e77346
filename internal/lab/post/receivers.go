package post

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshock/foreshock/internal/notify/notifytest"
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

// startAlertmanager starts the real one and lets r pass on to it. stop ends it.
// The error is a *lab.ErrMissing where it is not installed.
func (r *receivers) startAlertmanager(dir string) (stop func(), err error) {
	a, err := notifytest.StartAlertmanager(dir)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(a.URL())
	if err != nil {
		return nil, err
	}
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			body, _ := io.ReadAll(p.In.Body) // it is in memory
			p.SetURL(base)
			p.Out.Body = io.NopCloser(bytes.NewReader(body))
			p.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		},
		ModifyResponse: r.accepted,
	}
	return func() { a.Stop() }, nil
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
