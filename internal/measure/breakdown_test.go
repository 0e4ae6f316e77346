package measure

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/tcp"
)

// asked is a connection whose client spoke last, answered one whose server did.
var (
	asked    = tcp.Info{BytesReceived: 10, DataSegsOut: 1, LastDataReceived: time.Second, LastDataSent: 2 * time.Second}
	answered = tcp.Info{BytesReceived: 10, DataSegsOut: 1, LastDataReceived: 2 * time.Second, LastDataSent: time.Second}
)

func TestCountsAdd(t *testing.T) {
	in := func(s tcp.State, set func(*Counts)) Counts {
		c := Counts{Sockets: 1}
		c.States[s] = 1
		set(&c)
		return c
	}
	tests := []struct {
		name   string
		socket tcp.Socket
		want   Counts
	}{
		{"a listener's queues are no bytes", tcp.Socket{State: tcp.Listen, Inode: 1, ReceiveQueue: 3, SendQueue: 511},
			in(tcp.Listen, func(c *Counts) { c.QueueDepth, c.QueueLimit = 3, 511 })},
		{"held and idle", tcp.Socket{State: tcp.Established, Inode: 1},
			in(tcp.Established, func(c *Counts) { c.Accepted = 1 })},
		{"held, with unread bytes", tcp.Socket{State: tcp.Established, Inode: 1, ReceiveQueue: 5},
			in(tcp.Established, func(c *Counts) { c.Accepted, c.Busy = 1, 1 })},
		{"held, the client spoke last", tcp.Socket{State: tcp.Established, Inode: 1, Has: tcp.HasInfo, Info: asked},
			in(tcp.Established, func(c *Counts) { c.Accepted, c.Busy = 1, 1 })},
		{"held, we spoke last", tcp.Socket{State: tcp.Established, Inode: 1, Has: tcp.HasInfo, Info: answered},
			in(tcp.Established, func(c *Counts) { c.Accepted, c.Pending = 1, 1 })},
		{"waiting to be accepted, bytes and all", tcp.Socket{State: tcp.Established, ReceiveQueue: 5},
			in(tcp.Established, func(c *Counts) { c.Unaccepted = 1 })},
		{"gave up while waiting", tcp.Socket{State: tcp.CloseWait},
			in(tcp.CloseWait, func(c *Counts) { c.Unaccepted, c.UnacceptedCloseWait = 1, 1 })},
		{"not closed by us", tcp.Socket{State: tcp.CloseWait, Inode: 1},
			in(tcp.CloseWait, func(c *Counts) { c.Accepted = 1 })},
		{"retransmitting", tcp.Socket{State: tcp.SynSent, Inode: 1, Timer: tcp.TimerRetransmit, Retransmits: 1},
			in(tcp.SynSent, func(c *Counts) { c.Retransmitting = 1 })},
		{"a SYN-ACK sent again is no failure of ours", tcp.Socket{State: tcp.SynRecv, Timer: tcp.TimerRetransmit, Retransmits: 1},
			in(tcp.SynRecv, func(*Counts) {})},
		{"the peer does not read", tcp.Socket{State: tcp.Established, Inode: 1, Timer: tcp.TimerZeroWindow, SendQueue: 9},
			in(tcp.Established, func(c *Counts) { c.Accepted, c.ZeroWindow = 1, 1 })},
		{"closed, not in use", tcp.Socket{State: tcp.TimeWait}, in(tcp.TimeWait, func(*Counts) {})},
		{"a state that no kernel has yet", tcp.Socket{State: 77}, Counts{Sockets: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Counts
			got.Add(&tt.socket)
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBreakdownRows(t *testing.T) {
	b := NewBreakdown[string](3)
	add := func(key string, states ...tcp.State) {
		for _, s := range states {
			b.Add(key, &tcp.Socket{State: s, Inode: 1})
		}
	}
	b.Touch("empty")
	add("b", tcp.Established)
	add("a", tcp.Established)
	add("late", tcp.TimeWait, tcp.Listen) // beyond the bound of three
	add("b", tcp.CloseWait)
	b.Touch("later still")

	of := func(states ...tcp.State) (c Counts) {
		for _, s := range states {
			c.Add(&tcp.Socket{State: s, Inode: 1})
		}
		return c
	}
	tests := []struct {
		name string
		top  int
		rows []Row[string]
		rest Counts
	}{
		{"all", 0, []Row[string]{{"b", of(tcp.Established, tcp.CloseWait)}, {"a", of(tcp.Established)}, {"empty", of()}}, of(tcp.TimeWait, tcp.Listen)},
		{"more than there are", 9, []Row[string]{{"b", of(tcp.Established, tcp.CloseWait)}, {"a", of(tcp.Established)}, {"empty", of()}}, of(tcp.TimeWait, tcp.Listen)},
		{"the largest", 1, []Row[string]{{"b", of(tcp.Established, tcp.CloseWait)}}, of(tcp.TimeWait, tcp.Listen, tcp.Established)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, rest, groups := b.Rows(tt.top, cmp.Compare[string])
			if diff := gocmp.Diff(tt.rows, rows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(tt.rest, rest); diff != "" {
				t.Errorf("rest (-want +got):\n%s", diff)
			}
			if groups != 3 {
				t.Errorf("%d groups, want 3", groups)
			}
		})
	}
	if diff := gocmp.Diff(of(tcp.Established, tcp.Established, tcp.CloseWait, tcp.TimeWait, tcp.Listen), b.Total); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	if got := b.Total.Connections(); got != 3 { // neither LISTEN nor TIME_WAIT
		t.Errorf("%d connections, want 3", got)
	}
}

// slowRows is what a Breakdown should find, worked out from all sockets at
// once: which keys came first, then one pass per group.
func slowRows(keys []int, sockets []tcp.Socket, most, top int) (rows []Row[int], rest Counts, groups int) {
	var kept []int
	for _, k := range keys {
		if !slices.Contains(kept, k) && len(kept) < most {
			kept = append(kept, k)
		}
	}
	group := func(wanted func(key int) bool) (c Counts) {
		for i, k := range keys {
			if wanted(k) {
				c.Add(&sockets[i])
			}
		}
		return c
	}
	size := func(key int) int { c := group(func(k int) bool { return k == key }); return c.Sockets }
	slices.Sort(kept)
	slices.SortStableFunc(kept, func(a, b int) int { return size(b) - size(a) })
	groups = len(kept)
	if top > 0 && top < len(kept) {
		kept = kept[:top]
	}
	rows = []Row[int]{}
	for _, key := range kept {
		rows = append(rows, Row[int]{key, group(func(k int) bool { return k == key })})
	}
	return rows, group(func(k int) bool { return !slices.Contains(kept, k) }), groups
}

func TestBreakdownAgainstSlowTwin(t *testing.T) {
	socket := rapid.Custom(func(t *rapid.T) tcp.Socket {
		return tcp.Socket{
			State:        tcp.State(rapid.IntRange(0, tcp.NumStates+1).Draw(t, "state")),
			Inode:        rapid.Uint64Range(0, 1).Draw(t, "inode"),
			ReceiveQueue: rapid.Uint32Range(0, 2).Draw(t, "receive queue"),
			SendQueue:    rapid.Uint32().Draw(t, "send queue"), // sums of listeners pass 32 bits
			Timer:        tcp.Timer(rapid.IntRange(0, 4).Draw(t, "timer")),
			Retransmits:  rapid.Uint8Range(0, 2).Draw(t, "retransmits"),
			Has:          tcp.Has(rapid.IntRange(0, 31).Draw(t, "has")),
			Info:         rapid.SampledFrom([]tcp.Info{{}, asked, answered}).Draw(t, "info"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		sockets := rapid.SliceOfN(socket, 0, 60).Draw(t, "sockets")
		keys := rapid.SliceOfN(rapid.IntRange(0, 9), len(sockets), len(sockets)).Draw(t, "keys")
		most := rapid.IntRange(0, 12).Draw(t, "most")
		top := rapid.IntRange(0, 12).Draw(t, "top")
		b := NewBreakdown[int](most)
		for i, k := range keys {
			b.Add(k, &sockets[i])
		}
		rows, rest, groups := b.Rows(top, cmp.Compare[int])
		wantRows, wantRest, wantGroups := slowRows(keys, sockets, most, top)
		if diff := gocmp.Diff(wantRows, rows); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff(wantRest, rest); diff != "" {
			t.Errorf("rest (-want +got):\n%s", diff)
		}
		if groups != wantGroups {
			t.Errorf("%d groups, want %d", groups, wantGroups)
		}
		if rest.Sockets+sum(rows) != len(sockets) || b.Total.Sockets != len(sockets) {
			t.Errorf("%d in rows, %d in the rest, %d in all, of %d sockets", sum(rows), rest.Sockets, b.Total.Sockets, len(sockets))
		}
	})
}

func sum(rows []Row[int]) (n int) {
	for _, r := range rows {
		n += r.Sockets
	}
	return n
}
