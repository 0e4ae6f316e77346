package api

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// The views are the JSON of the API: a contract that only grows. Keys carry
// their units, states are the kernel's names in lower case, times are RFC 3339
// on the wall's clock. internal/api/openapi.yaml describes them; a test holds
// every answer to it.

// Value is a number, or the reason why there is none. Unknown is never zero.
type Value struct {
	Value   *float64   `json:"value"`
	Unknown string     `json:"unknown,omitempty"`
	Samples int        `json:"samples"`
	SeenAt  *time.Time `json:"seen_at,omitempty"`
}

// Scope is one set of sockets judged as one.
type Scope struct {
	ID         string           `json:"id"`
	Kind       string           `json:"kind"`
	Name       string           `json:"name"`
	Namespace  string           `json:"namespace"` // empty: the agent's own
	Listen     []string         `json:"listen,omitempty"`
	Process    string           `json:"process,omitempty"`
	Unit       string           `json:"unit,omitempty"`
	PIDs       []int            `json:"pids,omitempty"`
	Configured bool             `json:"configured"`
	Workers    *Workers         `json:"workers,omitempty"`
	Backend    *Backend         `json:"backend,omitempty"`
	Region     *Region          `json:"region,omitempty"`
	Signals    map[string]Value `json:"signals"`
	Prefixes   []Prefix         `json:"prefixes"`
	Examples   []Socket         `json:"examples"`
}

// Workers is what is known of how many a service can serve at once. The limit
// in force, which may be learned, is the signal workers_limit.
type Workers struct {
	Software string `json:"software"`
	Held     string `json:"held"`
	Limit    *int   `json:"limit"`
	Origin   string `json:"origin"`
	Problem  string `json:"problem"`
}

// Prefix is how many workers the clients of one prefix hold.
type Prefix struct {
	Prefix string `json:"prefix"`
	Held   uint32 `json:"held"`
	Slow   uint32 `json:"slow"`
}

// Scopes is the answer of /api/v1/scopes.
type Scopes struct {
	At     time.Time `json:"at"`
	Scopes []Scope   `json:"scopes"`
}

// Socket is one example socket.
type Socket struct {
	Local             string   `json:"local"`
	Remote            string   `json:"remote"`
	State             string   `json:"state"`
	Inode             uint64   `json:"inode"`
	ReceiveQueueBytes uint32   `json:"receive_queue_bytes"`
	SendQueueBytes    uint32   `json:"send_queue_bytes"`
	Timer             string   `json:"timer"`
	Retransmits       uint8    `json:"retransmits"`
	LastSentSeconds   *float64 `json:"last_sent_seconds,omitempty"`
	LastReceived      *float64 `json:"last_received_seconds,omitempty"`
	RTTSeconds        *float64 `json:"rtt_seconds,omitempty"`
}

// Look is how one tier does.
type Look struct {
	Tier            string     `json:"tier"`
	WantedSeconds   float64    `json:"wanted_interval_seconds"`
	IntervalSeconds float64    `json:"interval_seconds"`
	CostSeconds     float64    `json:"cost_seconds"`
	AgeSeconds      *float64   `json:"age_seconds"` // of what this tier sees, whoever saw it
	At              *time.Time `json:"at"`
	DurationSeconds float64    `json:"duration_seconds"`
	Sockets         int        `json:"sockets"`
	Bytes           int64      `json:"bytes"`
	Completeness    string     `json:"completeness"`
	Reader          string     `json:"reader"`
	Looks           uint64     `json:"looks"`
	Partial         uint64     `json:"partial"`
	Failed          uint64     `json:"failed"`
	LastError       string     `json:"last_error,omitempty"`
	CoveredByFull   bool       `json:"covered_by_full"`
}

// Looks is the answer of /api/v1/looks.
type Looks struct {
	At     time.Time `json:"at"`
	Reader string    `json:"reader"`
	Looks  []Look    `json:"looks"`
	Budget Budget    `json:"budget"`
	// Looks are the agent's own namespace's; of the others there is a summary.
	Namespaces Namespaces `json:"namespaces"`
}

// Namespaces is how the host's other network namespaces are read, in short.
type Namespaces struct {
	Read    int `json:"read"`
	Idle    int `json:"idle"`
	Waiting int `json:"waiting"`
	Refused int `json:"refused"`
	Over    int `json:"over_the_most"`
	// The ages are the greatest, of those that are not idle for whole looks.
	PulseAgeSeconds *float64 `json:"pulse_age_seconds"`
	WholeAgeSeconds *float64 `json:"whole_age_seconds"`
	// Oldest are the ten whose sockets were seen longest ago.
	Oldest []Namespace `json:"oldest"`
}

// Namespace is how one network namespace is read.
type Namespace struct {
	Name                 string   `json:"name"`
	ID                   uint64   `json:"id"`
	Process              string   `json:"process"`
	PID                  int      `json:"pid"`
	Services             int      `json:"services"`
	Idle                 bool     `json:"idle"`
	Reader               string   `json:"reader"`
	PulseAgeSeconds      *float64 `json:"pulse_age_seconds"`
	WholeAgeSeconds      *float64 `json:"whole_age_seconds"`
	PulseIntervalSeconds float64  `json:"pulse_interval_seconds"`
	WholeIntervalSeconds float64  `json:"whole_interval_seconds"`
}

// NamespaceList is the answer of /api/v1/namespaces.
type NamespaceList struct {
	At         time.Time   `json:"at"`
	Namespaces []Namespace `json:"namespaces"`
}

// Limits is the answer of /api/v1/limits.
type Limits struct {
	At     time.Time `json:"at"`
	Limits []Limit   `json:"limits"`
}

// Status is the answer of /api/v1/status.
type Status struct {
	At          time.Time         `json:"at"`
	Host        string            `json:"host"`
	Labels      map[string]string `json:"labels"`
	Version     string            `json:"version"`
	StartedAt   time.Time         `json:"started_at"`
	Ready       bool              `json:"ready"`
	Reader      string            `json:"reader"`
	Budget      Budget            `json:"budget"`
	OpenByWorst map[string]int    `json:"open_incidents"`
	History     History           `json:"history"`
	Heartbeat   HeartbeatView     `json:"heartbeat"`
}

// Picture is one whole snapshot, as the event stream sends it.
type Picture struct {
	Status    Status     `json:"status"`
	Scopes    []Scope    `json:"scopes"`
	Incidents []Incident `json:"incidents"`
	Looks     []Look     `json:"looks"`
	Limits    []Limit    `json:"limits"`
	Channels  []Channel  `json:"channels"`
	// Scopes are those of the agent's own namespace and at most 50 services of
	// others, those with incidents first; so many scopes are left out.
	ScopesLeftOut int        `json:"scopes_left_out"`
	Namespaces    Namespaces `json:"namespaces"`
}

// Channel is how one channel of notices does. Counts are since the agent's
// start.
type Channel struct {
	Name            string     `json:"name"`
	Kind            string     `json:"kind"`
	Queued          int        `json:"queued"`
	Kept            int        `json:"kept"` // of the queued: those that outlive the agent
	Held            int        `json:"held"` // of the queued: those that wait for the channel's rate alone
	OldestAt        *time.Time `json:"oldest_at"`
	DeadLetters     int        `json:"dead_letters"`
	Unkept          uint64     `json:"unkept"` // sent before the history had them
	Delivered       uint64     `json:"delivered"`
	Undelivered     uint64     `json:"undelivered"`
	Superseded      uint64     `json:"superseded"`
	Failing         bool       `json:"failing"` // the last attempt at every receiver failed
	LastError       string     `json:"last_error"`
	LastErrorAt     *time.Time `json:"last_error_at"`
	LastDeliveredAt *time.Time `json:"last_delivered_at"`
}

// Channels is the answer of /api/v1/channels.
type Channels struct {
	At       time.Time `json:"at"`
	Channels []Channel `json:"channels"`
}

// Problem is every answer that is an error.
type Problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// AliveWithin is how old a snapshot may be while the agent's loop is alive: it
// publishes one each second.
const AliveWithin = 10 * time.Second

// Wall is a time of the snapshot as people read it: with the clock's offset,
// in UTC.
func (s *Snapshot) Wall(t time.Time) time.Time { return t.Add(s.ClockOffset).UTC() }

// Age is how long ago the snapshot was made, when now is the wall's time.
func (s *Snapshot) Age(now time.Time) time.Duration { return now.Sub(s.Wall(s.At)) }

// viewer turns a snapshot into views.
type viewer struct{ s *Snapshot }

func (v viewer) time(t time.Time) time.Time { return v.s.Wall(t) }

func (v viewer) maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(v.time(t))
}

func (v viewer) value(r measure.Reading) Value {
	value, unknown := r.Shown()
	return Value{Value: value, Unknown: unknown, Samples: r.Samples, SeenAt: v.maybe(r.Seen)}
}

func (v viewer) sockets(in []tcp.Socket) []Socket {
	out := make([]Socket, 0, len(in))
	for i := range in {
		s := &in[i]
		x := Socket{
			Local: s.Local.String(), Remote: s.Remote.String(), State: s.State.String(), Inode: s.Inode,
			ReceiveQueueBytes: s.ReceiveQueue, SendQueueBytes: s.SendQueue, Timer: s.Timer.String(), Retransmits: s.Retransmits,
		}
		if s.Has&tcp.HasInfo != 0 {
			x.LastSentSeconds, x.LastReceived = new(s.Info.LastDataSent.Seconds()), new(s.Info.LastDataReceived.Seconds())
			if s.Info.RTT > 0 {
				x.RTTSeconds = new(s.Info.RTT.Seconds())
			}
		}
		out = append(out, x)
	}
	return out
}

// scopes are the services, the backends, the regions, the rest and the host of all
// namespaces. Signals that no scope of that kind has are left out.
func (v viewer) scopes() []Scope {
	return v.scopesOf(v.signals())
}

// signals are those of every scope there is. A service, a backend or a region
// that was found and not looked at yet is there, and all of it unknown.
func (v viewer) signals() []measure.ScopeSignals {
	signals := slices.Clip(v.s.View.Scopes)
	seen := make(map[scope.ID]bool, len(signals))
	for i := range signals {
		seen[signals[i].Scope] = true
	}
	for i := range v.s.Services {
		if id := v.s.Services[i].ID(); !seen[id] {
			signals = append(signals, measure.ScopeSignals{Scope: id})
		}
	}
	for i := range v.s.Backends {
		if id := v.s.Backends[i].ID(); !seen[id] {
			signals = append(signals, measure.ScopeSignals{Scope: id})
		}
	}
	for i := range v.s.Regions {
		if id := v.s.Regions[i].ID(); !seen[id] {
			signals = append(signals, measure.ScopeSignals{Scope: id})
		}
	}
	return signals
}

func (v viewer) scopesOf(signals []measure.ScopeSignals) []Scope {
	services := make(map[scope.ID]*scope.Service, len(v.s.Services))
	for i := range v.s.Services {
		services[v.s.Services[i].ID()] = &v.s.Services[i]
	}
	backends := make(map[scope.ID]*scope.Backend, len(v.s.Backends))
	for i := range v.s.Backends {
		backends[v.s.Backends[i].ID()] = &v.s.Backends[i]
	}
	regions := make(map[scope.ID]*scope.Region, len(v.s.Regions))
	for i := range v.s.Regions {
		regions[v.s.Regions[i].ID()] = &v.s.Regions[i]
	}
	worst := v.verdicts()
	out := make([]Scope, 0, len(signals))
	for i := range signals {
		sig := &signals[i]
		x := Scope{
			ID: sig.Scope.String(), Kind: sig.Scope.Kind.String(), Name: sig.Scope.Name, Namespace: sig.Scope.Namespace,
			Signals: map[string]Value{}, Prefixes: prefixes(sig.Prefixes), Examples: v.sockets(sig.Examples),
		}
		if s := services[sig.Scope]; s != nil {
			x.Listen, x.Process, x.Unit, x.PIDs, x.Configured = addresses(s.Listen), s.Process, s.Unit, s.PIDs, s.Configured
			x.Workers = workers(&s.Workers)
		}
		if b := backends[sig.Scope]; b != nil {
			x.Process, x.PIDs, x.Configured = b.Process, b.PIDs, b.Configured
			x.Backend = &Backend{b.Remote.String(), b.Group, sig.Region, b.Source, listed(b.Also), addresses(b.Behind), b.Limit, note(sig), worst.of(sig)}
		}
		if r := regions[sig.Scope]; r != nil {
			x.Configured = true
			x.Region = &Region{len(r.Prefixes), r.Source, r.Limit, worst.of(sig)}
		}
		for _, name := range measure.Signals() {
			if name.AppliesTo(sig.Scope.Kind) {
				x.Signals[name.String()] = v.value(sig.Get(name))
			}
		}
		out = append(out, x)
	}
	return out
}

func addresses(in []netip.AddrPort) []string {
	out := make([]string, 0, len(in))
	for _, a := range in {
		out = append(out, a.String())
	}
	return out
}

func workers(w *scope.Workers) *Workers {
	out := &Workers{Software: w.Software, Held: w.Held.String(), Origin: w.Origin, Problem: w.Problem}
	if w.Limit > 0 {
		out.Limit = &w.Limit
	}
	return out
}

func prefixes(in []measure.PrefixHeld) []Prefix {
	out := make([]Prefix, 0, len(in))
	for _, p := range in {
		out = append(out, Prefix{p.Prefix.String(), p.Held, p.Slow})
	}
	return out
}

// listed is a list that is never nil: its JSON is one, too.
func listed[T any](in []T) []T { return append([]T{}, in...) }

func (v viewer) looks() []Look {
	out := make([]Look, 0, len(v.s.Looks))
	for i := range v.s.Looks {
		l := &v.s.Looks[i]
		x := Look{
			Tier: l.Tier.String(), WantedSeconds: l.Wanted.Seconds(), IntervalSeconds: l.Interval.Seconds(), CostSeconds: l.Cost.Seconds(),
			At: v.maybe(l.Last.Begin), DurationSeconds: l.Last.Duration.Seconds(), Sockets: l.Last.Sockets, Bytes: l.Last.Bytes,
			Completeness: l.Last.Completeness.String(), Reader: l.Last.Reader,
			Looks: l.Looks, Partial: l.Partial, Failed: l.Failed, LastError: l.LastError, CoveredByFull: l.Covered,
		}
		if !l.Seen.IsZero() {
			x.AgeSeconds = new(v.s.At.Sub(l.Seen).Seconds())
		}
		out = append(out, x)
	}
	return out
}

func (v viewer) channels() []Channel {
	out := make([]Channel, 0, len(v.s.Channels))
	onWall := func(t time.Time) *time.Time { // the outbox keeps the wall's time
		if t.IsZero() {
			return nil
		}
		return new(t.UTC())
	}
	for i := range v.s.Channels {
		c := &v.s.Channels[i]
		out = append(out, Channel{
			Name: c.Name, Kind: c.Kind, Queued: c.Queued, Kept: c.Kept, Held: c.Held, OldestAt: onWall(c.OldestAt), DeadLetters: c.DeadLetters, Unkept: c.Unkept,
			Delivered: c.Delivered, Undelivered: c.Undelivered, Superseded: c.Superseded, Failing: c.Failing,
			LastError: c.LastError, LastErrorAt: onWall(c.LastErrorAt), LastDeliveredAt: onWall(c.LastDeliveredAt),
		})
	}
	return out
}

func (v viewer) status() Status {
	labels := v.s.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	open := map[string]int{judge.Watch.String(): 0, judge.Warning.String(): 0, judge.Critical.String(): 0}
	for i := range v.s.Incidents {
		if v.s.Incidents[i].State == judge.Open {
			open[v.s.Incidents[i].Finding.Severity.String()]++
		}
	}
	return Status{
		At: v.time(v.s.At), Host: v.s.Host, Labels: labels, Version: v.s.Version, StartedAt: v.time(v.s.StartedAt),
		Ready: v.s.Ready, Reader: v.s.Reader, Budget: v.s.Budget, OpenByWorst: open, History: v.s.History.shown(),
		Heartbeat: v.s.Heartbeat.shown(),
	}
}

func (v viewer) picture() Picture {
	scopes, leftOut := v.pictured()
	return Picture{
		ScopesLeftOut: leftOut, Namespaces: v.namespaces(),
		Status: v.status(), Scopes: v.scopesOf(scopes), Looks: v.looks(), Limits: listed(v.s.Limits), Channels: v.channels(),
		Incidents: v.incidents(func(*judge.Incident) bool { return true }),
	}
}

// PictureOf is the snapshot as the event stream sends it.
func PictureOf(s *Snapshot) Picture { return viewer{s}.picture() }

// Views returns a snapshot's scopes and incidents as the API shows them.
func Views(s *Snapshot) ([]Scope, []Incident) {
	v := viewer{s}
	return v.scopes(), v.incidents(func(*judge.Incident) bool { return true })
}
