package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
)

// MaxFlood is the most SYNs that FloodSYN sends.
const MaxFlood = 1_000_000

// FloodSYN sends so many SYNs a second to target for span, from ever new
// addresses of Void, which never answer. It returns when they are sent or ctx
// is done.
func (h *Host) FloodSYN(ctx context.Context, target netip.AddrPort, perSecond int, span time.Duration) error {
	n := int(float64(perSecond) * span.Seconds())
	if perSecond < 1 || n < 1 || n > MaxFlood {
		return fmt.Errorf("flood %v from %s: %d a second for %v is not 1 to %d SYNs", target, h.name, perSecond, span, MaxFlood)
	}
	var syns synSender
	err := h.Do(func() (err error) {
		syns, err = newSYNSender(target)
		return err
	})
	if err != nil {
		return fmt.Errorf("flood %v from %s: %w", target, h.name, err)
	}
	defer syns.Close()
	const batches = 20 // a second
	ticker := time.NewTicker(time.Second / batches)
	defer ticker.Stop()
	void := Void().Addr()
	for sent, began := 0, time.Now(); sent < n; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for due := min(n, int(time.Since(began).Seconds()*float64(perSecond))); sent < due; sent++ {
			from := netip.AddrPortFrom(addrPlus(void, 2+sent%60_000), uint16(1024+rand.IntN(60_000)))
			if err := syns.send(from); err != nil {
				return fmt.Errorf("flood %v from %s: %w", target, h.name, err)
			}
		}
	}
	return nil
}
