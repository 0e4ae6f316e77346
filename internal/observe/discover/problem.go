package discover

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Kind is what is wrong with a configured address.
type Kind uint8

// The kinds of problem. The zero value is none.
const (
	NoProblem Kind = iota
	// NothingListens: the service is down, or its address is wrong.
	NothingListens
	// Shared: a listener on more addresses than the configured one serves it.
	// Connections are told apart, the accept queue is not.
	Shared
	// Taken: another configured service has the very same address and port.
	Taken
)

var kindNames = [...]string{"none", "nothing_listens", "shared", "taken"}

// String names the kind: "nothing_listens".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind_%d", uint8(k))
}

// Problem is something the user should know about a configured service.
type Problem struct {
	Kind    Kind
	Service string
	Listen  netip.AddrPort
	// Other is the service that has the listener, when Shared, or the
	// address, when Taken; Via the listener, when Shared.
	Other string
	Via   netip.AddrPort
}

// String says it: "configured service web: nothing listens on :80".
func (p Problem) String() string {
	what := "no problem with " + spell(p.Listen)
	switch p.Kind {
	case NothingListens:
		what = "nothing listens on " + spell(p.Listen)
	case Shared:
		what = fmt.Sprintf("%s is served by the listener %s of %s, where its queue is counted", spell(p.Listen), spell(p.Via), p.Other)
	case Taken:
		what = fmt.Sprintf("%s is configured for %s too, which has it", spell(p.Listen), p.Other)
	}
	return "configured service " + p.Service + ": " + what
}

// spell writes an address the way the configuration does: ":80" is every
// address.
func spell(a netip.AddrPort) string {
	if a.Addr() == netip.IPv6Unspecified() {
		return ":" + strconv.Itoa(int(a.Port()))
	}
	return a.String()
}
