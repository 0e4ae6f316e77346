// Package drain says how far a switch from old addresses to new ones has come:
// who is still on the old ones, who never arrived, why, and when it is over. It
// is pure: no clock, no goroutine, no file.
//
// An agent makes one [Report] of each switch. [Merge] makes one [Status] of the
// reports of one or several agents, by the time since the switch, so that no
// agent's clock is trusted:
//
//	status := drain.Merge([]drain.Report{edge, cork, dublin})
//
// Both are the API's and the commands' JSON, which only grows.
package drain

import (
	"net/netip"
	"time"
)

// Report is what one agent knows of one switch.
type Report struct {
	// Agent is its host's name.
	Agent string `json:"agent"`
	Name  string `json:"name"`
	// Source is who says that there was a switch: "by hand", "configured",
	// "noticed".
	Source string       `json:"source"`
	Old    []netip.Addr `json:"old"`
	New    []netip.Addr `json:"new"`
	// Kept are addresses that the name had before and after; not counted.
	Kept []netip.Addr `json:"kept"`
	// Ports are those that count; none: every one.
	Ports []uint16 `json:"ports"`
	// TTLSeconds is for how long the answers before the switch were good; null
	// when that is not known.
	TTLSeconds *float64 `json:"ttl_seconds"`
	// SinceSeconds is the time since the switch by this agent's own steady clock;
	// SwitchedAt the same by its wall clock, for display only; zero: it is waited
	// for, and has not been.
	SinceSeconds float64   `json:"since_seconds"`
	SwitchedAt   time.Time `json:"switched_at"`
	// DeadlineSeconds after the switch a drain that has not settled is stuck.
	DeadlineSeconds float64 `json:"deadline_seconds"`
	// Stopped: somebody has ended it, and nothing is looked at any more.
	Stopped bool `json:"stopped"`
	// Now is the last look.
	Now Point `json:"now"`
	// Curve is one point each 10 s for the first 10 min, then each minute, at most
	// 1,500, the oldest first. Points before the switch have negative times.
	Curve []Point `json:"curve"`
	// Arrivals is null until something is known of them.
	Arrivals *Arrivals `json:"arrivals"`
	// Laggards are who is on the old addresses, the most connections first, at
	// most 100; LaggardsOver counts the connections of further ones.
	Laggards     []Laggard  `json:"laggards"`
	LaggardsOver int        `json:"laggards_over"`
	Resolvers    []Resolver `json:"resolvers"`
	Probes       []Probe    `json:"probes"`
	// Limits are what this agent cannot see of it, a sentence each.
	Limits []string `json:"limits"`
	// Held are those of the old and new addresses that are this host's own; null
	// when that is not known, and then a side counts as held where connections
	// came to it.
	Held []netip.Addr `json:"held"`
}

// Point is the connections at one time.
type Point struct {
	SinceSeconds float64 `json:"since_seconds"`
	// Asked are connections that this host began; Served those that came to an
	// address of this host.
	Asked  Sides `json:"asked"`
	Served Sides `json:"served"`
}

// Sides are the connections on the old and on the new addresses.
type Sides struct {
	Old Count `json:"old"`
	New Count `json:"new"`
}

// Count counts connections.
type Count struct {
	// Connections are those in any state but LISTEN and TIME_WAIT, without those
	// that are closing and that no process has any more.
	Connections int `json:"connections"`
	Established int `json:"established"`
	// Connecting are in SYN_SENT, the most at once in 5 s; Retransmitting are
	// ESTABLISHED and send something again.
	Connecting     int `json:"connecting"`
	Retransmitting int `json:"retransmitting"`
	// NewPerSecond are connections begun, over 10 s.
	NewPerSecond float64 `json:"new_per_second"`
	// Moving are those on which bytes moved within a minute.
	Moving         int     `json:"moving"`
	BytesPerSecond float64 `json:"bytes_per_second"`
}

// Arrivals holds what arrives on old and new addresses together against what
// should.
type Arrivals struct {
	PerSecond float64 `json:"per_second"`
	// ExpectedPerSecond is what it should be, ErrorPerSecond how far that may be
	// off, either way.
	ExpectedPerSecond float64 `json:"expected_per_second"`
	ErrorPerSecond    float64 `json:"error_per_second"`
	// From is where that is from: "before the switch", "this hour of the week".
	From string `json:"from"`
	// At is "asked" or "served": at which end they are counted.
	At string `json:"at"`
}

// Laggard is somebody on an old address.
type Laggard struct {
	// Vantage is "asked" or "served".
	Vantage string     `json:"vantage"`
	Old     netip.Addr `json:"old"`
	// Process, Unit, Container and Namespace are of who asked; PIDs a few of its
	// processes. Prefix is the client's network (/24, /48), ASN and Network who
	// has it, of who is served; empty where it is not known.
	Process   string `json:"process"`
	PIDs      []int  `json:"pids"`
	Unit      string `json:"unit"`
	Container string `json:"container"`
	Namespace string `json:"namespace"`
	Prefix    string `json:"prefix"`
	ASN       uint32 `json:"asn"`
	Network   string `json:"network"`
	// Service is the local service that serves them, "service/web".
	Service     string `json:"service"`
	Connections int    `json:"connections"`
	Failing     int    `json:"failing"`
	Moving      int    `json:"moving"`
	// NewAfterTTL are those begun within 30 s and after the answers before the
	// switch were not good any more; OldestSeconds is the age of the oldest, at
	// least; zero where that is not known.
	NewAfterTTL   int     `json:"new_after_ttl"`
	OldestSeconds float64 `json:"oldest_seconds"`
	// Cause is "users_failing_on_old", "stale_dns" or "old_connection"; the last
	// two only once the TTL is over. Place of stale_dns is "resolver" or
	// "process", empty where that cannot be told.
	Cause string `json:"cause"`
	Place string `json:"place"`
	// Advice says what to do about this one.
	Advice string `json:"advice"`
	// Agent is who reports it; in a Status.
	Agent string `json:"agent"`
}

// Resolver is how one DNS server did, by its last answers.
type Resolver struct {
	Label string `json:"label"`
	// Server is its address and port.
	Server string `json:"server"`
	// Role is "system", "configured", "public" or "authoritative".
	Role string `json:"role"`
	// Class is what its answer is: see the Class constants.
	Class Class `json:"class"`
	// Why is that in a sentence.
	Why       string       `json:"why"`
	Addresses []netip.Addr `json:"addresses"`
	// TTLSeconds is what is left of the answer's TTL.
	TTLSeconds float64  `json:"ttl_seconds"`
	CNAMEs     []string `json:"cnames"`
	Serial     uint32   `json:"serial"`
	// Extended are Extended DNS Errors: "3 stale answer".
	Extended []string `json:"extended_errors"`
	// NewAfterSeconds is how long after the switch it first answered with new
	// addresses alone; null: not yet.
	NewAfterSeconds *float64 `json:"new_after_seconds"`
	// AskedAgoSeconds is how long before the report it was asked last.
	AskedAgoSeconds float64 `json:"asked_ago_seconds"`
	// MostTTLSeconds is the longest TTL it gave with an old address since the
	// switch.
	MostTTLSeconds float64 `json:"most_ttl_seconds"`
	// Agent is who asked it; in a Status.
	Agent string `json:"agent"`
}

// Class is what a resolver's answer is, beside the switch.
type Class string

// The classes.
const (
	ClassNew       Class = "new"           // new addresses alone
	ClassOldInTTL  Class = "old_in_ttl"    // old ones, as it may
	ClassOldBeyond Class = "old_beyond"    // old ones beyond the TTL: it extends it
	ClassServStale Class = "serving_stale" // the same, and it says that the answer has expired
	ClassMixed     Class = "mixed"         // old and new ones, or neither
	ClassError     Class = "error"         // no answer to go by
	ClassUnasked   Class = "unasked"       // not yet
)

// Probe is what came of connecting to one address of the name as a user would.
type Probe struct {
	Address netip.AddrPort `json:"address"`
	// Side is "old", "new" or "other": an address that some resolver answered
	// and that is on neither side.
	Side string `json:"side"`
	// Failed is the stage that failed, "connect", "tls", "http" or "identity";
	// empty: none did.
	Failed string `json:"failed"`
	// Wrong: something answers, and it is another application.
	Wrong      bool    `json:"wrong"`
	Words      string  `json:"words"`
	Status     int     `json:"status"`
	AgoSeconds float64 `json:"ago_seconds"`
	// Agent is who connected; in a Status.
	Agent string `json:"agent"`
}

// Verdict is how far a drain has come.
type Verdict string

// The verdicts.
const (
	Unclear  Verdict = "unclear"  // too little is seen to say
	Draining Verdict = "draining" // on its way
	Settled  Verdict = "settled"  // over: below 1 % on the old addresses, all resolvers new, identity as expected
	Stuck    Verdict = "stuck"    // the deadline has passed and it is not settled
)

// Status is what the reports of one or several agents say together.
type Status struct {
	Name    string   `json:"name"`
	Agents  []string `json:"agents"`
	Verdict Verdict  `json:"verdict"`
	// Sentence says it in one sentence, with numbers; Why are the reasons that it
	// is not settled, or of its being unclear.
	Sentence string   `json:"sentence"`
	Why      []string `json:"why"`
	// SinceSeconds is the time since the switch: the most that an agent counts.
	SinceSeconds float64 `json:"since_seconds"`
	// SafeToPowerOff: nobody needs the old addresses any more; PowerOff says so,
	// or who does.
	SafeToPowerOff bool   `json:"safe_to_power_off"`
	PowerOff       string `json:"power_off"`
	// Basis is which of both ends the shares are of, "asked" or "served".
	Basis string `json:"basis"`
	// OldShare is of ESTABLISHED, OldNewShare of new connections; null where there
	// are none.
	OldShare    *float64 `json:"old_share"`
	OldNewShare *float64 `json:"old_new_share"`
	Now         Point    `json:"now"`
	Curve       []Point  `json:"curve"`
	// HalfLifeSeconds and the times after the switch at which 95 and 99 % had left
	// the old addresses; null where that was not, or cannot be told.
	HalfLifeSeconds *float64 `json:"half_life_seconds"`
	Left95Seconds   *float64 `json:"left_95_seconds"`
	Left99Seconds   *float64 `json:"left_99_seconds"`
	// EndsInSeconds forecasts when less than 1 % is left, EndsErrorSeconds how far
	// that may be off; null where nothing leaves.
	EndsInSeconds    *float64 `json:"ends_in_seconds"`
	EndsErrorSeconds *float64 `json:"ends_error_seconds"`
	// Missing is the share of the usual new connections that arrive nowhere;
	// MissingSentence says it with numbers; null and empty where nothing is known.
	Missing         *float64 `json:"missing_share"`
	MissingSentence string   `json:"missing_sentence"`
	// Laggards are those of all agents, the most connections first.
	Laggards     []Laggard  `json:"laggards"`
	LaggardsOver int        `json:"laggards_over"`
	Resolvers    []Resolver `json:"resolvers"`
	// Agreement is the share of the resolvers that answer with new addresses
	// alone; null without any.
	Agreement *float64 `json:"resolver_agreement"`
	Probes    []Probe  `json:"probes"`
	// Advice says what to do, what helps users first.
	Advice []string `json:"advice"`
	Limits []string `json:"limits"`
	// Arrivals are what Missing is of, of all agents; null where nothing is known.
	Arrivals *Arrivals `json:"arrivals"`
}
