package scope

import (
	"net/netip"
	"strings"
)

// Backend is one remote address and port that a chosen process talks to.
type Backend struct {
	// Name is the backend's in the whole namespace: its group and the name it
	// has there ("shop/s1"), or its address where nobody names it
	// ("haproxy/192.0.2.10:8080").
	Name string
	// Group ties siblings: the proxy service, the pool, or the process. Never
	// empty.
	Group string
	// Remote is where the connections go.
	Remote netip.AddrPort
	// Process is the short name of the program that talks to it, PIDs its
	// processes.
	Process string
	PIDs    []int
	// Cgroups are the cgroup v2 ids of those processes. Sockets of other
	// cgroups are not the backend's; empty takes every socket to Remote.
	Cgroups []uint64
	// Source is who named it, for a person: "observed", "haproxy
	// /run/haproxy/admin.sock", "dns shop.internal", "configured".
	Source string
	// Also are further names of the same address: sockets cannot tell them
	// apart, so they are judged as one.
	Also []string
	// Behind is where connections to it really go, sorted, where it is a service
	// address and that was seen: sockets do not show which of them they reach.
	Behind []netip.AddrPort
	// Configured is true when the user's file names it or its process.
	Configured bool
	// Namespace is the network namespace its connections are in; empty for our
	// own.
	Namespace string
	// Limit is what is odd about it, for a person; empty when nothing is.
	Limit string
}

// ID returns the scope's name.
func (b *Backend) ID() ID { return ID{KindBackend, b.Name, b.Namespace} }

// Describe says what it is in a few words: "haproxy to 192.0.2.10:8080".
func (b *Backend) Describe() string {
	out := b.Remote.String()
	if b.Process != "" {
		out = b.Process + " to " + out
	}
	if len(b.Also) > 0 {
		out += ", also " + strings.Join(b.Also, ", ")
	}
	return out
}
