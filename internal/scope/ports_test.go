package scope

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/tcp"
)

// TestPortMapIsAMap compares it with the table of all ports that it stands for.
func TestPortMapIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table [1 << 16]uint16
		m := newPortMap()
		for range rapid.IntRange(0, 60).Draw(t, "changes") {
			port, at := rapid.Uint16().Draw(t, "port"), rapid.Uint16Range(1, 1<<16-1).Draw(t, "at")
			table[port] = at
			m.set(port, at)
		}
		for port, want := range table {
			if got := m.get(uint16(port)); got != want {
				t.Fatalf("port %d: %d, want %d", port, got, want)
			}
		}
	})
}

func TestPortMapTakesAllPorts(t *testing.T) {
	m := newPortMap()
	for port := range 1 << 16 {
		m.set(uint16(port), uint16(port)|1)
	}
	for port := range 1 << 16 {
		if got := m.get(uint16(port)); got != uint16(port)|1 {
			t.Fatalf("port %d: %d", port, got)
		}
	}
}

// TestSmallIndexIsSmall: hundreds of namespaces have an index each.
func TestSmallIndexIsSmall(t *testing.T) {
	services := []Service{{Name: "web", Listen: addrPorts("[::]:80")}}
	if got := len(NewIndex(services).byPort.entries); got > leastPorts {
		t.Errorf("an index of one service has %d entries", got)
	}
}

func BenchmarkIndexService(b *testing.B) {
	ix := NewIndex([]Service{{Name: "web", Listen: addrPorts("[::]:80", "[::]:443")}})
	sockets := make([]tcp.Socket, 1024)
	for i := range sockets {
		port := uint16(80)
		if i%2 == 0 {
			port = uint16(32768 + 7*i)
		}
		sockets[i].Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), port)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range sockets {
			ix.Service(&sockets[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sockets)), "ns/socket")
}
