package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/observe/conntrack"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
)

// track finds out which peers are service addresses: their connections are
// translated to another destination on the way, in their own namespace or, as
// a pod's, in the host's, which mostly is ours.
func (f *backendFinder) track(now time.Time, peers []discover.Peer, at place) {
	began := threadTime()
	defer func() { f.trackedAt = now.Add(max(trackEvery, trackTimes*(threadTime()-began))) }()
	f.behind, f.untracked = map[netip.AddrPort][]netip.AddrPort{}, nil
	table, err := at.processes.tracked.read(now)
	f.undo(peers, table)
	if at.name != "" { // our own namespace's limits say what is wrong with that
		err = at.enter(func() error {
			table, err := readTracked()
			f.undo(peers, table)
			return err
		})
	}
	switch {
	case errors.Is(err, netns.ErrStuck):
		f.stuck = err
	case err != nil && !errors.Is(err, conntrack.ErrNotThere) && !errors.Is(err, netns.ErrGone):
		f.untracked = err
	}
}

// tracked is our own namespace's table, as of less than trackEvery ago: one
// reading serves all pipelines.
type tracked struct {
	table conntrack.Table
	err   error
	at    time.Time
}

func (t *tracked) read(now time.Time) (conntrack.Table, error) {
	if t.at.IsZero() || now.Sub(t.at) >= trackEvery {
		t.at = now
		t.table, t.err = readTracked()
	}
	return t.table, t.err
}

// readTracked reads the table of the calling thread's namespace; one that is
// cut comes with an error.
func readTracked() (conntrack.Table, error) {
	table, err := conntrack.Read(maxTracked)
	if err == nil && table.Cut {
		err = errTrackedCut
	}
	return table, err
}

// errTrackedCut: the kernel gives its entries in an order of its own, so that
// the same ones are missing each time.
var errTrackedCut = fmt.Errorf("only the first %d tracked connections were read: the rest may hide service addresses, which stand for what is behind them", maxTracked)

// undo notes which peers a table shows to be service addresses.
func (f *backendFinder) undo(peers []discover.Peer, table conntrack.Table) {
	behind := table.Behind()
	for _, peer := range peers {
		if slices.ContainsFunc(peer.Locals, func(local netip.AddrPort) bool {
			_, translated := table.Undo(local, peer.Remote)
			return translated
		}) {
			f.behind[peer.Remote] = behind[netip.AddrPortFrom(peer.Remote.Addr().Unmap(), peer.Remote.Port())]
		}
	}
}

// serviceAddress says that a backend is one, and what was seen behind it.
func serviceAddress(behind []netip.AddrPort) string {
	return fmt.Sprintf("a service address: its connections go on to %v and perhaps others, and are judged together", behind)
}
