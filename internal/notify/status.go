package notify

import "time"

// Status is how one channel does, for the API. Times are the wall's; they are
// zero for what has not happened. Its words name channel and host, never an
// address.
type Status struct {
	Name string
	Kind string // as Channel.Kind has it
	// Queued is how many notices nobody has taken yet; of these Kept outlive us,
	// and Held wait for no more than the channel's rate. OldestAt is since when
	// the first of them waits, as far as they are in memory.
	Queued, Kept, Held int
	OldestAt           time.Time
	// DeadLetters is how many were given up and can be looked at and tried again.
	// The roof fills it in: they are where notices are kept.
	DeadLetters int
	// The rest counts since the start: Delivered to at least one receiver,
	// Undelivered given up or lost, Superseded by a newer state of the same
	// incident. Unkept were sent before they were kept anywhere.
	Delivered, Undelivered, Superseded, Unkept uint64
	LastError                                  string
	LastErrorAt, LastDeliveredAt               time.Time
	// Failing: the last attempt at every receiver failed.
	Failing bool
}
