package api

import (
	"context"
	"errors"
	"net/netip"

	"github.com/foreshock/foreshock/internal/drain"
)

// What a Drainer answers.
var (
	ErrNoDrain    = errors.New("no switch of that name is followed")
	ErrDrainThere = errors.New("a switch of that name is followed already")
)

// Drainer follows switches from old addresses to new ones.
type Drainer interface {
	// Drains are the reports of the switches that are followed, by name, without
	// curves.
	Drains() []drain.Report
	// Drain is the report of one; ErrNoDrain.
	Drain(name string) (drain.Report, error)
	// StartDrain follows a switch from now on, or from a while ago; ErrDrainThere.
	// The error says what is wrong with the request.
	StartDrain(ctx context.Context, r DrainRequest) (drain.Report, error)
	// StopDrain ends that; ErrNoDrain.
	StopDrain(ctx context.Context, name, by string) error
	// CloseStale closes connections that this host began to the old addresses, or
	// says which it would; ErrNoDrain, and an error that names the missing
	// privilege.
	CloseStale(ctx context.Context, name string, r CloseRequest) (CloseResult, error)
	// Route says which addresses to use now; ErrNoDrain.
	Route(name string) (Route, error)
}

// DrainRequest asks to follow a switch.
type DrainRequest struct {
	Name string       `json:"name"`
	Old  []netip.Addr `json:"old"`
	New  []netip.Addr `json:"new"`
	// Ports are those that count; none: every one.
	Ports []uint16 `json:"ports"`
	// TTLSeconds is for how long the answers before the switch were good; null:
	// asked for, or not known.
	TTLSeconds *float64 `json:"ttl_seconds"`
	// AgoSeconds is how long ago the switch was.
	AgoSeconds float64 `json:"ago_seconds"`
	// DeadlineSeconds after the switch it is stuck; zero: four times the TTL, 15
	// minutes at least.
	DeadlineSeconds float64 `json:"deadline_seconds"`
	// Resolvers are asked beside the zone's own servers: "system", "public", an
	// address with or without a port. None: "system".
	Resolvers []string  `json:"resolvers"`
	Identity  *Identity `json:"identity"`
	By        string    `json:"by"`
}

// Identity is how the right application is told from another one.
type Identity struct {
	URL          string `json:"url"`
	Status       int    `json:"status"`        // zero: any below 400
	BodyContains string `json:"body_contains"` // empty: any
	Header       string `json:"header"`        // "X-Site: shop"; empty: any
}

// CloseRequest asks to close connections to the old addresses.
type CloseRequest struct {
	// Really closes; without it the answer says what would be closed.
	Really bool `json:"really"`
	// Most is how many are closed at most; zero: 100.
	Most int    `json:"most"`
	By   string `json:"by"`
}

// CloseResult is what was closed, or would be.
type CloseResult struct {
	Name   string `json:"name"`
	Really bool   `json:"really"`
	// Sockets are those that match, at most 1,000; Over counts further ones.
	Sockets []StaleSocket `json:"sockets"`
	Over    int           `json:"over"`
	// Closed counts those closed, Gone those that had ended by then, Left those
	// beyond what may be closed now.
	Closed int `json:"closed"`
	Gone   int `json:"gone"`
	Left   int `json:"left"`
	// AgainInSeconds is when further ones may be closed; zero: at once.
	AgainInSeconds float64 `json:"again_in_seconds"`
}

// StaleSocket is one connection of ours to an old address.
type StaleSocket struct {
	Local     netip.AddrPort `json:"local"`
	Remote    netip.AddrPort `json:"remote"`
	Namespace string         `json:"namespace"`
	State     string         `json:"state"`
	Process   string         `json:"process"`
	PID       int            `json:"pid"`
	// AgeSeconds is since it was first seen, at least.
	AgeSeconds float64 `json:"age_seconds"`
	// Outcome is "would_close", "closed", "gone", "left", or "failed".
	Outcome string `json:"outcome"`
	Error   string `json:"error"`
}

// Route is which addresses of a name to use now, for clients that go by it
// instead of DNS.
type Route struct {
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	// MaxAgeSeconds is for how long that may be relied on; the answer's
	// Cache-Control says the same.
	MaxAgeSeconds int `json:"max_age_seconds"`
	// From is where that is from: "switch noticed 42 s ago".
	From string `json:"from"`
}
