// Package scope names the sets of sockets that Foreshock judges as one, and
// says which of them a socket belongs to.
//
// A [Service] is a local listener. An [Index] is built from the services of a
// namespace and classifies a socket by its local end:
//
//	ix := scope.NewIndex(services)
//	switch i := ix.Service(&socket); i {
//	case scope.None: // nobody's: it counts as Rest
//	default:         // services[i]
//	}
//
// A [Backend] has an index of its own. Addresses join with their story.
package scope

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/enum"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Kind is what sort of set a scope is.
type Kind uint8

// The kinds. The zero value is no scope.
const (
	KindNone    Kind = iota
	KindService      // a local listener
	KindBackend      // one remote address and port a chosen process talks to
	KindRegion       // remote prefixes
	KindAddress      // an old or new address after a switch
	KindHost         // the host itself
	KindRest         // what no scope claims
	KindAgent        // a part of Foreshock itself; it has no sockets
)

var kindNames = [...]string{"none", "service", "backend", "region", "address", "host", "rest", "agent"}

// String names the kind: "service".
func (k Kind) String() string { return enum.Name(k, "kind", kindNames[:]) }

// ID names one scope for as long as it means the same thing, over restarts
// and reloads too. The three are unique together.
type ID struct {
	Kind Kind
	Name string
	// Namespace is the name of the network namespace it is in; empty for the
	// agent's own.
	Namespace string
}

// The two scopes every namespace has; In says which one's.
var (
	Host = ID{Kind: KindHost, Name: "host"}
	Rest = ID{Kind: KindRest, Name: "rest"}
)

// In returns the same scope of another namespace.
func (id ID) In(namespace string) ID {
	id.Namespace = namespace
	return id
}

// String is how the API and the logs spell an ID: "service/web", and
// "service/web@shop" in the namespace shop.
func (id ID) String() string {
	out := id.Name
	if id.Kind != KindHost && id.Kind != KindRest {
		out = id.Kind.String() + "/" + out
	}
	if id.Namespace != "" {
		out += "@" + id.Namespace
	}
	return out
}

// Parse reads an ID as String spells it: "service/web", "backend/shop/s1@pod",
// "host". It is false for anything else. A namespace's name has no slash, so that
// Traefik's "backend/shop/app@file/192.0.2.1:80" is in our own.
func Parse(text string) (id ID, ok bool) {
	name := text
	if at := strings.LastIndexByte(text, '@'); at >= 0 && !strings.Contains(text[at:], "/") {
		name, id.Namespace = text[:at], text[at+1:]
	}
	switch name {
	case Host.Name:
		id.Kind, id.Name = KindHost, name
	case Rest.Name:
		id.Kind, id.Name = KindRest, name
	default:
		kind, rest, _ := strings.Cut(name, "/")
		i := slices.Index(kindNames[:], kind)
		if i <= int(KindNone) || Kind(i) == KindHost || Kind(i) == KindRest {
			return ID{}, false
		}
		id.Kind, id.Name = Kind(i), rest
	}
	return id, id.Name != "" && id.String() == text
}

// Service is a local listener, or several that one configured name joins.
type Service struct {
	// Name is the configured name, else the process with its ports
	// ("nginx:80"), else the ports.
	Name string
	// Listen holds the addresses and ports, sorted. An unspecified address
	// (0.0.0.0 or ::) claims the port on every address; :: claims IPv4 too,
	// as dual-stack listeners do.
	Listen []netip.AddrPort
	// V6Only are those of Listen on :: that claim no IPv4.
	V6Only []netip.AddrPort
	// Process is the name of the program that listens, Exe its path, Unit its
	// service unit, PIDs its processes. Empty when they could not be read.
	Process string
	Exe     string
	Unit    string
	PIDs    []int
	// Configured is true when the user's file names the service.
	Configured bool
	// Namespace is the network namespace it listens in; empty for our own.
	Namespace   string
	Workers     Workers
	Descriptors Descriptors
}

// Descriptors is how many files and sockets a process has open, and how many
// it may; zero when they could not be read.
type Descriptors struct{ Used, Limit int }

// Workers is how many connections or requests a service can serve at once.
type Workers struct {
	// Software is the server in words, "apache prefork"; empty when unknown.
	Software string
	Held     Held
	// Limit is how many at once; 0 when it is not known.
	Limit int
	// Origin is where Limit came from, for a person: "MaxRequestWorkers 20,
	// /etc/apache2/mods-enabled/mpm_prefork.conf:12". Empty without a Limit.
	Origin string
	// TurnsAway: at its limit the server accepts and closes at once, instead of
	// leaving connections in the accept queue.
	TurnsAway bool
	// Problem is why the limit is not known, or what is odd about it.
	Problem string
}

// Held says what holds a worker.
type Held uint8

// The ways a worker is held. Zero: the server is not known; a request then,
// as on most servers.
const (
	HeldUnknown      Held = iota
	HeldByConnection      // for as long as the connection is open: one process or thread each
	HeldByRequest         // only while a request is being answered: event-driven
)

var heldNames = [...]string{"unknown", "connection", "request"}

// String names it: "connection".
func (h Held) String() string { return enum.Name(h, "held", heldNames[:]) }

// ID returns the scope's name.
func (s *Service) ID() ID { return ID{KindService, s.Name, s.Namespace} }

// Ports returns the ports in the order of Listen, each once.
func (s *Service) Ports() []uint16 {
	var out []uint16
	for _, l := range s.Listen {
		if !slices.Contains(out, l.Port()) {
			out = append(out, l.Port())
		}
	}
	return out
}

// Describe says what it is in a few words: "apache2 :80 :443".
func (s *Service) Describe() string {
	var b strings.Builder
	if s.Process != "" {
		b.WriteString(s.Process)
	} else {
		b.WriteString("listener")
	}
	for _, l := range s.Listen {
		if l.Addr().IsUnspecified() {
			fmt.Fprintf(&b, " :%d", l.Port())
		} else {
			fmt.Fprintf(&b, " %s", l)
		}
	}
	return b.String()
}

// None is the answer of an Index for a socket that no service claims.
const None = -1

// Index says which service a socket belongs to. It is immutable and safe for
// concurrent use.
type Index struct {
	// byPort holds, for each local port, 1 + the first claim in claims, or 0.
	// One load decides for most of the sockets whose port nobody claims.
	byPort portMap
	claims []claim
}

// claim is one listening address of a service; the claims of a port are
// chained, most specific first.
type claim struct {
	addr    netip.Addr
	service int32
	next    uint16 // 1 + index, 0 ends the chain
	only6   bool   // of ::, IPv6 alone
}

// NewIndex builds the index for services; Service answers with positions in
// that slice. When two services claim the same address and port (SO_REUSEPORT
// in two programs) the first one has it.
func NewIndex(services []Service) *Index {
	ix := &Index{byPort: newPortMap()}
	for generality := 2; generality >= 0; generality-- { // chains grow at the front: specific addresses end up first
		for i, service := range slices.Backward(services) {
			for _, l := range service.Listen {
				if general(l.Addr()) != generality || len(ix.claims) == 1<<16-1 {
					continue
				}
				ix.claims = append(ix.claims, claim{l.Addr(), int32(i), ix.byPort.get(l.Port()), slices.Contains(service.V6Only, l)})
				ix.byPort.set(l.Port(), uint16(len(ix.claims)))
			}
		}
	}
	return ix
}

// general says how much an address claims: itself, all of IPv4, everything.
// The kernel prefers listeners in the same order (compute_score,
// net/ipv4/inet_hashtables.c).
func general(a netip.Addr) int {
	switch {
	case !a.IsUnspecified():
		return 0
	case a.Is4():
		return 1
	}
	return 2
}

// Service returns the position of the service that s belongs to by its local
// end, or None.
func (ix *Index) Service(s *tcp.Socket) int {
	at := ix.byPort.get(s.Local.Port())
	if at == 0 {
		return None
	}
	local := s.Local.Addr()
	for at != 0 {
		c := &ix.claims[at-1]
		if c.addr == local || c.addr.IsUnspecified() && (c.addr.Is6() || local.Is4()) && (!c.only6 || local.Is6()) {
			return int(c.service)
		}
		at = c.next
	}
	return None
}
