package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func checkDrains(p *problems, raw []rawDrain) []Drain {
	if len(raw) > MaxDrains {
		p.add(raw[MaxDrains].At, "drain", "", fmt.Sprintf("drain has %d names, and %d are the most", len(raw), MaxDrains), "leave out those whose drain is over")
		return nil
	}
	var out []Drain
	lines := map[string]int{}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		key := fmt.Sprintf("drain[%d]", i)
		d := Drain{Name: checkDomain(p, key, r, lines), Ports: checkPorts(p, key+".ports", r.Ports), Resolvers: checkResolvers(p, key+".resolvers", r.Resolvers)}
		d.Old, d.New = checkSides(p, key, r)
		if r.TTL.Good {
			d.TTL = checkDuration(p, key+".ttl", r.TTL.scalar, MinTTL, MaxTTL)
		}
		if r.Identity.there() {
			d.Identity = checkIdentity(p, key+".identity", r.Identity)
		}
		if r.Deadline.Good {
			d.Deadline = checkDuration(p, key+".deadline", r.Deadline.scalar, MinDeadline, MaxDeadline)
		}
		out = append(out, d)
	}
	return out
}

// ParseDomain reads a DNS name, folds it to lower case and takes the last dot
// away. Where it is none, problem says why, beginning with a verb, and hint what
// to write.
func ParseDomain(text string) (name, problem, hint string) {
	name = strings.TrimSuffix(text, ".")
	switch {
	case name == "":
		return "", "is empty", "write the name that clients look up, as shop.example"
	case isAddress(name):
		return "", "is an address, not a name", "write the name that clients look up, as shop.example"
	case strings.Contains(name, "*"):
		return "", "is a wildcard, and nobody connects to one", "write a name that clients look up, as shop.example"
	case strings.ContainsAny(name, ":/"):
		return "", "has more in it than a name", "write the name alone, as shop.example; ports go to ports, a URL to identity"
	case strings.ContainsFunc(name, func(r rune) bool { return r > 0x7e }):
		return "", "has letters that DNS does not carry", "write it as it is looked up, in Punycode: xn--…"
	case len(name) > maxHostName || strings.HasSuffix(name, ".") || !hostName.MatchString(name):
		return "", "is not a name that can be looked up", "write it as shop.example: letters, digits, - and _, at most 63 between two dots and 253 in all"
	}
	return strings.ToLower(name), "", ""
}

func checkDomain(p *problems, key string, r rawDrain, lines map[string]int) string {
	s := r.Name
	key += ".name"
	if !s.Given {
		p.add(r.At, key, "", strings.TrimSuffix(key, ".name")+" has no name", "add name: shop.example")
	}
	if !s.Good {
		return ""
	}
	name, problem, hint := ParseDomain(s.Text)
	if line := lines[name]; problem == "" && line != 0 {
		problem, hint = fmt.Sprintf("is there twice, first on line %d", line), "put all addresses of a name into one entry"
	}
	if problem != "" {
		p.add(s.At, key, s.Text, fmt.Sprintf("%s %s %s", key, quote(s.Text), problem), hint)
		return ""
	}
	lines[name] = s.At.Line
	return name
}

// ParseAddress reads an address that a name may stand for, and folds an
// IPv4-mapped one to IPv4. Where it is none, problem says why, beginning with a
// verb, and hint what to write.
func ParseAddress(text string) (addr netip.Addr, problem, hint string) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		if _, err := netip.ParseAddrPort(text); err == nil {
			return netip.Addr{}, "has a port", "write the address alone; ports go to ports"
		}
		if _, err := netip.ParsePrefix(text); err == nil {
			return netip.Addr{}, "is a prefix, not an address", "write each address: 192.0.2.10 or 2001:db8::10"
		}
		return netip.Addr{}, "is not an address", "write it as 192.0.2.10 or 2001:db8::10"
	}
	addr = addr.Unmap()
	switch {
	case addr.Zone() != "":
		return netip.Addr{}, "has a zone, which no name stands for", "write the address without it"
	case addr.IsUnspecified() || addr.IsMulticast():
		return netip.Addr{}, "is no address that anybody connects to", "write the address that the name stands for"
	}
	return addr, "", ""
}

// checkSides reads the addresses before and after a switch. Those on both sides
// stay; one of them must go.
func checkSides(p *problems, key string, r rawDrain) (before, after []netip.Addr) {
	bad := len(p.found)
	before, after = checkSide(p, key+".old", r.Old), checkSide(p, key+".new", r.New)
	spoiled := func(s rawIP) bool { return !s.Good }
	switch {
	case len(p.found) > bad || slices.ContainsFunc(r.Old, spoiled) || slices.ContainsFunc(r.New, spoiled):
	case len(r.Old) == 0 && len(r.New) > 0:
		p.add(r.New[0].At, key+".new", "", key+" has new addresses and no old ones", "add old: [192.0.2.10], or remove new to have a switch noticed by itself")
	case len(r.New) == 0 && len(r.Old) > 0:
		p.add(r.Old[0].At, key+".old", "", key+" has old addresses and no new ones", "add new: [198.51.100.7], or remove old to have a switch noticed by itself")
	case len(before) > 0 && !slices.ContainsFunc(before, func(a netip.Addr) bool { return !slices.Contains(after, a) }):
		p.add(r.Old[0].At, key+".old", "", key+": every old address is a new one too, so nothing has to drain", "write the addresses that go into old, and those that come or stay into new")
	}
	return before, after
}

// checkEach checks a list of at most so many values, each of which may be there
// once. parse says of one that is none why, beginning with a verb, and what to
// write.
func checkEach[R any, T comparable](p *problems, key string, raw []R, of func(R) scalar, parse func(string) (T, string, string), most int, tooMany, way string) []T {
	var out []T
	if len(raw) > most {
		p.add(of(raw[most]).At, key, "", fmt.Sprintf("%s has %d %s, and %d are the most", key, len(raw), tooMany, most), way)
		return nil
	}
	for j := range raw {
		s, at := of(raw[j]), fmt.Sprintf("%s[%d]", key, j)
		if !s.Good {
			continue
		}
		value, problem, hint := parse(s.Text)
		if problem == "" && slices.Contains(out, value) {
			problem, hint = "is there twice", "keep one of them"
		}
		if problem != "" {
			p.add(s.At, at, s.Text, fmt.Sprintf("%s %s %s", at, quote(s.Text), problem), hint)
			continue
		}
		out = append(out, value)
	}
	return out
}

func checkSide(p *problems, key string, raw []rawIP) []netip.Addr {
	return checkEach(p, key, raw, func(r rawIP) scalar { return r.scalar }, ParseAddress, MaxDrainAddresses, "addresses", "write those that this host sees")
}

func checkPorts(p *problems, key string, raw []rawPort) []uint16 {
	parse := func(text string) (uint16, string, string) {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return 0, "is not a port from 1 to 65535", "write the number, as 443"
		}
		return uint16(n), "", ""
	}
	return checkEach(p, key, raw, func(r rawPort) scalar { return r.scalar }, parse, MaxDrainPorts, "ports", "remove the key where every port counts")
}

const dnsPort = 53

// ParseResolver reads "system", "public", or the address of a DNS server with or
// without a port. Where it is none, problem says why, beginning with a verb, and
// hint what to write.
func ParseResolver(text string) (r Resolver, problem, hint string) {
	const example = "write system, public, or an address: 192.0.2.53, [2001:db8::53]:5353"
	if text == SystemResolvers || text == PublicResolvers {
		return Resolver{Which: text}, "", ""
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		addr, plain := netip.ParseAddr(text)
		if plain != nil {
			return Resolver{}, "is no resolver", didYouMean(text, []string{SystemResolvers, PublicResolvers}, example)
		}
		at = netip.AddrPortFrom(addr, dnsPort)
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	switch a := at.Addr(); {
	case at.Port() == 0:
		return Resolver{}, "has no port from 1 to 65535", example
	case a.Zone() != "":
		return Resolver{}, "has a zone", "write an address that is reached without one"
	case a.IsUnspecified() || a.IsMulticast():
		return Resolver{}, "is no address that can be asked", example
	}
	return Resolver{Server: at}, "", ""
}

func checkResolvers(p *problems, key string, raw []rawResolver) []Resolver {
	out := checkEach(p, key, raw, func(r rawResolver) scalar { return r.scalar }, ParseResolver, MaxDrainResolvers, "resolvers", "write those that your users' answers come from")
	if out == nil {
		return DefaultResolvers()
	}
	return out
}

func checkIdentity(p *problems, key string, raw rawIdentity) *Identity {
	var out Identity
	switch {
	case !raw.URL.Given && !raw.Spoiled:
		p.add(raw.At, key+".url", "", key+" has no url", "add url: https://shop.example/healthz")
	case raw.URL.Good:
		out.URL = checkURL(p, key+".url", raw.URL.scalar, "https://shop.example/healthz")
	}
	x := raw.Expect
	key += ".expect"
	if s := x.Status.scalar; s.Good {
		n, err := strconv.Atoi(s.Text)
		if out.Status = n; err != nil || n < 200 || n > 599 {
			p.add(s.At, key+".status", s.Text, fmt.Sprintf("%s.status %s is not a status from 200 to 599", key, quote(s.Text)), "write what the application answers, as 200")
		}
	}
	for _, f := range []struct {
		key   string
		s     scalar
		check func(string) (problem, hint string)
		to    *string
	}{{"body_contains", x.BodyContains.scalar, CheckBodyContains, &out.BodyContains}, {"header", x.Header.scalar, CheckHeader, &out.Header}} {
		if !f.s.Good {
			continue
		}
		if problem, hint := f.check(f.s.Text); problem != "" {
			p.add(f.s.At, key+"."+f.key, f.s.Text, fmt.Sprintf("%s.%s %s %s", key, f.key, quote(f.s.Text), problem), hint)
			continue
		}
		*f.to = f.s.Text
	}
	return &out
}

// CheckBodyContains says what is wrong with text that a body must have; empty
// where nothing is.
func CheckBodyContains(text string) (problem, hint string) {
	const example = "write a few characters that only the right application sends, or remove the key"
	switch {
	case text == "":
		return "is empty", example
	case len(text) > maxExpected:
		return fmt.Sprintf("is longer than %d bytes", maxExpected), example
	case !printable(text):
		return "has a character that cannot be printed", example
	}
	return "", ""
}

// headerLine is a header and its value. RFC 9110, section 5.6.2 (token).
var headerLine = regexp.MustCompile("^[0-9A-Za-z!#$%&'*+.^_`|~-]+: ?[^ ].*$")

// CheckHeader says what is wrong with "X-Site: shop"; empty where nothing is.
func CheckHeader(text string) (problem, hint string) {
	if problem, hint = CheckBodyContains(text); problem == "" && !headerLine.MatchString(text) {
		problem = "is not a header with its value"
	}
	if problem != "" {
		hint = `write it as "X-Site: shop", or remove the key`
	}
	return problem, hint
}

func checkDatabase(p *problems, s rawDatabase) ASNDatabase {
	if !s.Good {
		return ASNDatabase{}
	}
	if s.Text == "" || len(s.Text) > maxPath || strings.TrimSpace(s.Text) != s.Text || !printable(s.Text) {
		p.add(s.At, "asn_database", s.Text, "asn_database "+quote(s.Text)+" is not a path", "write it as /var/lib/GeoIP/asn.mmdb, or relative to the directory of this file")
		return ASNDatabase{}
	}
	path := s.Text
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(p.file), path)
	}
	return ASNDatabase{File: s.Text, Path: path, Line: s.At.Line, Column: s.At.Column}
}
