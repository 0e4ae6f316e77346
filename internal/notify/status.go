package notify

import "time"

// Status is how one channel does, for the API. Times are the wall's; they are
// zero for what has not happened. Its words name channel and host, never an
// address.
type Status struct {
	Name string
	Kind string // as Channel.Kind has it
	// Queued is how many notices nobody has taken yet. The rest counts since
	// the start: Delivered to at least one receiver, Undelivered given up or
	// lost to a full queue, Superseded by a newer state of the same incident.
	Queued                             int
	Delivered, Undelivered, Superseded uint64
	LastError                          string
	LastErrorAt, LastDeliveredAt       time.Time
	// Failing: the last attempt at every receiver failed.
	Failing bool
}
