package agent

import (
	"github.com/foreshock/foreshock/internal/dial"
	"github.com/foreshock/foreshock/internal/tcp"
)

// leaveOut takes the agent's own connections out of a batch, in place: in its
// own namespace at both ends, in others at the end that a server there has.
func (x *place) leaveOut(batch []tcp.Socket) []tcp.Socket {
	probes := x.probes.Probes()
	ours := probes.Has
	if x.name != "" {
		ours = probes.HasServed
	}
	kept := 0
	for i := range batch {
		if ours(&batch[i]) {
			continue
		}
		if kept != i {
			batch[kept] = batch[i]
		}
		kept++
	}
	return batch[:kept]
}

// ownCounts takes what our connections added out of the counters of our
// namespace. An attempt of ours that is refused is no sign of a backend.
type ownCounts struct {
	read, told [tcp.NumCounters]uint64 // at the last reading: by the kernel, and by us
}

// leaveOut changes a reading. The kernel counts a moment before we do: what
// that makes one too many now is not taken back later, as no count falls.
func (x *ownCounts) leaveOut(c *tcp.Counters, ours dial.Counts) {
	for _, own := range []struct {
		name tcp.Counter
		n    uint64
	}{{tcp.ActiveOpens, ours.Opened}, {tcp.AttemptFails, ours.Failed}, {tcp.PassiveOpens, ours.Served}} {
		read, known := c.Get(own.name)
		if !known {
			continue
		}
		if read < x.read[own.name] {
			x.told[own.name] = 0 // begun anew, or wrapped
		}
		told := max(read-min(read, own.n), x.told[own.name])
		x.read[own.name], x.told[own.name] = read, told
		c.Set(own.name, told)
	}
}
