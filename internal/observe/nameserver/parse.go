package nameserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/reply"
)

// Why a message is no answer to a question. A stray one may be somebody else's,
// so that the answer may still come; a garbled one has the question's own
// number.
var (
	errStray   = errors.New("a message that does not answer what was asked")
	errGarbled = errors.New("a message that cannot be read")
)

// header is the length of a DNS message's. RFC 1035, 4.1.1.
const header = 12

// open reads the message that should answer question, and checks that it does:
// RFC 5452, 9.1. One that says it is cut off may be cut anywhere, and is
// returned as far as it goes.
func open(raw []byte, question *dns.Msg) (*dns.Msg, error) {
	if len(raw) < header || binary.BigEndian.Uint16(raw) != question.Id {
		return nil, errStray
	}
	m := new(dns.Msg)
	err := m.Unpack(raw)
	switch {
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return nil, errStray
	case len(m.Question) > 0 && !sameQuestion(m.Question, question.Question):
		return nil, errStray
	case err != nil && !m.Truncated:
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	case len(m.Question) == 0 && m.Rcode == dns.RcodeSuccess && !m.Truncated:
		return nil, errStray // servers leave it out of refusals only
	}
	return m, nil
}

func sameQuestion(a, b []dns.Question) bool {
	return slices.EqualFunc(a, b, func(a, b dns.Question) bool {
		return a.Qtype == b.Qtype && a.Qclass == b.Qclass && canonical(a.Name) == canonical(b.Name)
	})
}

// canonical is a name in lower case with its last dot.
func canonical(name string) string { return dns.CanonicalName(name) }

// plain is a name as people write it.
func plain(name string) string { return strings.TrimSuffix(canonical(name), ".") }

// way is what an answer says on the way from a name to its addresses.
type way struct {
	addresses []netip.Addr
	cnames    []string // canonical, in order
	// ttls: the least of all records on the way, the greatest of the address
	// records, the greatest of all.
	least, address, longest time.Duration
	any                     bool // whether there was a record on the way
	unrelated               int  // records of other names
	nowhere                 int  // addresses that nothing can connect to
	loop                    bool
}

// end is the name that the way has come to.
func (w *way) end(from string) string {
	if len(w.cnames) == 0 {
		return canonical(from)
	}
	return w.cnames[len(w.cnames)-1]
}

// maxChain is how many CNAMEs may be on the way. Resolvers give up between 8
// and 17.
const maxChain = 16

// follow goes on from the way's end through the records of one answer. Records
// that are not on the way are counted and left alone: who may answer for one
// name may not say anything of another.
func (w *way) follow(records []dns.RR, from string, kind uint16) {
	owners := map[string][]dns.RR{}
	total := 0
	for _, rr := range records {
		switch rr.Header().Rrtype {
		case dns.TypeCNAME, kind:
			if rr.Header().Class == dns.ClassINET {
				owners[canonical(rr.Header().Name)] = append(owners[canonical(rr.Header().Name)], rr)
			}
			total++
		case dns.TypeDNAME, dns.TypeRRSIG: // beside what they made, or sign
		default:
			total++
		}
	}
	used := 0
	for {
		here := owners[w.end(from)]
		delete(owners, w.end(from)) // each name is on the way once
		at := slices.IndexFunc(here, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeCNAME })
		if at < 0 {
			for _, rr := range here {
				w.take(rr)
			}
			used += len(here)
			break
		}
		used++
		w.pass(here[at].Header().Ttl, false)
		if w.step(from, here[at].(*dns.CNAME).Target); w.loop {
			break
		}
	}
	w.unrelated += total - used
}

// step goes to the target of a CNAME.
func (w *way) step(from, target string) {
	target = canonical(target)
	w.loop = target == canonical(from) || slices.Contains(w.cnames, target) || len(w.cnames) >= maxChain
	if len(w.cnames) < maxChain {
		w.cnames = append(w.cnames, target)
	}
}

func (w *way) take(rr dns.RR) {
	var addr netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		addr, _ = netip.AddrFromSlice(rr.AAAA)
	}
	// A v4-mapped address in an AAAA record is connected to by IPv4.
	addr = addr.Unmap()
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		w.nowhere++
		return
	}
	w.addresses = append(w.addresses, addr)
	w.pass(rr.Header().Ttl, true)
}

// pass counts the TTL of a record on the way.
func (w *way) pass(seconds uint32, address bool) {
	if seconds > 1<<31-1 {
		seconds = 0 // RFC 2181, 8
	}
	ttl := time.Duration(seconds) * time.Second
	if !w.any || ttl < w.least {
		w.least = ttl
	}
	w.any = true
	w.longest = max(w.longest, ttl)
	if address {
		w.address = max(w.address, ttl)
	}
}

// The Extended DNS Errors that are looked at. RFC 8914, 4.
const (
	staleAnswer   = 3
	firstOfDNSSEC = 6 // DNSSEC Bogus
	lastOfDNSSEC  = 12
	staleNXDomain = 19
)

// maxExtended bounds the Extended DNS Errors of one answer, maxText the text of
// one, in bytes.
const (
	maxExtended = 8
	maxText     = 200
)

// extended returns the Extended DNS Errors of a message.
func extended(m *dns.Msg) []reply.Extended {
	opt := m.IsEdns0()
	if opt == nil {
		return nil
	}
	var out []reply.Extended
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && len(out) < maxExtended {
			out = append(out, reply.Extended{Code: e.InfoCode, Text: printable(e.ExtraText)})
		}
	}
	return out
}

// printable is text from outside without anything that moves a cursor, cut at
// maxText bytes. RFC 8914, 2: UTF-8, perhaps with a NUL at the end.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
	if len(text) > maxText {
		text = text[:lastRune(text[:maxText+1])]
	}
	return strings.TrimSpace(text)
}

// lastRune is where the last rune of text begins, whole or not.
func lastRune(text string) int {
	at := 0
	for i := range text {
		at = i
	}
	return at
}

func hasCode(all []reply.Extended, from, to uint16) bool {
	return slices.ContainsFunc(all, func(e reply.Extended) bool { return e.Code >= from && e.Code <= to })
}
