package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/reply"
)

// The bounds of a zone's servers.
const (
	maxNames   = 16 // NS names
	maxServers = 32 // addresses of them
	maxDepth   = 32 // labels that are gone up
)

// ErrNoZone is that nobody says which zone a name is in.
var ErrNoZone = errors.New("no zone found")

// Authoritative returns every address of every server of the zone that name is
// in, sorted; labelled with the server's name. It asks resolvers, each question
// of one after the other until one answers. Where the name is an alias, the
// zone is the alias' own: who changes the alias changes the name.
//
// A zone is not found twice a second: see drain.ZoneEvery. The error says
// which question nobody answered; with servers it is that some of the zone's
// names lead nowhere.
func (c *Client) Authoritative(ctx context.Context, name string, resolvers []reply.Server) ([]reply.Server, error) {
	if len(resolvers) == 0 {
		return nil, fmt.Errorf("the servers of %s: %w, as there is no resolver to ask; name one in resolvers", plain(name), ErrNoZone)
	}
	resolvers = slices.Clone(resolvers) // those that hang go last
	zone, names, err := c.zone(ctx, name, resolvers)
	if err != nil {
		return nil, fmt.Errorf("the servers of %s: %w", plain(name), err)
	}
	var out []reply.Server
	var errs []error
	for _, server := range names {
		found, err := c.addresses(ctx, server, resolvers)
		if err != nil {
			errs = append(errs, err)
		}
		for _, addr := range found {
			if addr.IsLinkLocalUnicast() {
				errs = append(errs, fmt.Errorf("%s of the zone's server %s is not asked: addresses of this link are nobody else's", addr, plain(server)))
				continue
			}
			port := c.port
			if port == 0 {
				port = 53
			}
			out = append(out, reply.Server{Address: netip.AddrPortFrom(addr, port), Label: plain(server), Role: reply.Authoritative, Zone: plain(zone)})
		}
	}
	if over := len(out) - maxServers; over > 0 {
		errs = append(errs, fmt.Errorf("%d addresses of servers beyond %d are not asked", over, maxServers))
		out = out[:maxServers]
	}
	return out, errors.Join(errs...)
}

// zone goes up from a name to the zone that it is in.
func (c *Client) zone(ctx context.Context, name string, resolvers []reply.Server) (zone string, servers []string, err error) {
	labels := dns.SplitDomainName(canonical(name))
	there := false
	for i := range min(len(labels), maxDepth) {
		at := canonical(strings.Join(labels[i:], "."))
		m, _, bad := c.firstOf(ctx, resolvers, at, dns.TypeNS)
		if bad != nil {
			return "", nil, fmt.Errorf("%w: %s", ErrNoZone, bad.words)
		}
		for _, rr := range m.Answer {
			if ns, ok := rr.(*dns.NS); ok && canonical(ns.Hdr.Name) == at {
				servers = append(servers, canonical(ns.Ns))
			}
		}
		if len(servers) > 0 && len(labels)-i == 1 && i > 0 && !there {
			return "", nil, fmt.Errorf("%w: %s does not exist, nor anything above it but %s, whose servers are everybody's; correct the name", ErrNoZone, plain(name), plain(at))
		}
		there = there || m.Rcode == dns.RcodeSuccess
		if len(servers) > 0 {
			slices.Sort(servers)
			servers = slices.Compact(servers)
			return at, servers[:min(maxNames, len(servers))], nil
		}
	}
	return "", nil, fmt.Errorf("%w: neither the name nor any above it has NS records; correct the name, or ask a resolver that knows it", ErrNoZone)
}

// addresses are those of one server of a zone.
func (c *Client) addresses(ctx context.Context, server string, resolvers []reply.Server) ([]netip.Addr, error) {
	var last reply.Answer
	for _, resolver := range slices.Clone(resolvers) {
		if last = c.Ask(ctx, resolver, server); last.Failure == reply.Answered {
			return last.Addresses, nil
		}
		silentLast(resolvers, resolver, last.Failure)
	}
	return nil, fmt.Errorf("%s is a server of the zone and has no address: %s", plain(server), last.Words)
}

// Public are well-known resolvers that anybody may ask. They are asked only
// when a configuration says so, as the name that is asked for is told them.
func Public() []reply.Server {
	var out []reply.Server
	for _, s := range [...]struct{ label, address string }{
		{"Cloudflare", "1.1.1.1"},
		{"Google", "8.8.8.8"},
		{"Quad9", "9.9.9.9"},
		{"OpenDNS", "208.67.222.222"},
	} {
		out = append(out, reply.Server{Address: netip.AddrPortFrom(netip.MustParseAddr(s.address), 53), Label: s.label, Role: reply.Public})
	}
	return out
}
