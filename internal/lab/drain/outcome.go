package drain

import "github.com/foreshock/foreshock/internal/drain"

// Outcome is what came of one run: what agents said, held against the truth.
// Times are seconds after the switch unless they say otherwise.
type Outcome struct {
	Cell string `json:"cell"`
	// Shown is when an agent first showed the switch; null: never.
	Shown *float64 `json:"shown_seconds"`
	// Share is how far each agent's share of ESTABLISHED on the old address was off
	// what its host's clients, or those that it serves, held.
	Share Errors `json:"share"`
	// Connecting is how far SYN_SENT to the old address, the most in 5 s, was off.
	Connecting Errors `json:"connecting"`
	// Found are the causes that had to be found.
	Found []Found `json:"found"`
	// Others are causes that were found beside them on addresses, Elsewhere those
	// of services and backends, which may be true.
	Others    []string `json:"others"`
	Elsewhere []string `json:"elsewhere"`
	// Blamed counts connections on the old address by what was said of them.
	Blamed  Blamed  `json:"blamed"`
	Classes []Class `json:"classes"`
	// WrongFound is when the wrong application was found; null: never.
	WrongFound *float64 `json:"wrong_found_seconds"`
	// SettledEarly counts answers that said settled while more than 1 % was on old,
	// SafeEarly those that said the old address may go while somebody was connected
	// to it, also at a port that does not count unless they said that only those do.
	SettledEarly int      `json:"settled_early"`
	SafeEarly    int      `json:"safe_early"`
	Settled      *float64 `json:"settled_seconds"`
	Safe         *float64 `json:"safe_seconds"`
	// Unsaid are the words that should have been said and were not. Said is what each
	// agent said last, after its name.
	Unsaid []string   `json:"unsaid"`
	Said   [][]string `json:"said"`
	// Merged is the answer for all agents; null where it was not asked for.
	Merged *Merged `json:"merged"`
	// OldAtEnd is the true share on old at the end.
	OldAtEnd float64     `json:"old_at_end"`
	Missing  *Missing    `json:"missing"`
	Green    Green       `json:"green"`
	Closed   *Closed     `json:"closed"`
	CPU      []AgentCPU  `json:"cpu"`
	Seconds  []SecondRow `json:"seconds"`
	// Unanswered is the last reason why an agent did not say anything after it
	// should have; empty: it always did.
	Unanswered string `json:"unanswered"`
}

// Errors are differences, in percentage points or in connections.
type Errors struct {
	N   int     `json:"n"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
	// MaxInSecond is the largest where the truth may be any that held within a
	// second before the look.
	MaxInSecond float64 `json:"max_in_second"`
}

// Found is when a cause was opened, from the switch or from switch + TTL.
type Found struct {
	Want
	// After is null where no incident was, Named where nobody was said to be on
	// the old address for this cause.
	After *float64 `json:"after_seconds"`
	Agent string   `json:"agent"`
	Named *float64 `json:"named_seconds"`
}

// Blamed counts connections on the old address, over all answers from 15 s after
// switch + TTL on. Wrong says what was said instead, by population.
type Blamed struct {
	Right, Of int
	// Unnamed are those of them whose program the agent did not know: they count as
	// right where what is said holds for a program there that comes and goes.
	Unnamed int
	Wrong   map[string]int `json:"wrong"`
}

// Class is what one resolver was said to be at the end.
type Class struct {
	Resolver string `json:"resolver"`
	Kind     Kind   `json:"kind"`
	Want     string `json:"want"`
	Got      string `json:"got"`
	// Accused: it does as it should, and was once said to extend or to serve stale.
	Accused bool `json:"accused"`
	// FoundAfter is when it was first said to be what it is, after switch + TTL.
	FoundAfter *float64 `json:"found_after_seconds"`
}

// Missing is what was said of arrivals that did not come, from 60 s on.
type Missing struct {
	Truth, Said float64 // at the end
	MaxError    float64 // points, from 60 s on
	N           int
}

// Green is when people's own checks said that all is well, and what clients had then.
type Green struct {
	From *float64 `json:"from_seconds"` // for good; null: never
	// OldShare is what was on the old address then, attempts to it too, Failures
	// how many attempts and connections failed from then to the end.
	OldShare float64 `json:"old_share"`
	Failures int     `json:"failures"`
}

// Merged is one answer for all agents, and one where one of them was silent.
type Merged struct {
	Verdict drain.Verdict `json:"verdict"`
	Agents  int           `json:"agents"`
	// Off is how far its share of ESTABLISHED on old was off the truth of those
	// clients that it is of, in points, at the nearest time in the 2 s before; null
	// where it had none.
	Off *float64 `json:"off"`
	// Silent is the verdict without one of them, Named whether that one was named,
	// Sure whether it was said all the same that the old address may go, Exit the
	// command's code.
	Silent drain.Verdict `json:"silent_verdict"`
	Named  bool          `json:"silent_named"`
	Sure   bool          `json:"silent_sure"`
	Exit   int           `json:"silent_exit"`
}

// Closed is what came of closing stale sockets.
type Closed struct {
	DryRun, Closed, Gone int
	// Same: what was closed is what the dry run had said, but for what had ended.
	Same bool
	// Aborted clients of those felt it, Others that were not to; Back are those
	// that have a connection to the new address at the end.
	Aborted, Others, Back int
}

// AgentCPU is an agent's processor time as a share of one core.
type AgentCPU struct {
	Host  string  `json:"host"`
	Share float64 `json:"share"`
}

// SecondRow is one second of the first agent, for pictures.
type SecondRow struct {
	At      float64       `json:"at_seconds"`
	Truth   Truth         `json:"truth"` // of its own host's clients
	Said    drain.Sides   `json:"said"`
	Verdict drain.Verdict `json:"verdict"`
	Green   bool          `json:"green"`
}
