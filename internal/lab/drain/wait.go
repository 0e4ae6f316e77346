package drain

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// sideOf is what an answer says: "old", "new", "mixed", "other", "none".
func sideOf(addresses []netip.Addr) string {
	old, fresh := slices.Contains(addresses, oldAddr), slices.Contains(addresses, newAddr)
	switch {
	case len(addresses) == 0:
		return "none"
	case old && fresh:
		return "mixed"
	case old:
		return "old"
	case fresh:
		return "new"
	}
	return "other"
}
