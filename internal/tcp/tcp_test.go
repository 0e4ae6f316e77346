package tcp

import (
	"net/netip"
	"testing"
	"time"
)

// TestWords holds the words for what a socket does to the situations the lab
// measured them in.
func TestWords(t *testing.T) {
	info := func(sent, received time.Duration, in, acked uint64, segsOut uint32) Info {
		return Info{LastDataSent: sent, LastDataReceived: received, BytesReceived: in, BytesAcked: acked, DataSegsOut: segsOut}
	}
	const ms = time.Millisecond
	tests := []struct {
		name   string
		socket Socket
		want   string // the words that apply
	}{
		{"server, request unread", Socket{State: Established, Inode: 1, ReceiveQueue: 80, Has: HasInfo, Info: info(9*ms, 3*ms, 0, 1, 0)}, "accepted busy"},
		{"server, first request being answered", Socket{State: Established, Inode: 1, Has: HasInfo, Info: info(9*ms, 9*ms, 80, 1, 0)}, "accepted busy"},
		{"server, later request being answered", Socket{State: Established, Inode: 1, Has: HasInfo, Info: info(90*ms, 3*ms, 160, 500, 4)}, "accepted busy"},
		{"server, idle keep-alive", Socket{State: Established, Inode: 1, Has: HasInfo, Info: info(3*ms, 5*ms, 80, 500, 4)}, "accepted pending"},
		{"server, nothing asked yet", Socket{State: Established, Inode: 1, Has: HasInfo, Info: info(9*ms, 9*ms, 0, 1, 0)}, "accepted"},
		{"client, first request out", Socket{State: Established, Inode: 1, Has: HasInfo, Info: info(9*ms, 9*ms, 0, 81, 1)}, "accepted pending"},
		{"client, answered", Socket{State: Established, Inode: 1, Has: HasInfo, Info: info(9*ms, 3*ms, 500, 81, 1)}, "accepted busy"},
		{"in the accept queue", Socket{State: Established, ReceiveQueue: 80}, "unaccepted"},
		{"gave up in the accept queue", Socket{State: CloseWait, ReceiveQueue: 81}, "unaccepted"},
		{"orphan that sends its last in vain", Socket{State: FinWait1, SendQueue: 900, Timer: TimerRetransmit, Retransmits: 2}, "retransmitting abandoned"},
		{"orphan that nobody reads from", Socket{State: LastAck, SendQueue: 900, Timer: TimerZeroWindow}, "zero_window abandoned"},
		{"orphan that delivers its last", Socket{State: FinWait1, SendQueue: 900, Timer: TimerRetransmit}, ""},
		{"orphan whose FIN is all", Socket{State: Closing, SendQueue: 1, Timer: TimerRetransmit}, "abandoned"},
		{"orphan that waits for the peer's FIN", Socket{State: FinWait2}, "abandoned"},
		{"half closed, and held", Socket{State: FinWait2, Inode: 1}, "accepted"},
		{"retransmit timer, nothing lost", Socket{State: Established, Inode: 1, Timer: TimerRetransmit}, "accepted"},
		{"path lost", Socket{State: Established, Inode: 1, Timer: TimerRetransmit, Retransmits: 1}, "accepted retransmitting"},
		{"SYN unanswered", Socket{State: SynSent, Inode: 1, Timer: TimerRetransmit, Retransmits: 1}, "accepted retransmitting"},
		{"half open, SYN-ACK sent again", Socket{State: SynRecv, Timer: TimerRetransmit, Retransmits: 3}, ""},
		{"peer does not read", Socket{State: Established, Inode: 1, Timer: TimerZeroWindow, SendQueue: 4096}, "accepted zero_window"},
		{"listener with a queue", Socket{State: Listen, Inode: 1, ReceiveQueue: 5, SendQueue: 4}, ""},
		{"without tcp_info", Socket{State: Established, Inode: 1}, "accepted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, word := range []struct {
				name  string
				holds bool
			}{
				{"accepted", tt.socket.Accepted()}, {"unaccepted", tt.socket.Unaccepted()}, {"busy", tt.socket.Busy()},
				{"pending", tt.socket.Pending()}, {"retransmitting", tt.socket.Retransmitting()}, {"zero_window", tt.socket.ZeroWindow()},
				{"abandoned", tt.socket.Abandoned()},
			} {
				if word.holds && got != "" {
					got += " "
				}
				if word.holds {
					got += word.name
				}
			}
			if got != tt.want {
				t.Errorf("%+v is %q, want %q", tt.socket, got, tt.want)
			}
		})
	}
}

func TestStates(t *testing.T) {
	for _, s := range States() {
		got, err := ParseState(s.String())
		if err != nil || got != s {
			t.Errorf("ParseState(%q) = %v, %v", s, got, err)
		}
		if !AllStates.Has(s) || OddStates.Has(s) == (s == Established || s == Listen) || ListenOnly.Has(s) != (s == Listen) {
			t.Errorf("masks are wrong about %s", s)
		}
	}
	if _, err := ParseState("CLOSE_WAIT"); err == nil {
		t.Error("ParseState takes capitals")
	}
	if len(States()) != NumStates-2 { // neither none nor NEW_SYN_RECV
		t.Errorf("%d states of %d", len(States()), NumStates)
	}
}

func TestFilterMatch(t *testing.T) {
	s := Socket{Local: netip.MustParseAddrPort("192.0.2.1:80"), Remote: netip.MustParseAddrPort("198.51.100.7:4711")}
	for _, tt := range []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"none", Filter{}, true},
		{"its local port", Filter{LocalPorts: []uint16{443, 80}}, true},
		{"its remote port", Filter{RemotePorts: []uint16{4711}}, true},
		{"either is enough", Filter{LocalPorts: []uint16{1}, RemotePorts: []uint16{4711}}, true},
		{"another port", Filter{LocalPorts: []uint16{443}}, false},
	} {
		if got := tt.filter.Match(&s); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAbilities(t *testing.T) {
	if lost := AllAbilities.Missing(); len(lost) != 0 {
		t.Errorf("with every ability these are missing: %q", lost)
	}
	if lost := Ability(0).Missing(); len(lost) != len(abilityLosses) {
		t.Errorf("with none, %d of %d are named", len(lost), len(abilityLosses))
	}
	if got := (AllAbilities &^ CanInfo).Missing(); len(got) != 1 {
		t.Errorf("without tcp_info: %q", got)
	}
}
