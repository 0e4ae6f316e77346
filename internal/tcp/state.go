package tcp

import (
	"fmt"
	"strings"
)

// State is a TCP state as the kernel numbers it.
// Kernel: include/net/tcp_states.h. The zero value is no state at all.
type State uint8

// The kernel's states.
const (
	StateUnknown State = iota
	Established
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	Closing
	// NewSynRecv is a half-open connection that has no full socket yet. The
	// kernel reports it as SYN_RECV (net/ipv4/tcp_ipv4.c, get_openreq4;
	// net/ipv4/inet_diag.c, inet_req_diag_fill), so readers never return it.
	NewSynRecv

	// NumStates is one more than the largest state number.
	NumStates = int(NewSynRecv) + 1
)

var stateNames = [NumStates]string{
	"unknown", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2",
	"time_wait", "close", "close_wait", "last_ack", "listen", "closing", "new_syn_recv",
}

// String returns the kernel's name in lower case, as our JSON spells it:
// "established", "close_wait".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state_%d", uint8(s))
}

// ParseState returns the state that String spells as name.
func ParseState(name string) (State, error) {
	for i := 1; i < NumStates; i++ {
		if stateNames[i] == name {
			return State(i), nil
		}
	}
	return StateUnknown, fmt.Errorf("unknown TCP state %q; the states are %s", name, strings.Join(stateNames[1:NumStates-1], ", "))
}

// States returns every state a reader may return, in the kernel's order.
func States() []State {
	return []State{Established, SynSent, SynRecv, FinWait1, FinWait2, TimeWait, Close, CloseWait, LastAck, Listen, Closing}
}

// StateMask is a set of states: bit n stands for state n, as the kernel's
// idiag_states does (include/uapi/linux/inet_diag.h).
type StateMask uint32

// Masks of the tiers.
const (
	// AllStates is every state, LISTEN and CLOSE included. CLOSE rows are
	// bound sockets without a connection.
	AllStates StateMask = 1<<NumStates - 1 - 1
	// OddStates is every state but ESTABLISHED and LISTEN: the states in
	// which failures show.
	OddStates = AllStates &^ (1<<Established | 1<<Listen)
	// ListenOnly asks for listeners alone; the kernel then never walks the
	// hash table of connections.
	ListenOnly StateMask = 1 << Listen
)

// MaskOf returns the set of the given states.
func MaskOf(states ...State) StateMask {
	var m StateMask
	for _, s := range states {
		m |= 1 << s
	}
	return m
}

// Has reports whether s is in the mask.
func (m StateMask) Has(s State) bool { return m&(1<<s) != 0 }

// Timer says which timer of a socket runs.
// Kernel: net/ipv4/inet_diag.c, inet_sk_diag_fill and inet_twsk_diag_fill.
type Timer uint8

// The kernel's timers.
const (
	TimerOff        Timer = iota
	TimerRetransmit       // retransmission, tail-loss probe, or the SYN-ACK's of SYN_RECV
	TimerKeepalive        // keepalive
	TimerTimeWait         // TIME_WAIT is running out
	TimerZeroWindow       // the peer's window is closed: we probe it
)

var timerNames = [...]string{"off", "retransmit", "keepalive", "time_wait", "zero_window"}

// String names the timer: "retransmit", "zero_window".
func (t Timer) String() string {
	if int(t) < len(timerNames) {
		return timerNames[t]
	}
	return fmt.Sprintf("timer_%d", uint8(t))
}
