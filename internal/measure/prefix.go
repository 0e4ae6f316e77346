package measure

import "net/netip"

// PrefixHeld is how many workers the clients of one prefix hold.
type PrefixHeld struct {
	// Prefix is a /24 of IPv4 or a /56 of IPv6.
	Prefix netip.Prefix
	// Held counts the workers it holds; Slow those of them whose client sends
	// so little, so slowly, that it looks meant.
	Held, Slow uint32
}
