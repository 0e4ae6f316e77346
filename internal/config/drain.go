package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// The bounds of what is followed: each name is two scopes and the questions to
// its resolvers, each address an entry of the kernel's filter.
const (
	MaxDrains         = 32
	MaxDrainAddresses = 64 // before, and as many after
	MaxDrainPorts     = 32
	MaxDrainResolvers = 32
)

// The bounds of times. Resolvers keep nothing for longer than a week: RFC 8767,
// section 4. No drain is done within a minute.
const (
	MinTTL, MaxTTL           = time.Second, 7 * day
	MinDeadline, MaxDeadline = time.Minute, 31 * day
)

// maxExpected is how long what an answer must have may be, in bytes.
const maxExpected = 256

// Drain is a name whose addresses change.
type Drain struct {
	// Name is the DNS name in lower case without the last dot, unique in the file.
	Name string
	// Old and New are its addresses before and after the switch; IPv4-mapped ones
	// are IPv4. Both are nil where the name is only watched.
	Old, New []netip.Addr
	// Ports are those that count; nil: every one.
	Ports []uint16
	// TTL is for how long the answers before the switch are good; 0: as they say.
	TTL time.Duration
	// Resolvers are asked beside the zone's own servers.
	Resolvers []Resolver
	// Identity is how the right application is told; nil: a connection will do.
	Identity *Identity
	// Deadline after the switch it is stuck; 0: four times the TTL, 15 minutes at
	// least.
	Deadline time.Duration
}

// Watched reports whether a switch is to be noticed by itself.
func (d Drain) Watched() bool { return len(d.Old) == 0 }

// Resolver is whom to ask for addresses: one of Which, or else the server at an
// address.
type Resolver struct {
	// Which is SystemResolvers or PublicResolvers; empty: Server.
	Which  string
	Server netip.AddrPort
}

// The resolvers that have a name: those of this host, and well-known public ones.
const (
	SystemResolvers = "system"
	PublicResolvers = "public"
)

// String writes it as ParseResolver reads it: "system", "192.0.2.53",
// "[2001:db8::53]:5353".
func (r Resolver) String() string {
	switch {
	case r.Which != "":
		return r.Which
	case r.Server.Port() == dnsPort:
		return r.Server.Addr().String()
	}
	return r.Server.String()
}

// DefaultResolvers are asked unless others are named.
func DefaultResolvers() []Resolver { return []Resolver{{Which: SystemResolvers}} }

// Identity is how the right application is told from another one.
type Identity struct {
	// URL is what is asked for, at each address; its host is the name in TLS and
	// in the request.
	URL string
	// Status is what it answers; 0: anything below 400.
	Status int
	// BodyContains is what the beginning of its answer holds, Header a header of
	// it, "X-Site: shop"; empty: any.
	BodyContains, Header string
}

// ASNDatabase is a file that says who has which addresses.
type ASNDatabase struct {
	// File is as it was written, empty for none; Path is where it is, relative to
	// the directory of the configuration.
	File, Path string
	// Line and Column are where the file has it, for messages.
	Line, Column int
}

// Refused is what Parse would say of a database that is no good.
func (d ASNDatabase) Refused(file, problem, hint string) error {
	return &Error{File: file, Line: d.Line, Column: d.Column, Key: "asn_database", Text: shorten(d.File), Problem: "asn_database " + quote(d.File) + ": " + problem, Hint: hint}
}

type rawDrain struct {
	section
	Name      rawDomain     `yaml:"name" jsonschema:"required" jsonschema_description:"The DNS name whose addresses change, unique in the file."`
	Old       []rawIP       `yaml:"old" example:"[192.0.2.10]" jsonschema_description:"Its addresses before the switch. With neither old nor new a switch is noticed by itself."`
	New       []rawIP       `yaml:"new" example:"[198.51.100.7]" jsonschema_description:"Its addresses after the switch."`
	Ports     []rawPort     `yaml:"ports" example:"[443]" jsonschema_description:"The ports that count. Default: every one."`
	TTL       rawTTL        `yaml:"ttl" jsonschema_description:"For how long answers of before the switch are good, from 1s to 168h. Default: as they say."`
	Resolvers []rawResolver `yaml:"resolvers" example:"[system, 192.0.2.53]" jsonschema_description:"Who is asked beside the zone's own servers: system, public, an address with or without a port. Default: system."`
	Identity  rawIdentity   `yaml:"identity" example:"{url: https://shop.example/healthz}" jsonschema_description:"How the right application is told from another one. Default: a connection will do."`
	Deadline  rawDeadline   `yaml:"deadline" jsonschema_description:"When after the switch a drain that is not over is stuck, from 1m to 744h. Default: four times the TTL, 15m at least."`
}

type rawIdentity struct {
	section
	URL    rawURL      `yaml:"url" jsonschema:"required" jsonschema_description:"What is asked for at each address, http or https; its host is the name in TLS and in the request."`
	Expect rawExpected `yaml:"expect" empty:"yes" example:"{status: 200}" jsonschema_description:"What must come. Default: any status below 400."`
}

type rawExpected struct {
	section
	Status       rawHTTPStatus `yaml:"status" jsonschema_description:"The status, from 200 to 599. Default: any below 400."`
	BodyContains rawText       `yaml:"body_contains" jsonschema_description:"Text that is within the first 64 KiB. Default: any."`
	Header       rawText       `yaml:"header" jsonschema_description:"A header with its value, as \"X-Site: shop\". Default: any."`
}

type (
	rawDomain     struct{ scalar }
	rawIP         struct{ scalar }
	rawPort       struct{ scalar }
	rawTTL        struct{ scalar }
	rawDeadline   struct{ scalar }
	rawResolver   struct{ scalar }
	rawHTTPStatus struct{ scalar }
	rawDatabase   struct{ scalar }
)

func (rawDomain) kind() kind {
	s := text(hostName.String())
	s.MaxLength = new(uint64(maxHostName + 1))
	return kind{"a DNS name", "shop.example", s}
}

func (rawIP) kind() kind {
	return kind{"an address", "192.0.2.10", text(`^[0-9A-Fa-f:.]+$`)}
}

func (rawPort) kind() kind {
	return kind{"a port", "443", &jsonschema.Schema{Type: "integer", Minimum: number(1), Maximum: number(65535)}}
}

func (rawTTL) kind() kind {
	return kind{"a duration", "60s or 5m", text(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)}
}

func (rawDeadline) kind() kind {
	return kind{"a duration", "30m or 24h", text(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)}
}

func (rawResolver) kind() kind {
	return kind{"a resolver", `system, public, 192.0.2.53 or "192.0.2.53:5353"`, text(`^(system|public|[0-9A-Fa-f:.]+|(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+)$`)}
}

func (rawHTTPStatus) kind() kind {
	return kind{"a status", "200", &jsonschema.Schema{Type: "integer", Minimum: number(200), Maximum: number(599)}}
}

func (rawDatabase) kind() kind {
	return kind{"a path", "/var/lib/GeoIP/asn.mmdb", &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(maxPath))}}
}

func effectiveDrains(line writeLine, drains []Drain) {
	if len(drains) == 0 {
		line("drain: []")
		return
	}
	line("drain:")
	for _, d := range drains {
		line("  - name: %s", yamlText(d.Name))
		if d.Watched() {
			line("    # old and new: none, so a switch is noticed by itself")
		} else {
			line("    old: [%s]", yamlList(texts(d.Old)))
			line("    new: [%s]", yamlList(texts(d.New)))
		}
		if len(d.Ports) > 0 {
			var ports []string
			for _, p := range d.Ports {
				ports = append(ports, strconv.Itoa(int(p)))
			}
			line("    ports: [%s]", strings.Join(ports, ", "))
		}
		if d.TTL > 0 {
			line("    ttl: %s", durationText(d.TTL))
		}
		line("    resolvers: [%s]", yamlList(texts(d.Resolvers)))
		effectiveIdentity(line, d.Identity)
		if d.Deadline > 0 {
			line("    deadline: %s", durationText(d.Deadline))
		} else {
			line("    # deadline: four times the TTL, 15m at least")
		}
	}
}

func effectiveIdentity(line writeLine, x *Identity) {
	if x == nil {
		line("    # identity: none, so a connection will do")
		return
	}
	line("    identity:")
	line("      url: %s", yamlQuoted(x.URL))
	if x.Status == 0 && x.BodyContains == "" && x.Header == "" {
		line("      # expect: any status below 400")
		return
	}
	line("      expect:")
	if x.Status > 0 {
		line("        status: %d", x.Status)
	}
	for _, part := range []struct{ key, text string }{{"body_contains", x.BodyContains}, {"header", x.Header}} {
		if part.text != "" {
			line("        %s: %s", part.key, yamlQuoted(part.text))
		}
	}
}

// texts spells each.
func texts[T interface{ String() string }](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.String()
	}
	return out
}
