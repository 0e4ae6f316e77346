package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

func (h *history) takeQueue(y *Tally, look *tcp.Look) {
	q := &y.Queue
	h.set(Listeners, float64(q.Listeners), int(q.Listeners))
	if q.Listeners == 0 {
		h.unknown(NoListener, QueueDepth, QueueLimit, QueueWait, ListenDropsRate)
		h.drops.Reset()
		return
	}
	h.set(QueueDepth, float64(q.Depth), int(q.Listeners))
	h.setIf(look.Abilities.Has(tcp.CanQueueLimit), QueueLimit, float64(q.Limit), int(q.Listeners), NoAbility)
	if look.Request.Tier != tcp.Pulse {
		return // only the pulse asks for the drop counts
	}
	if !look.Abilities.Has(tcp.CanDrops) {
		h.unknown(NoAbility, ListenDropsRate)
		return
	}
	dropped := 0.0
	if q.Set == h.dropSet && h.drops.Len() > 0 {
		// The kernel's count is 32 bits wide per listener; it wraps upwards.
		dropped = float64(uint32(q.Drops - h.lastSum))
	}
	h.dropSet, h.lastSum = q.Set, q.Drops
	h.drops.Count(h.now, dropped)
	h.setRate(ListenDropsRate, h.drops)
}

// judgeWait works out how long a new connection waits to be accepted. It knows
// lower bounds only, and takes the largest:
//
//   - depth ÷ (what left all accept queues of the namespace per second): exact
//     when this service is the only one that accepts, low otherwise;
//   - for how long the queue has not been empty, when nothing at all was taken;
//   - the time the oldest one in the queue has waited already, seen by the
//     focus tier.
func (h *history) judgeWait(c *counterHistory) {
	now := h.now
	depth, known := h.signals.Readings[QueueDepth].Get()
	if !known {
		return // takeQueue said why
	}
	if depth == 0 {
		h.waiting = time.Time{}
		h.set(QueueWait, 0, 0)
		return
	}
	if h.waiting.IsZero() {
		h.waiting = now
	}
	wait, have := 0.0, false
	if drained, over, ok := c.drained(); ok {
		wait, have = now.Sub(h.waiting).Seconds(), true
		if drained >= 1 {
			wait = depth * over.Seconds() / drained
		}
	}
	if oldest := &h.signals.Readings[OldestUnaccepted]; oldest.Validity == Known && !now.After(oldest.Until()) {
		wait, have = max(wait, oldest.Value), true
	}
	if !have {
		h.unknown(NotEnough, QueueWait)
		return
	}
	h.set(QueueWait, wait, int(depth))
}
