// Package balancer asks a load balancer which backends it has and what it
// thinks of them: its opinion, to stand beside what the kernel shows.
//
//	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
//	defer cancel()
//	answer, err := balancer.HAProxy(ctx, "/run/haproxy/admin.sock")
//	if err != nil {
//		return err // who did not answer, where, and what to do
//	}
//	for _, m := range answer.Members {
//		fmt.Println(m.Group, m.Name, m.Address, m.Status, m.Says)
//	}
//
// [HAProxy] asks the runtime socket, [Traefik] the API, and [TraefikFile] reads
// what the file provider reads. Each asks once and keeps nothing: no
// connection, no goroutine, no memory of the last answer. A balancer may hang,
// lie or answer with anything: answers are bounded by [MaxAnswer] and
// [MaxMembers], and what can be read of a bad one is kept, with
// [Answer.Problems] for the rest.
package balancer

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of what is read.
const (
	// MaxAnswer is how much is read of one answer, in bytes: HAProxy's row of
	// a server has some 300, so this is about twice what MaxMembers need.
	MaxAnswer = 8 << 20
	// MaxMembers is how many members one answer may have.
	MaxMembers = 10_000
	// MaxName is the longest name that is kept, in characters.
	MaxName = 128
	// maxProblems is how many problems one answer tells: a screenful.
	maxProblems = 20
)

// Status is what a balancer thinks of a member.
type Status uint8

// The opinions. The zero value is that there is none.
const (
	Unknown     Status = iota
	Up                 // its checks succeed
	Down               // its checks fail
	Maintenance        // taken out by a person or by the configuration
	Draining           // it keeps its sessions and gets no new ones
	NoCheck            // taken for up, as nobody checks it
)

var statusNames = [...]string{"unknown", "up", "down", "maintenance", "draining", "no_check"}

// String names it: "up", "no_check".
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status_%d", uint8(s))
}

// Member is one backend as its balancer knows it. Group and Name are printable,
// at most MaxName characters each, and unique together in an answer.
type Member struct {
	// Group is HAProxy's proxy ("shop"), or Traefik's service with its provider
	// ("shop@file").
	Group string
	// Name is HAProxy's server ("s1"). Traefik's servers have none: it is their
	// host and port.
	Name string
	// Address is where connections go. It is zero when the balancer has a name
	// that it has not resolved, or does not say to what: Host and Port then
	// have it.
	Address netip.AddrPort
	Host    string
	Port    uint16
	Status  Status
	// Says is the balancer's own word, printable, at most MaxName characters:
	// "DOWN L4TOUT". Empty when it says nothing.
	Says string
}

// Answer is what a balancer said.
type Answer struct {
	// Members are in the balancer's order. Each has an Address, or a Host and
	// a Port.
	Members []Member
	// Problems are what could not be read or is odd, for a person; at most 21.
	Problems []string
	// Partial is true when members may be missing, so that from this answer
	// nobody can be said to be gone.
	Partial bool
}

// gathering is an answer while it is read.
type gathering struct {
	answer Answer
	seen   map[[2]string]bool // group and name
	untold int                // problems beyond maxProblems
	over   bool               // there were more members than MaxMembers
}

func newGathering() *gathering { return &gathering{seen: map[[2]string]bool{}} }

// done is the answer.
func (g *gathering) done() Answer {
	if g.untold > 0 {
		g.answer.Problems = append(g.answer.Problems, fmt.Sprintf("%d more problems are not shown", g.untold))
		g.untold = 0
	}
	return g.answer
}

// problem notes what is odd about one member or all.
func (g *gathering) problem(format string, args ...any) {
	if len(g.answer.Problems) == maxProblems {
		g.untold++
		return
	}
	g.answer.Problems = append(g.answer.Problems, fmt.Sprintf(format, args...))
}

// missing notes why members may be missing.
func (g *gathering) missing(format string, args ...any) {
	g.answer.Partial = true
	g.problem(format, args...)
}

// full reports whether no more members are taken.
func (g *gathering) full() bool { return len(g.answer.Members) >= MaxMembers }

// add takes a member at host and port, both as the balancer wrote them.
func (g *gathering) add(m Member, host, port string) {
	if g.full() {
		if !g.over {
			g.missing("more than %d members: the rest is left out", MaxMembers)
		}
		g.over = true
		return
	}
	m.Group, m.Name, m.Says = g.clean(m.Group), g.clean(m.Name), word(m.Says)
	if m.Group == "" || m.Name == "" {
		g.missing("a member at %s has no name, and is left out", quote(net.JoinHostPort(host, port)))
		return
	}
	key := [2]string{m.Group, m.Name}
	if g.seen[key] {
		g.problem("%s/%s is there twice: the first is taken", m.Group, m.Name)
		return
	}
	if problem, bad := m.stand(host, port); problem != "" {
		g.answer.Partial = g.answer.Partial || bad
		g.problem("%s/%s %s, and is left out", m.Group, m.Name, problem)
		return
	}
	g.seen[key] = true
	g.answer.Members = append(g.answer.Members, m)
}

// stand sets where m is, or says why that cannot be: bad is false where the
// balancer means it so, as with a server on the port that the client asked for.
func (m *Member) stand(host, port string) (problem string, bad bool) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "has the port " + quote(port), true
	}
	if n == 0 {
		return "has no port of its own", false
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil && !isHostName(host):
		return "has the host " + quote(host), true
	case err != nil:
		m.Host, m.Port = host, uint16(n)
		return "", false
	}
	// The kernel's table keeps the interface of a link-local address apart.
	addr = addr.Unmap().WithZone("")
	if addr.IsUnspecified() {
		return "goes to whichever address the client asked for", false
	}
	m.Address = netip.AddrPortFrom(addr, uint16(n))
	return "", false
}

// isHostName reports whether s may be a host's name. RFC 1123, section 2.1;
// underscores are common in the names of containers.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 { // RFC 1035, section 2.3.4
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// clean makes a name printable and short enough, and notes it where that
// changed it.
func (g *gathering) clean(name string) string {
	out := word(name)
	if out != name {
		g.problem("the name %s is written as %q", quote(name), out)
	}
	return out
}

// word is s, printable and at most MaxName characters.
func word(s string) string {
	plain := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	// Most words are fine as they are.
	if len(s) <= MaxName && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return strings.TrimSpace(s)
	}
	var b strings.Builder
	for n, r := range []rune(s[:min(len(s), MaxName*utf8.UTFMax)]) {
		if n == MaxName {
			break
		}
		if !plain(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// quote quotes the beginning of s for a message.
func quote(s string) string {
	const most = 60 // bytes: enough to know it again
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + "..."
}
