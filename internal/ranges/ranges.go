// Package ranges reads the files in which clouds publish their addresses, and
// plain lists of prefixes:
//
//	r, err := ranges.Parse(data, ranges.Select{Region: "eu-west-1", Service: "EC2"})
//
// The formats, told apart by what is in them:
//
//   - AWS, ip-ranges.json: prefixes[].ip_prefix and ipv6_prefixes[].ipv6_prefix,
//     each with region and service
//     (https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html)
//   - Google Cloud, cloud.json: prefixes[] with ipv4Prefix or ipv6Prefix, and
//     scope, which is the region, and service
//     (https://www.gstatic.com/ipranges/cloud.json)
//   - Azure, ServiceTags_*.json: values[].properties with addressPrefixes,
//     region and systemService
//     (https://learn.microsoft.com/azure/virtual-network/service-tags-overview)
//   - text: one prefix a line, # begins a comment
//
// It opens nothing and is pure.
package ranges

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/enum"
	"github.com/foreshock/foreshock/internal/spelling"
)

// The bounds of a file.
const (
	MaxSize     = 16 << 20 // bytes; Azure's, the largest, has 4 MB
	MaxPrefixes = 100_000  // of those selected, each once
)

// Format is who wrote a file.
type Format uint8

// The formats. The zero value is none.
const (
	NoFormat Format = iota
	AWS
	Google
	Azure
	Text
)

var formatNames = [...]string{"none", "AWS", "Google Cloud", "Azure", "text"}

// String names it for a person: "AWS".
func (f Format) String() string { return enum.Name(f, "format", formatNames[:]) }

// Select is which ranges of a file are meant. A cloud's file needs a Region; an
// empty Service is all of them. A text has neither.
type Select struct {
	Region, Service string
}

// Ranges is what was selected.
type Ranges struct {
	Format Format
	// Prefixes are sorted and masked, each once; never empty. IPv4-mapped ones
	// are IPv4.
	Prefixes []netip.Prefix
}

// Problem is why a file is no good, and what to do about it.
type Problem struct{ What, Hint string }

// Error returns "what; hint".
func (p *Problem) Error() string { return p.What + "; " + p.Hint }

func problem(hint, format string, args ...any) error {
	return &Problem{fmt.Sprintf(format, args...), hint}
}

// Parse reads a file. Every error is a *Problem.
func Parse(data []byte, which Select) (Ranges, error) {
	if len(data) > MaxSize {
		return Ranges{}, problem("split it, or keep the regions that are meant", "it is larger than %d MiB", MaxSize>>20)
	}
	c := &collector{which: which, regions: map[string]bool{}, services: map[string]bool{}}
	var err error
	if trimmed := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))); bytes.HasPrefix(trimmed, []byte("{")) {
		err = c.json(trimmed)
	} else {
		err = c.text(data)
	}
	if err != nil {
		return Ranges{}, err
	}
	return c.end()
}

// collector gathers the prefixes that are meant, and the names that are there,
// for messages.
type collector struct {
	which             Select
	format            Format
	prefixes          []netip.Prefix
	regions, services map[string]bool
}

// maxNames bounds how many names are remembered.
const maxNames = 1000

// meant reports whether ranges of that region and service are.
func (c *collector) meant(region, service string) bool {
	if len(c.regions) < maxNames {
		c.regions[region] = true
	}
	if region != c.which.Region {
		return false
	}
	if len(c.services) < maxNames {
		c.services[service] = true
	}
	return c.which.Service == "" || c.which.Service == service
}

// add takes the prefix at a place of the file.
func (c *collector) add(place, text string) error {
	p, what, hint := config.ParsePrefix(text)
	if what != "" {
		return problem(hint, "%s %.60q %s", place, text, what)
	}
	c.prefixes = append(c.prefixes, p)
	if len(c.prefixes) > 2*MaxPrefixes { // some are there twice, as the ranges of a service are
		c.compact()
		if len(c.prefixes) > MaxPrefixes {
			return tooMany()
		}
	}
	return nil
}

func tooMany() error {
	return problem("select a service too, or fewer regions", "it has more than %d prefixes", MaxPrefixes)
}

func (c *collector) compact() {
	slices.SortFunc(c.prefixes, netip.Prefix.Compare)
	c.prefixes = slices.Compact(c.prefixes)
}

// end is what was collected, or why it is nothing.
func (c *collector) end() (Ranges, error) {
	c.compact()
	switch {
	case len(c.prefixes) > MaxPrefixes:
		return Ranges{}, tooMany()
	case len(c.prefixes) > 0:
		return Ranges{Format: c.format, Prefixes: slices.Clip(c.prefixes)}, nil
	case c.format == Text:
		return Ranges{}, problem("write one prefix a line", "it has no prefix")
	case c.which.Region == "":
		return Ranges{}, problem("add select: {region: …}; "+among("regions", c.regions), "it is a file of %s, and no region of it is selected", c.format)
	case !c.regions[c.which.Region]:
		return Ranges{}, problem(near(c.which.Region, "regions", c.regions), "it is a file of %s and has no region %.60q", c.format, c.which.Region)
	}
	return Ranges{}, problem(near(c.which.Service, "services there", c.services), "it is a file of %s and has no ranges of the service %.60q in %s", c.format, c.which.Service, c.which.Region)
}

// near is what to do about a name that is not there.
func near(name, what string, known map[string]bool) string {
	if n, ok := spelling.Nearest(name, listed(known)); ok {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return among(what, known)
}

// among names some of what is there.
func among(what string, known map[string]bool) string {
	names := listed(known)
	if len(names) == 0 {
		return "it has none: get it anew"
	}
	const most = 10
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return "the " + what + " are " + strings.Join(names, ", ") + more
}

func listed(known map[string]bool) []string {
	var out []string
	for name := range known {
		if name != "" && len(name) <= 60 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// text reads one prefix a line.
func (c *collector) text(data []byte) error {
	c.format = Text
	if c.which != (Select{}) {
		return problem("remove select", "it is a list of prefixes and not a cloud's file: there is nothing to select from")
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		before, _, _ := bytes.Cut(line, []byte("#"))
		if text := string(bytes.TrimSpace(before)); text != "" {
			if err := c.add(fmt.Sprintf("line %d", n), text); err != nil {
				return err
			}
		}
	}
	return nil
}
