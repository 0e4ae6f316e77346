package notify

import "time"

// Status is how one channel does, for the API. Times are the wall's; they are
// zero for what has not happened. Its words name channel and host, never an
// address.
type Status struct {
	Name string
	Kind string // "log", "webhook", "alertmanager"
	// Queued is how many notices nobody has taken yet. The rest counts since
	// the start: Delivered to at least one receiver, Undelivered given up or
	// lost to a full queue, Superseded by a newer state of the same incident.
	Queued                             int
	Delivered, Undelivered, Superseded uint64
	LastError                          string
	LastErrorAt, LastDeliveredAt       time.Time
	// Receivers has one element, or each member of an Alertmanager cluster.
	Receivers []Receiver
}

// Receiver is how one receiver does. LastError is empty when the last attempt
// went well.
type Receiver struct {
	Host            string // with its port, if it has one; empty for the log
	Queued          int
	LastError       string
	LastDeliveredAt time.Time
}

// Entry is one notice on its way, or lately at its end.
type Entry struct {
	Channel, Key string
	Host         string // the receiver a queued notice waits for
	Incident     uint64
	Step         Step
	State        State
	Attempts     int
	LastError    string
	// At is when it came to its State, NextTry when it is tried again; zero
	// for what has ended.
	At, NextTry time.Time
}

func entry(l *letter, state State, at time.Time, err error) Entry {
	return Entry{
		Channel: l.notice.Channel, Key: l.notice.Key, Incident: l.notice.Incident, Step: l.notice.Step,
		State: state, Attempts: l.attempts, LastError: words(err), At: at,
	}
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
