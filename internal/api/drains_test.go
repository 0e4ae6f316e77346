package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/drain"
)

// followsSome is a Drainer that follows shop.example and kept.example; the second
// is of the configuration, and nothing of it may be closed.
type followsSome struct{}

var shopDrain = drain.Report{
	Agent: "web03", Name: "shop.example", Source: "by hand", SwitchedAt: now, SinceSeconds: 42, DeadlineSeconds: 900, TTLSeconds: new(60.0),
	Old: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, New: []netip.Addr{netip.MustParseAddr("198.51.100.7")},
	Now:       drain.Point{SinceSeconds: 42, Asked: drain.Sides{Old: drain.Count{Connections: 3, Established: 3}}},
	Curve:     []drain.Point{{SinceSeconds: 40}},
	Arrivals:  &drain.Arrivals{PerSecond: 1, ExpectedPerSecond: 2, ErrorPerSecond: 0.5, From: "before the switch", At: "asked"},
	Laggards:  []drain.Laggard{{Vantage: "asked", Old: netip.MustParseAddr("192.0.2.10"), Process: "php-fpm", Connections: 3}},
	Resolvers: []drain.Resolver{{Label: "system", Server: "127.0.0.53:53", Role: "system", Class: drain.ClassOldInTTL}},
	Probes:    []drain.Probe{{Address: netip.MustParseAddrPort("198.51.100.7:443"), Side: "new", Words: "200"}},
}

func (followsSome) Drains() []drain.Report {
	short := shopDrain
	short.Curve = nil
	return []drain.Report{short, {Name: "gone.example"}}
}

func (followsSome) Drain(name string) (drain.Report, error) {
	if name != "shop.example" {
		return drain.Report{}, ErrNoDrain
	}
	return shopDrain, nil
}

func (followsSome) StartDrain(_ context.Context, r DrainRequest) (drain.Report, error) {
	switch r.Name {
	case "shop.example":
		return drain.Report{}, ErrDrainThere
	case "over.example":
		return drain.Report{}, &Refusal{What: "32 switches are followed already", Hint: "end one"}
	case "odd.example":
		return drain.Report{}, errors.New("odd: not that one")
	case "":
		return drain.Report{}, errors.New("name is empty; write it as shop.example")
	case "slow.example":
		return drain.Report{}, context.Canceled
	}
	return drain.Report{Agent: "web03", Name: r.Name, Old: r.Old, New: r.New, SwitchedAt: now}, nil
}

func (followsSome) StopDrain(_ context.Context, name, _ string) error {
	switch name {
	case "shop.example":
		return nil
	case "kept.example":
		return &Refusal{What: "it is configured", Hint: "take it out and reload"}
	}
	return ErrNoDrain
}

func (followsSome) CloseStale(_ context.Context, name string, r CloseRequest) (CloseResult, error) {
	switch name {
	case "shop.example":
	case "kept.example":
		return CloseResult{}, errors.New("closing takes CAP_NET_ADMIN")
	default:
		return CloseResult{}, ErrNoDrain
	}
	if !r.Really {
		return CloseResult{Name: name, Sockets: []StaleSocket{{Local: netip.MustParseAddrPort("192.0.2.1:4711"), Remote: netip.MustParseAddrPort("192.0.2.10:443"), State: "established", Outcome: "would_close"}}}, nil
	}
	return CloseResult{Name: name, Really: true, Closed: 1}, nil
}

func (followsSome) Route(name string) (Route, error) {
	switch name {
	case "shop.example":
		return Route{Name: name, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.7")}, MaxAgeSeconds: 30, From: "switch by hand 42 s ago"}, nil
	case "kept.example":
		return Route{Name: name}, nil
	}
	return Route{}, ErrNoDrain
}

// TestDrainsInTheList: one that ended meanwhile is not in it, and the others have
// no curves.
func TestDrainsInTheList(t *testing.T) {
	rec := httptest.NewRecorder()
	handler(t, newFake(sample(now)), token).ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/api/v1/drains", nil))
	var got Drains
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := followed(shopDrain)
	want.Report.Curve, want.Status.Curve = []drain.Point{}, []drain.Point{}
	if diff := cmp.Diff([]FollowedSwitch{want}, got.Drains, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("drains (-want +got):\n%s", diff)
	}
}

// TestRouteMayBeKept: HTTP caches and clients go by the header.
func TestRouteMayBeKept(t *testing.T) {
	for path, want := range map[string]string{"/api/v1/route/shop.example": "max-age=30", "/api/v1/route/shap.example": "no-store", "/api/v1/route/kept.example": "no-store"} {
		rec := httptest.NewRecorder()
		handler(t, newFake(sample(now)), token).ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if got := rec.Header().Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control %q, want %q", path, got, want)
		}
	}
}

// TestWithoutDrainer: an agent that follows nothing says so.
func TestWithoutDrainer(t *testing.T) {
	f := newFake(sample(now))
	h, err := New(Config{Source: f, Actor: f, Log: slog.New(slog.DiscardHandler), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"GET /api/v1/drains", "GET /api/v1/drains/x", "POST /api/v1/drains", "DELETE /api/v1/drains/x?by=ann", "POST /api/v1/drains/x/close-stale", "GET /api/v1/route/x"} {
		method, path, _ := strings.Cut(path, " ")
		req := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "no switch can be followed here") {
			t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
	}
}
