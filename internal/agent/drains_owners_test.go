package agent

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/netns"
)

// TestOwnersOfShortConnections: who was found to hold a connection is found to
// hold the next one at once, without a walk over all processes.
func TestOwnersOfShortConnections(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	labtest.Need(t, err)
	t.Cleanup(func() { _ = l.Close() })
	self, err := netns.Self()
	labtest.Need(t, err)
	next := func() map[string][]heldSocket {
		conn := connected(t, l.Addr().(*net.TCPAddr).AddrPort())
		raw, err := conn.(*net.TCPConn).SyscallConn()
		labtest.Need(t, err)
		var st syscall.Stat_t
		labtest.Need(t, raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &st) }))
		labtest.Need(t, err)
		return map[string][]heldSocket{"shop.example": {
			{HeldSocket: measure.HeldSocket{Inode: st.Ino}, id: self},
			{HeldSocket: measure.HeldSocket{Inode: 1, Served: true, Local: netip.MustParseAddrPort("192.0.2.1:80")}, id: self},
		}}
	}
	clock, x := NewClock(), &ownersSeen{unseen: []string{"of another time"}}
	for i := range 3 {
		x.nearAt = clock.Now() // as it is a second later, when a report is made anew
		sockets := next()
		inode := sockets["shop.example"][0].Inode
		if got := x.find(clock, sockets); len(got) != 1 || got[inode].PID != os.Getpid() {
			t.Fatalf("connection %d: %+v", i, got)
		}
		if len(x.near(clock.Now())) != 1 || len(x.unseen) > 0 {
			t.Errorf("connection %d: near are %v, unseen %q", i, x.found, x.unseen)
		}
	}
	if x.near(clock.Now().Add(2 * nearFor)); len(x.found) > 0 {
		t.Errorf("who was found long ago is remembered: %v", x.found)
	}
}
