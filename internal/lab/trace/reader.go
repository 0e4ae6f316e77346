package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/observe/counters"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Reader reads the kernel for one namespace.
type Reader struct {
	sockets  *sockdiag.Reader
	counters *counters.Reader
	tally    *Tally
}

// Open opens a Reader of the sockets to remotes in the calling thread's
// namespace. It goes on reading that namespace from any thread.
func Open(remotes []netip.AddrPort) (*Reader, error) {
	sockets, err := sockdiag.Open(tcp.NewScratch())
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	c, err := counters.Open("/proc/thread-self/net", tcp.NewScratch())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open trace: %w", err), sockets.Close())
	}
	return &Reader{sockets: sockets, counters: c, tally: NewTally(remotes)}, nil
}

// Close lets go of the namespace.
func (r *Reader) Close() error { return errors.Join(r.sockets.Close(), r.counters.Close()) }

// Look reads all sockets and counters; zero is what Since counts from.
func (r *Reader) Look(zero time.Time) (Line, error) {
	at := time.Now()
	r.tally.Begin()
	look, err := r.sockets.Read(tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true}, func(batch []tcp.Socket) {
		r.tally.Add(at, batch)
	})
	remotes := r.tally.End()
	if err != nil {
		return Line{}, err
	}
	line := Line{
		At: at, Since: at.Sub(zero).Seconds(), Took: look.Duration.Seconds(), Completeness: look.Completeness.String(),
		Sockets: look.Sockets, Remotes: remotes, Counters: map[string]uint64{},
	}
	var now tcp.Counters
	if err := r.counters.Read(&now); err != nil {
		return Line{}, err
	}
	for _, c := range []tcp.Counter{
		tcp.ActiveOpens, tcp.AttemptFails, tcp.EstabResets, tcp.OutRsts, tcp.RetransSegs, tcp.TCPTimeouts, tcp.TCPSynRetrans,
		tcp.TCPAbortOnTimeout, tcp.CurrEstab, tcp.SockOrphan, tcp.SockTimeWait,
	} {
		if value, ok := now.Get(c); ok {
			line.Counters[c.String()] = value
		}
	}
	return line, nil
}
