// Package reply is what the network answered, as values: DNS servers' answers,
// and what came of connecting to an address. It has no I/O.
package reply

import (
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/enum"
)

// Role is why a DNS server is asked.
type Role uint8

// The roles.
const (
	System        Role = iota // this host's own resolver: /etc/resolv.conf, systemd-resolved
	Configured                // named in the configuration, an internet provider's for example
	Public                    // a well-known public one
	Authoritative             // a server of the name's zone
)

var roleNames = [...]string{"system", "configured", "public", "authoritative"}

// String names it: "system".
func (r Role) String() string { return enum.Name(r, "role", roleNames[:]) }

// Server is one DNS server to ask.
type Server struct {
	Address netip.AddrPort
	// Label is what people call it: "system", "ns1.example", "Quad9".
	Label string
	Role  Role
	// Zone is what an authoritative server answers for, "example"; empty for any
	// other.
	Zone string
}

// Failure is why there is no answer to go by. The zero value: there is one.
type Failure uint8

// The failures.
const (
	Answered    Failure = iota
	TimedOut            // nothing came in time
	Unreachable         // refused, or no way there
	Refused             // RCODE 5
	NoSuchName          // NXDOMAIN
	NoAddress           // the name is there and has no address of that family
	ServFail            // RCODE 2
	Bogus               // RCODE 2 with an Extended DNS Error of DNSSEC (RFC 8914, 6 to 12)
	Malformed           // cannot be read, or does not answer what was asked
	Loop                // a CNAME chain that comes back to itself, or is longer than 16
	OtherRCode          // any other RCODE
)

var failureNames = [...]string{"none", "timed_out", "unreachable", "refused", "no_such_name", "no_address", "servfail", "dnssec_bogus", "malformed", "cname_loop", "other_rcode"}

// String names it: "timed_out".
func (f Failure) String() string { return enum.Name(f, "failure", failureNames[:]) }

// Extended is an Extended DNS Error: RFC 8914. 3 is a stale answer, 19 a stale
// NXDOMAIN.
type Extended struct {
	Code uint16
	Text string // as the server wrote it, printable, at most 200 bytes
}

// Answer is what one server said about the addresses of one name, of both
// families together.
type Answer struct {
	Name   string
	Server netip.AddrPort
	// Label is what people call the server: "system", "ns1.example", "unbound-9".
	Label string
	Role  Role
	// Failure says why there is nothing else here; of two families the better
	// answer counts.
	Failure Failure
	// Words is Failure for a person, with what to do; without one, what was left
	// out of the answer and why, mostly nothing.
	Words string
	// Addresses are sorted, each once, at most 64.
	Addresses []netip.Addr
	// TTL is what is left of the least TTL of the address records and the CNAMEs
	// on the way to them.
	TTL time.Duration
	// CNAMEs are the names on the way, in order.
	CNAMEs []string
	// Serial is that of the zone's SOA, of an authoritative server; zero: none.
	Serial uint32
	// Extended are the server's Extended DNS Errors.
	Extended []Extended
	// Stale: the server says itself that the answer has expired (Extended 3 or 19).
	Stale bool
	// At is when the answer came, on the agent's steady clock, after Took.
	At   time.Time
	Took time.Duration
	// AddressTTL is what is left of the greatest TTL of the address records
	// alone; Longest the same with the CNAMEs on the way: a cache keeps each for
	// itself, so that is for how long it may go on with a part of the answer.
	AddressTTL, Longest time.Duration
	// Lacks4 and Lacks6: the question for the addresses of that family failed, so
	// that nothing is known of them; a family that the name does not have is known.
	Lacks4, Lacks6 bool
	// Onward: an alias led out of an authoritative server's zone, and a resolver
	// said the rest: its TTLs are what is left in a cache, and no zone's own.
	Onward bool
}

// Lacks reports whether the answer says nothing of addresses of that family.
func (a *Answer) Lacks(addr netip.Addr) bool {
	if addr.Is4() {
		return a.Lacks4
	}
	return a.Lacks6
}

// metadata are where clouds tell a host its secrets, beside the addresses of the
// link: AWS by IPv6, Alibaba Cloud, Azure, Oracle Cloud.
var metadata = [...]netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
}

// Inward reports whether an address leads into this host or its link, or to the
// cloud that it is in. A name server that names such a one is not followed there:
// it would have this host connect where only this host can.
func Inward(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || a.IsLinkLocalUnicast() || slices.Contains(metadata[:], a)
}

// Outward are those of the addresses that are not inward.
func Outward(addresses []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addresses), Inward)
}

// Stage is how far a probe came.
type Stage uint8

// The stages, in order.
const (
	Connect Stage = iota
	TLS
	HTTP
	Identity
	Done
)

var stageNames = [...]string{"connect", "tls", "http", "identity", "done"}

// String names it: "tls".
func (s Stage) String() string { return enum.Name(s, "stage", stageNames[:]) }

// Probe is what came of connecting to one address as a user would.
type Probe struct {
	Name    string
	Address netip.AddrPort
	// Failed is the stage that failed; Done: none did.
	Failed Stage
	// Wrong: something answers, and it is not the application that was expected:
	// another TLS name, status, header or body.
	Wrong bool
	// Words says what was found, for a person; never any part of a body.
	Words  string
	Status int // of HTTP; zero where there was none
	At     time.Time
	Took   time.Duration
}
