package conntrack

import (
	"errors"
	"net/netip"
	"slices"
)

// Errors a caller branches on. Both are in words for a list of limits.
var (
	// ErrNotThere: the kernel tracks no connections. Then nothing is
	// translated either.
	ErrNotThere = errors.New("connection tracking is not in use in this network namespace")
	// ErrRefused: there is a table, and it may not be read.
	ErrRefused = errors.New("connection tracking may not be read, so service addresses stand for what is behind them" +
		" (it takes CAP_DAC_READ_SEARCH where there is /proc/net/nf_conntrack, else CAP_NET_ADMIN)")
)

// flow is a connection as the one who opened it sees it.
type flow struct{ local, remote netip.AddrPort }

// Table is what was translated when it was read. The zero value is empty. It
// is not changed by reading it, from as many goroutines as you like.
type Table struct {
	flows map[flow]netip.AddrPort
	// Read counts the entries that were read, of all protocols.
	Read int
	// Malformed counts those that were not understood.
	Malformed int
	// Ambiguous counts connections left out because the table gives them two
	// destinations, as it may in two zones.
	Ambiguous int
	// Cut is true when there were more entries than the limit, or when the
	// kernel's answer broke off: what Undo does not know may be translated.
	Cut bool
}

// Undo returns where the connection from local to remote really goes; ok is
// false when it is not translated, as far as the table knows. IPv4 addresses
// may be v4-mapped.
func (t Table) Undo(local, remote netip.AddrPort) (to netip.AddrPort, ok bool) {
	to = t.flows[flow{unmap(local), unmap(remote)}]
	return to, to.IsValid()
}

// Behind returns where connections to each service address go, each once and
// in order, as far as the table knows: those of others that pass here too. It
// walks the table once. IPv4 addresses are not v4-mapped.
func (t Table) Behind() map[netip.AddrPort][]netip.AddrPort {
	out := map[netip.AddrPort][]netip.AddrPort{}
	for from, to := range t.flows {
		if to.IsValid() {
			out[from.remote] = append(out[from.remote], to)
		}
	}
	for service, all := range out {
		slices.SortFunc(all, netip.AddrPort.Compare)
		out[service] = slices.Compact(all)
	}
	return out
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// tuple is one direction of a tracked connection.
type tuple struct{ source, destination netip.AddrPort }

// add notes a TCP connection if its destination was translated: then those who
// answer are not those who were asked.
func (t *Table) add(original, reply tuple) {
	from, to := flow{original.source, original.destination}, reply.source
	if from.remote == to {
		return
	}
	if before, known := t.flows[from]; known && before != to {
		if before.IsValid() {
			t.Ambiguous++
		}
		to = netip.AddrPort{} // not valid: it is nobody's
	}
	if t.flows == nil {
		t.flows = map[flow]netip.AddrPort{}
	}
	t.flows[from] = to
}
