// Package resolve looks up the names of backends and remembers what they
// stood for.
//
//	host, port, err := resolve.Split("shop.internal:8080")
//	...
//	answer, err := resolve.Resolve(ctx, net.DefaultResolver.LookupNetIP, host) // off the loop: it may take seconds
//	...
//	names.Step(now, host, answer) // on it: no clock, no I/O
//	addresses, _ := names.Addresses(host, now.Add(-10*time.Minute))
//
// [Resolve] asks once. [Names] is the memory: a failed lookup changes nothing,
// so that a resolver that is down takes no backend away.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// MaxAddresses is how many addresses of one name are taken. Answers with more
// do not fit in the 4 KiB that resolvers commonly take by UDP.
const MaxAddresses = 64

// ErrNoAddress is an answer without any address that a connection can go to.
var ErrNoAddress = errors.New("the answer has no address")

// Lookup asks for the addresses of a host, as (*net.Resolver).LookupNetIP does.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Split parts "shop.internal:8080" into the name and the port.
func Split(target string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(target)
	if err == nil && host == "" {
		err = errors.New("no name")
	}
	if err != nil {
		return "", 0, fmt.Errorf("%q is not a name with a port (%w); write it as shop.internal:8080", target, err)
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q has no port from 1 to 65535; write it as shop.internal:8080", target)
	}
	return host, uint16(n), nil
}

// Resolve asks for the addresses of name, of both families: sorted, each once,
// IPv4-mapped ones folded. It waits until ctx ends. The error wraps the
// lookup's, or is ErrNoAddress, and says what to do.
func Resolve(ctx context.Context, lookup Lookup, name string) ([]netip.Addr, error) {
	answer, err := lookup(ctx, "ip", name)
	if err == nil {
		if answer = tidy(answer); len(answer) > 0 {
			return answer, nil
		}
		err = ErrNoAddress
	}
	hint := "is a resolver of /etc/resolv.conf within reach?"
	e, ok := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, ErrNoAddress) || ok && e.IsNotFound:
		hint = "correct the name, or bring its record back"
	case errors.Is(err, context.DeadlineExceeded) || ok && e.IsTimeout:
		hint = "the resolvers of /etc/resolv.conf did not answer in time"
	}
	return nil, fmt.Errorf("look up %s: %w; %s", name, err, hint)
}

// tidy sorts an answer and leaves out what is there twice and what is no place
// to connect to.
func tidy(answer []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(answer))
	for _, addr := range answer {
		// The kernel's table keeps the interface of a link-local address apart.
		addr = addr.Unmap().WithZone("")
		if addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
