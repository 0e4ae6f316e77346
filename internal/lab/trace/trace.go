// Package trace writes down what the sockets of one network namespace look
// like, remote address by remote address: the raw material that thresholds are
// made from.
//
// [Tally] is the pure part: sockets of one look in, one [Line] out. [Reader]
// reads the kernel.
package trace

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// Line is one look, written as one line of JSON.
type Line struct {
	At time.Time `json:"at"`
	// Since is seconds since the fault, negative before it; what a healthy run
	// counts from is its recorder's choice.
	Since float64 `json:"since_seconds"`
	// Took is how long the look took, seconds.
	Took         float64 `json:"took_seconds"`
	Completeness string  `json:"completeness"`
	Sockets      int     `json:"sockets"` // of the namespace
	// Remotes has one entry for each address that was asked for, by
	// "10.77.0.3:8080".
	Remotes map[string]Remote `json:"remotes"`
	// Counters are the namespace's, by the kernel's names; cumulative.
	Counters map[string]uint64 `json:"counters"`
}

// Remote is what the sockets to one address and port look like. Times are
// seconds; one that nothing has is absent.
type Remote struct {
	States map[string]int `json:"states"`
	// New and Gone are ESTABLISHED sockets since the last line; Oldest and
	// Youngest how long ago those of now were first seen established.
	New      int      `json:"established_new"`
	Gone     int      `json:"established_gone"`
	Oldest   *float64 `json:"established_oldest_seconds,omitempty"`
	Youngest *float64 `json:"established_youngest_seconds,omitempty"`
	// Pending are sockets whose peer owes an answer; PendingFor is how long
	// ago we sent last on each, longest first, at most Longest of them.
	Pending    int       `json:"pending"`
	PendingFor []float64 `json:"pending_seconds,omitempty"`
	// Retransmitting counts sockets with an unrecovered retransmission
	// time-out, by state; MostRetransmits is the largest number on one of them.
	Retransmitting  map[string]int `json:"retransmitting,omitempty"`
	MostRetransmits uint8          `json:"most_retransmits"`
	ZeroWindow      int            `json:"zero_window"`
	// Retransmits sums the retransmitted segments over the whole life of the
	// sockets of now; RetransmitsNew is the growth since the last line of
	// those that were there then.
	Retransmits    uint64 `json:"total_retransmits"`
	RetransmitsNew uint64 `json:"retransmits_new"`
	// Received is how long ago each ESTABLISHED socket received data last,
	// most recent first, at most Longest of them.
	Received []float64 `json:"last_received_seconds,omitempty"`
	// SendQueue and ReceiveQueue are the largest of one socket, bytes.
	SendQueue    uint32 `json:"largest_send_queue_bytes"`
	ReceiveQueue uint32 `json:"largest_receive_queue_bytes"`
	// WithoutInfo counts sockets without tcp_info, which pending and received
	// know nothing of: TIME_WAIT and half-open ones always are.
	WithoutInfo int `json:"without_tcp_info"`
}

// Longest bounds the lists of times in a line.
const Longest = 20

// Tally turns looks into lines. It keeps what it needs to tell new sockets
// from old. It is not safe for concurrent use.
type Tally struct {
	remotes []netip.AddrPort
	known   map[uint64]seen
	now     map[uint64]seen
	line    map[netip.AddrPort]*Remote
}

// seen is a socket as the last look saw it.
type seen struct {
	remote      netip.AddrPort
	established time.Time // zero: it is not
	retransmits uint32
}

// NewTally makes a Tally of the sockets to remotes.
func NewTally(remotes []netip.AddrPort) *Tally {
	return &Tally{remotes: slices.Clone(remotes), known: map[uint64]seen{}}
}

// Begin starts a look.
func (t *Tally) Begin() {
	t.now = map[uint64]seen{}
	t.line = map[netip.AddrPort]*Remote{}
	for _, r := range t.remotes {
		t.line[r] = &Remote{States: map[string]int{}}
	}
}

// Add adds a batch of a look that began at the time given.
func (t *Tally) Add(at time.Time, batch []tcp.Socket) {
	for i := range batch {
		s := &batch[i]
		if r := t.line[s.Remote]; r != nil && s.State != tcp.Listen {
			t.socket(at, s, r)
		}
	}
}

func (t *Tally) socket(at time.Time, s *tcp.Socket, r *Remote) {
	r.States[s.State.String()]++
	r.SendQueue, r.ReceiveQueue = max(r.SendQueue, s.SendQueue), max(r.ReceiveQueue, s.ReceiveQueue)
	if s.ZeroWindow() {
		r.ZeroWindow++
	}
	if s.Retransmitting() {
		if r.Retransmitting == nil {
			r.Retransmitting = map[string]int{}
		}
		r.Retransmitting[s.State.String()]++
		r.MostRetransmits = max(r.MostRetransmits, s.Retransmits)
	}
	if s.Pending() {
		r.Pending++
		r.PendingFor = append(r.PendingFor, s.Info.LastDataSent.Seconds())
	}
	if s.Has&tcp.HasInfo == 0 {
		r.WithoutInfo++
	} else {
		r.Retransmits += uint64(s.Info.TotalRetransmits)
	}
	before, met := t.known[s.Cookie]
	note := seen{remote: s.Remote, retransmits: s.Info.TotalRetransmits}
	if met && note.retransmits > before.retransmits {
		r.RetransmitsNew += uint64(note.retransmits - before.retransmits)
	}
	if s.State == tcp.Established {
		if note.established = before.established; note.established.IsZero() {
			note.established = at
			r.New++
		}
		age := at.Sub(note.established).Seconds()
		if r.Oldest == nil || age > *r.Oldest {
			r.Oldest = &age
		}
		if r.Youngest == nil || age < *r.Youngest {
			r.Youngest = &age
		}
		if s.Has&tcp.HasInfo != 0 {
			r.Received = append(r.Received, s.Info.LastDataReceived.Seconds())
		}
	}
	if s.Has&tcp.HasCookie != 0 {
		t.now[s.Cookie] = note
	}
}

// End ends the look and returns what it saw. Sockets that an incomplete look
// has missed count as gone: its line says that it is incomplete.
func (t *Tally) End() map[string]Remote {
	for cookie, was := range t.known {
		if !was.established.IsZero() && t.now[cookie].established.IsZero() {
			t.line[was.remote].Gone++
		}
	}
	t.known = t.now
	out := map[string]Remote{}
	for remote, r := range t.line {
		slices.Sort(r.Received)
		slices.SortFunc(r.PendingFor, func(a, b float64) int { return cmp.Compare(b, a) })
		r.Received = r.Received[:min(len(r.Received), Longest)]
		r.PendingFor = r.PendingFor[:min(len(r.PendingFor), Longest)]
		out[remote.String()] = *r
	}
	return out
}
