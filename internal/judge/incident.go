package judge

import (
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Cause is why a scope fails, from a closed list that grows with the stories.
// docs/SIGNALS.md defines each; a test holds it to this list.
type Cause uint8

// The causes.
const (
	NoCause Cause = iota
	WorkersFilling
	WorkersFull
	ClientsGaveUp
	ConnLimit
	SlowClients
	Leak
	SynFlood
	TrafficMissing
	StuckClosing
	PathLost
	PeerRefusing
	PeerFrozen
	PeerHalfBroken
	PeerResetting
	PeerSlow
	PeerNotReading
	OrderlyStop
	LazyPool
	HeavyLoss
	Churn
	PortExhaustion
	PoolAtCeiling
	GreenButFailing
	LocalFault
	UsersFailingOnOld
	StaleDNS
	OldConnection
	UserRule     // what a user's rule says; Finding.Rule is its name
	AgentTrouble // Foreshock itself cannot do its work; see Trouble
)

var causeNames = [...]string{
	"none", "workers_filling", "workers_full", "clients_gave_up", "conn_limit", "slow_clients", "leak", "syn_flood", "traffic_missing", "stuck_closing",
	"path_lost", "peer_refusing", "peer_frozen", "peer_half_broken", "peer_resetting", "peer_slow", "peer_not_reading",
	"orderly_stop", "lazy_pool", "heavy_loss", "churn", "port_exhaustion", "pool_at_ceiling", "green_but_failing", "local_fault",
	"users_failing_on_old", "stale_dns", "old_connection",
	"user_rule", "agent_trouble",
}

// Causes returns every cause in order.
func Causes() []Cause {
	var out []Cause
	for i := range causeNames[1:] {
		out = append(out, Cause(i+1))
	}
	return out
}

// String is the cause's name: "workers_full".
func (c Cause) String() string { return enum.Name(c, "cause", causeNames[:]) }

// Words is the cause for a person: "workers full".
func (c Cause) Words() string { return strings.ReplaceAll(c.String(), "_", " ") }

// Severity says how much a finding hurts; users' rules name the same ones.
type Severity = rule.Severity

// The severities, in rising order. The zero value is none.
const (
	NoSeverity = rule.NoSeverity
	Watch      = rule.Watch    // worth knowing, not sent by default
	Warning    = rule.Warning  // will hurt unless something changes
	Critical   = rule.Critical // hurts now
)

// Certainty says how sure a finding is.
type Certainty uint8

// The certainties. The zero value is unknown.
const (
	Unknown Certainty = iota
	Suspect           // not yet held long enough
	Likely
	Certain // the evidence alone decides
)

var certaintyNames = [...]string{"unknown", "suspect", "likely", "certain"}

// String names it: "likely".
func (c Certainty) String() string { return enum.Name(c, "certainty", certaintyNames[:]) }

// Pattern is how a service fails, in the three kinds of the workers article;
// each has its own response.
type Pattern uint8

// The patterns. Zero is none: the cause belongs to none of the three.
const (
	NoPattern         Pattern = iota
	GradualSaturation         // load grew for minutes: scale
	SuddenSpike               // load came at once: limit rates
	ResourceLeak              // connections are never closed: restart
)

var patternNames = [...]string{"", "gradual_saturation", "sudden_spike", "resource_leak"}

// String names it as the API does: "gradual_saturation"; empty for none.
func (p Pattern) String() string { return enum.Name(p, "pattern", patternNames[:]) }

// Finding is what is wrong with one scope at one instant, with everything it
// rests on.
type Finding struct {
	Scope     scope.ID
	Cause     Cause
	Severity  Severity
	Certainty Certainty
	// Basis says what the certainty rests on: "12 looks over 3 s, 31 waiting".
	Basis string
	// Sentence says what is wrong in plain English, present tense.
	Sentence string
	// Hurt says who is hurt, and by how much as far as that is seen: a phrase,
	// without a full stop. Where it cannot be told it says so.
	Hurt string
	// Trigger names the condition that decided: "queue wait above 1 s for 3 s".
	Trigger    string
	Evidence   []Evidence
	Considered []Considered
	// Advice says what to do now, what helps clients first.
	Advice   []string
	Examples []tcp.Socket
	Pattern  Pattern
	// PatternEvidence says what makes it that pattern, with numbers; Response
	// is what the pattern calls for. Both are empty without a pattern.
	PatternEvidence, Response string
	// Prefixes are the clients that hold most workers, the largest first;
	// empty when no few of them stand out.
	Prefixes []measure.PrefixHeld
	// Siblings says what the other backends of the group carry now; empty where
	// that is of no interest.
	Siblings string
	// Rule is the name of the user's rule; empty for any cause but UserRule.
	Rule string
	// Place is where StaleDNS has its old answer from; empty for any other cause.
	Place Place
}

// Place is where a stale answer is kept.
type Place uint8

// The places. The zero value is none, or that it cannot be told.
const (
	NoPlace    Place = iota
	AtResolver       // a resolver of this host still gives it
	InProcess        // they give new ones: a library's cache, or a fixed address
)

var placeNames = [...]string{"", "resolver", "process"}

// String names it as the API does: "resolver"; empty for none.
func (p Place) String() string { return enum.Name(p, "place", placeNames[:]) }

// Evidence is one number beside the threshold it is held against.
type Evidence struct {
	Signal  measure.Signal
	Reading measure.Reading
	// Threshold is the level that matters, in the signal's unit; Origin is
	// where it came from. HasThreshold is false for context.
	Threshold    float64
	HasThreshold bool
	Origin       string
	// Text and Unit take the signal's place for what is worked out from
	// signals, such as a mean in a user's rule; empty for a plain signal.
	Text string
	Unit measure.Unit
}

// Name is the signal's name, or how it was worked out.
func (e *Evidence) Name() string {
	if e.Text != "" {
		return e.Text
	}
	return e.Signal.String()
}

// Level is the threshold as JSON can say it: nil where there is none, or none
// that is a number.
func (e *Evidence) Level() *float64 {
	if !e.HasThreshold {
		return nil
	}
	level, _ := measure.Reading{Value: e.Threshold, Validity: measure.Known}.Shown()
	return level
}

// Counts is the unit of the value.
func (e *Evidence) Counts() measure.Unit {
	if e.Unit != "" {
		return e.Unit
	}
	return e.Signal.Definition().Unit
}

// Considered is another cause that was looked at, and why it was rejected or
// could not be told.
type Considered struct {
	Cause string `json:"cause"`
	Why   string `json:"why"`
}

// State is where an incident is in its life.
type State uint8

// The states. The zero value is none.
const (
	NoState   State = iota
	Suspected       // the condition is true, not yet for long enough
	Open
	Resolved
)

var stateNames = [...]string{"none", "suspect", "open", "resolved"}

// String names it: "open".
func (s State) String() string { return enum.Name(s, "state", stateNames[:]) }

// End is how an incident ended.
type End uint8

// The ends. Zero is not ended.
const (
	NotEnded     End = iota
	Recovered        // by positive evidence
	ScopeGone        // the service is no longer there
	NoEvidence       // nothing could be seen of it for 15 minutes; not a recovery
	CameTrue         // what it foretold is there, and has an incident of its own
	RuleRemoved      // the user's rule was changed or taken out
	Superseded       // more evidence made it another cause, which has an incident of its own
	AgentStopped     // the agent ended while it was open: nobody knows whether it recovered
)

var endNames = [...]string{"", "recovered", "scope_gone", "no_evidence", "came_true", "rule_removed", "superseded", "agent_stopped"}

// Ends returns every end in order.
func Ends() []End {
	var out []End
	for i := range endNames[1:] {
		out = append(out, End(i+1))
	}
	return out
}

// Words is how it ended, for a person: "scope gone".
func (e End) Words() string { return strings.ReplaceAll(e.String(), "_", " ") }

// String names it as the API does: "scope_gone"; empty while it goes on.
func (e End) String() string { return enum.Name(e, "end", endNames[:]) }

// Incident is a finding's life.
type Incident struct {
	// ID is unique within one run of the agent, in the order of suspicion, and
	// over its runs where it has a history.
	ID      uint64
	Finding Finding // as of UpdatedAt
	State   State
	// Peak is the worst severity so far.
	Peak Severity
	// SuspectedAt, OpenedAt and ResolvedAt are zero until they happen.
	SuspectedAt, OpenedAt, ResolvedAt time.Time
	// UpdatedAt is when the finding was last confirmed by fresh evidence.
	UpdatedAt time.Time
	// BlindSince is since when nothing could be seen of it; zero while there
	// is evidence.
	BlindSince time.Time
	// AcknowledgedAt is zero until somebody took it; By says who.
	AcknowledgedAt time.Time
	AcknowledgedBy string
	// Because is the cause of the incident that explains this one, so that it is
	// recorded and not sent: LocalFault, or what is wrong with its region; NoCause
	// for an incident of its own. BecauseOf is that incident's ID, 0 for none.
	Because   Cause
	BecauseOf uint64
	// SilencedBy is the silence that keeps it from being told, as the roof found
	// it; empty for none. The judge does not know of it.
	SilencedBy string
	// BalancerDownAt is when the balancer was first seen to say that the
	// backend is down; zero while it does not, or is not asked.
	BalancerDownAt time.Time
	End            End
	Timeline       []Step
}

// Step is one event of an incident's life.
type Step struct {
	At   time.Time
	What string // for a person
	// Severity is what the incident reached with this step, opened or worsened;
	// none for any other step.
	Severity Severity
}
