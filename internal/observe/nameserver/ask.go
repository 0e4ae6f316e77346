package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/reply"
)

// most bounds all that one [Client.Ask] does.
const most = 10 * time.Second

// maxAddresses is how many addresses of one answer are taken; the greatest are
// left out, so that it is always the same that stay.
const maxAddresses = 64

// Dialer connects, by "udp" and by "tcp"; a dial.Dialer, which leaves the
// agent's own connections out of every count, or a net.Dialer.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Client asks DNS servers. It is safe for concurrent use.
type Client struct {
	Dialer Dialer
	// Now is the clock that answers are stamped with.
	Now func() time.Time
	// Onward are the resolvers that are asked on where a CNAME leads out of an
	// authoritative server's zone; the first two are tried. None: such an answer
	// has no address.
	Onward []reply.Server

	// In tests: the port of a zone's servers, and how long is waited; zero: 53, 2 s.
	port uint16
	wait time.Duration
}

// Ask asks one server for the addresses of a name, which is fully qualified
// with or without its last dot. It takes [most] at most, less when ctx ends,
// and always returns an answer: one without addresses has a Failure and words
// that say why and what to do.
//
// The server's cache and the name's zone decide what comes; records that do
// not belong to the name or the CNAMEs from it are left out.
func (c *Client) Ask(ctx context.Context, server reply.Server, name string) reply.Answer {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	start := c.Now()
	out := reply.Answer{Name: plain(name), Server: server.Address, Label: server.Label, Role: server.Role}
	onward := slices.Clone(c.Onward[:min(2, len(c.Onward))])
	answers := []family{c.family(ctx, server, onward, name, dns.TypeA)}
	if f := answers[0].failure; f != reply.TimedOut && f != reply.Unreachable {
		answers = append(answers, c.family(ctx, server, onward, name, dns.TypeAAAA))
		if server.Zone != "" {
			out.Serial = c.serial(ctx, server)
		}
	}
	join(&out, answers)
	out.At = c.Now()
	out.Took = out.At.Sub(start)
	return out
}

// family is what a server says of the addresses of one family.
type family struct {
	way      way
	failure  reply.Failure
	words    string
	extended []reply.Extended
	onward   bool // a resolver said a part of it
}

// family asks for the addresses of one family, and asks on for the target of
// a CNAME that leads out of the answer.
func (c *Client) family(ctx context.Context, server reply.Server, onward []reply.Server, name string, kind uint16) (f family) {
	servers := []reply.Server{server}
	for {
		asked := f.way.end(name)
		m, from, bad := c.firstOf(ctx, servers, asked, kind)
		if m != nil {
			f.extended = append(f.extended, extended(m)...)
		}
		if bad == nil {
			f.way.follow(m.Answer, name, kind)
			bad = f.judge(m, from, name, asked)
		}
		if bad != nil {
			f.failure, f.words = bad.failure, bad.words
			return f
		}
		if len(f.way.addresses) > 0 {
			return f
		}
		if server.Role == reply.Authoritative {
			f.onward = true
			if servers = onward; len(servers) == 0 {
				f.failure = reply.NoAddress
				f.words = fmt.Sprintf("%s is an alias of %s, for which %s does not answer; name resolvers that can be asked on", plain(name), plain(f.way.end(name)), label(server))
				return f
			}
		}
	}
}

// firstOf asks servers in turn until one has an answer, and says which one did;
// else it returns what the last one said, if anything. Those that do not answer
// at all go to the end of servers: each costs seconds.
func (c *Client) firstOf(ctx context.Context, servers []reply.Server, name string, kind uint16) (m *dns.Msg, from reply.Server, bad *problem) {
	for _, from = range slices.Clone(servers) {
		if m, bad = c.exchange(ctx, from.Address, query(from.Role, name, kind)); bad == nil {
			bad = c.refusal(ctx, from, m, name, kind)
		}
		if bad == nil {
			break
		}
		silentLast(servers, from, bad.failure)
	}
	return m, from, bad
}

// silentLast moves a server that did not answer to the end.
func silentLast(servers []reply.Server, s reply.Server, f reply.Failure) {
	if i := slices.Index(servers, s); i >= 0 && (f == reply.TimedOut || f == reply.Unreachable) {
		copy(servers[i:], servers[i+1:])
		servers[len(servers)-1] = s
	}
}

// query is the message that asks. Authoritative servers are asked for what
// they know themselves.
func query(role reply.Role, name string, kind uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(canonical(name), kind)
	m.RecursionDesired = role != reply.Authoritative
	return m.SetEdns0(udpSize, false)
}

// refusal says what is wrong with a message that is well formed and holds no
// answer; nil: nothing.
func (c *Client) refusal(ctx context.Context, server reply.Server, m *dns.Msg, name string, kind uint16) *problem {
	who := label(server)
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	case dns.RcodeRefused:
		return &problem{reply.Refused, fmt.Sprintf("%s refuses to answer for %s; is this host allowed to ask it?", who, plain(name))}
	case dns.RcodeServerFailure:
		return c.servfail(ctx, server, m, name, kind)
	default:
		return &problem{reply.OtherRCode, fmt.Sprintf("%s answers with %s for %s; its log says why", who, rcode(m.Rcode), plain(name))}
	}
	if server.Role == reply.Authoritative && !m.Authoritative {
		return &problem{reply.Refused, fmt.Sprintf("%s is named as a server of %s and does not answer as one; correct the zone's NS records, or load the zone there", who, server.Zone)}
	}
	referred := slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNS })
	if server.Role != reply.Authoritative && !m.RecursionAvailable && !m.Authoritative && len(m.Answer) == 0 && referred {
		return &problem{reply.Refused, fmt.Sprintf("%s does not ask on for this host; it serves zones of its own, name a resolver instead", who)}
	}
	return nil
}

// servfail tells a failure of DNSSEC from any other: by the Extended DNS Error,
// or as the server answers when it is told not to check (RFC 4035, 3.2.2).
func (c *Client) servfail(ctx context.Context, server reply.Server, m *dns.Msg, name string, kind uint16) *problem {
	bogus := hasCode(extended(m), firstOfDNSSEC, lastOfDNSSEC)
	if !bogus && server.Role != reply.Authoritative && len(extended(m)) == 0 {
		unchecked := query(server.Role, name, kind)
		unchecked.CheckingDisabled = true
		again, bad := c.exchange(ctx, server.Address, unchecked)
		bogus = bad == nil && again.Rcode == dns.RcodeSuccess && len(again.Answer) > 0
	}
	if bogus {
		return &problem{reply.Bogus, fmt.Sprintf("%s does not believe the answer for %s: its DNSSEC signatures do not hold; users of checking resolvers do not reach the name, correct the zone's signatures or its DS record", label(server), plain(name))}
	}
	return &problem{reply.ServFail, fmt.Sprintf("%s could not find an answer for %s (SERVFAIL); are the zone's servers within its reach?", label(server), plain(name))}
}

// judge says why an answer that was followed has no address; nil where it has
// some, or leads on.
func (f *family) judge(m *dns.Msg, server reply.Server, name, asked string) *problem {
	end := plain(f.way.end(name))
	which := end
	if end != plain(name) {
		which = fmt.Sprintf("%s, of which %s is an alias,", end, plain(name))
	}
	switch {
	case f.way.loop:
		return &problem{reply.Loop, fmt.Sprintf("the aliases of %s go round in a circle, or are more than %d: %s; correct its CNAME records", plain(name), maxChain, strings.Join(names(f.way.cnames), ", "))}
	case m.Rcode == dns.RcodeNameError:
		return &problem{reply.NoSuchName, fmt.Sprintf("%s says that %s does not exist; correct the name, or bring its record back", label(server), which)}
	case len(f.way.addresses) > 0:
		return nil
	case f.way.nowhere > 0:
		return &problem{reply.NoAddress, fmt.Sprintf("%s answers for %s with an address that nothing can connect to, as filters do; ask another resolver", label(server), which)}
	case f.way.end(name) == canonical(asked):
		return &problem{reply.NoAddress, fmt.Sprintf("%s says that %s has no address; correct the name, or bring its record back", label(server), which)}
	}
	return nil
}

// serial asks for the serial of a server's zone; zero: it does not say.
func (c *Client) serial(ctx context.Context, server reply.Server) uint32 {
	m, bad := c.exchange(ctx, server.Address, query(server.Role, server.Zone, dns.TypeSOA))
	if bad != nil || !m.Authoritative {
		return 0
	}
	for _, rr := range m.Answer {
		if soa, ok := rr.(*dns.SOA); ok && canonical(soa.Hdr.Name) == canonical(server.Zone) {
			return soa.Serial
		}
	}
	return 0
}

// join makes one answer of those of the families.
func join(out *reply.Answer, families []family) {
	var unrelated, nowhere int
	first := true
	for _, f := range families {
		unrelated += f.way.unrelated
		nowhere += f.way.nowhere
		for _, e := range f.extended {
			if !slices.Contains(out.Extended, e) && len(out.Extended) < maxExtended {
				out.Extended = append(out.Extended, e)
			}
		}
		for _, cname := range names(f.way.cnames) {
			if !slices.Contains(out.CNAMEs, cname) && len(out.CNAMEs) < maxChain {
				out.CNAMEs = append(out.CNAMEs, cname)
			}
		}
		if f.failure != reply.Answered {
			continue
		}
		out.Addresses = append(out.Addresses, f.way.addresses...)
		out.Onward = out.Onward || f.onward
		if first || f.way.least < out.TTL {
			out.TTL = f.way.least
		}
		first = false
		out.AddressTTL = max(out.AddressTTL, f.way.address)
		out.Longest = max(out.Longest, f.way.longest)
	}
	out.Stale = hasCode(out.Extended, staleAnswer, staleAnswer) || hasCode(out.Extended, staleNXDomain, staleNXDomain)
	slices.SortFunc(out.Addresses, netip.Addr.Compare)
	out.Addresses = slices.Compact(out.Addresses)
	if len(out.Addresses) == 0 {
		f := worst(families)
		out.Failure, out.Words = f.failure, f.words
		return
	}
	left := lacks(out, families)
	if over := len(out.Addresses) - maxAddresses; over > 0 {
		out.Addresses = slices.Clip(out.Addresses[:maxAddresses])
		left = append(left, fmt.Sprintf("%d addresses beyond the %d that are taken", over, maxAddresses))
	}
	if nowhere > 0 {
		left = append(left, fmt.Sprintf("%d addresses that nothing can connect to", nowhere))
	}
	if unrelated > 0 {
		left = append(left, fmt.Sprintf("%d records that do not belong to the name", unrelated))
	}
	if len(left) > 0 {
		out.Words = "left out of the answer: " + strings.Join(left, ", ")
	}
}

// lacks notes the families of which an answer with addresses says nothing, and
// why.
func lacks(out *reply.Answer, families []family) (left []string) {
	for i, f := range families {
		switch f.failure {
		case reply.Answered, reply.NoAddress, reply.NoSuchName:
			continue
		}
		which := "IPv4"
		if out.Lacks4, out.Lacks6 = i == 0, i == 1; i == 1 {
			which = "IPv6"
		}
		left = append(left, fmt.Sprintf("the %s addresses, as that question failed (%s)", which, f.words))
	}
	return left
}

// worst is the failure to tell of families that both failed: that there is no
// such name; else what is no answer at all rather than that there is no
// address.
func worst(families []family) family {
	for _, f := range families {
		if f.failure == reply.NoSuchName {
			return f
		}
	}
	for _, f := range families {
		if f.failure != reply.NoAddress {
			return f
		}
	}
	return families[0]
}

// names are canonical names as people write them.
func names(canonical []string) []string {
	var out []string
	for _, name := range canonical {
		out = append(out, plain(name))
	}
	return out
}

// label is a server for a person.
func label(s reply.Server) string {
	if s.Label == "" {
		return s.Address.String()
	}
	return fmt.Sprintf("%s (%s)", s.Label, s.Address)
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("RCODE %d", code)
}
