package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// MaxRegions is how many regions a file may have. Each is a scope with windows
// of its own, some 30 KB.
const MaxRegions = 200

// MaxCIDRs is how many cidrs all regions may have together; longer lists belong
// in files of ranges.
const MaxCIDRs = 2000

// Region is remote prefixes that are judged as one.
type Region struct {
	Name string // unique in the file
	// CIDRs are masked, each once in all regions, and none is inside another
	// region's. IPv4-mapped ones are IPv4.
	CIDRs []netip.Prefix
	// File is a file of ranges as it was written, empty for none; Path is where
	// it is, relative to the directory of the configuration.
	File, Path string
	Select     Select
	// Line and Column are where the file has File, for messages.
	Line, Column int
}

// Select is which ranges of a file are meant. Zero is all of them.
type Select struct {
	Region, Service string
}

// Refused is what Parse would say of a region whose file of ranges is no good.
func (r Region) Refused(file, problem, hint string) error {
	return &Error{File: file, Line: r.Line, Column: r.Column, Key: "regions." + r.Name + ".file", Text: shorten(r.File), Problem: fmt.Sprintf("region %s: %s", quote(r.Name), problem), Hint: hint}
}

// placed is a prefix of the file, and where it stands.
type placed struct {
	prefix netip.Prefix
	region int
	at     position
}

func checkRegions(p *problems, raw []rawRegion) []Region {
	var out []Region
	if len(raw) > MaxRegions {
		at := raw[MaxRegions].At
		p.add(at, "regions", "", fmt.Sprintf("there are %d regions, and %d are the most", len(raw), MaxRegions), "join some, or leave out those that nothing here talks to")
		return nil
	}
	names := uniqueNames{what: "region", example: "east", twice: "give each its own name, or list all prefixes under one", lines: map[string]int{}}
	var all []placed
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		key := fmt.Sprintf("regions[%d]", i)
		region := Region{Name: names.check(p, key, r.At, r.Name), Line: r.File.At.Line, Column: r.File.At.Column}
		if len(r.CIDRs) == 0 && !r.File.Given {
			p.add(r.At, key+".cidrs", region.Name, fmt.Sprintf("%s %s has no prefix", key, quote(region.Name)), "add cidrs: [192.0.2.0/24], or file: with a list of ranges")
		}
		for j, c := range r.CIDRs {
			if len(all) == MaxCIDRs {
				p.add(c.At, key+".cidrs", "", fmt.Sprintf("there are more than %d cidrs", MaxCIDRs), "put long lists into files of one prefix a line, and name those with file:")
				return nil
			}
			at := fmt.Sprintf("%s.cidrs[%d]", key, j)
			if prefix, ok := checkPrefix(p, at, c.scalar); ok && apart(p, all, raw, placed{prefix, i, c.At}, at, c.scalar) {
				all = append(all, placed{prefix, i, c.At})
				region.CIDRs = append(region.CIDRs, prefix)
			}
		}
		checkRanges(p, key, r, &region)
		out = append(out, region)
	}
	return out
}

// checkPrefix reads "192.0.2.0/24".
func checkPrefix(p *problems, key string, s scalar) (netip.Prefix, bool) {
	if !s.Good {
		return netip.Prefix{}, false
	}
	prefix, problem, hint := ParsePrefix(s.Text)
	if problem == "" {
		return prefix, true
	}
	p.add(s.At, key, s.Text, fmt.Sprintf("%s %s %s", key, quote(s.Text), problem), hint)
	return netip.Prefix{}, false
}

// ParsePrefix reads a prefix with no bit set behind its length, and folds an
// IPv4-mapped one to IPv4. Where it is none, problem says why, beginning with a
// verb, and hint what to write.
func ParsePrefix(text string) (prefix netip.Prefix, problem, hint string) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			return netip.Prefix{}, "has no length", fmt.Sprintf("write %s/%d for this address alone", a, a.BitLen())
		}
		return netip.Prefix{}, "is no prefix", "write an address and a length: 192.0.2.0/24 or 2001:db8::/32"
	}
	if a := prefix.Addr(); a.Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, "is wider than all of IPv4-mapped IPv6", "write ::/0 for all of IPv6, or the prefix as IPv4"
		}
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, "has bits set behind its length", fmt.Sprintf("write %s, or %s/%d for the one address", masked, prefix.Addr(), prefix.Addr().BitLen())
	}
	return prefix, "", ""
}

// apart reports whether a prefix is neither there already nor inside a prefix
// of another region, or the other way round; else it says with which.
func apart(p *problems, all []placed, raw []rawRegion, x placed, key string, s scalar) bool {
	for _, o := range all {
		place := fmt.Sprintf("%d:%d", o.at.Line, o.at.Column)
		name := quote(raw[o.region].Name.Text)
		problem, hint := "", "keep it in one of them"
		switch {
		case o.prefix == x.prefix && o.region == x.region:
			problem, hint = fmt.Sprintf("is there twice, first at %s", place), "keep one of them"
		case o.prefix == x.prefix:
			problem = fmt.Sprintf("belongs to the region %s already, at %s", name, place)
		case o.region != x.region && o.prefix.Overlaps(x.prefix) && o.prefix.Bits() < x.prefix.Bits():
			problem = fmt.Sprintf("is inside %s of the region %s, at %s", o.prefix, name, place)
			hint = "regions fail apart, so their cidrs do not nest: write the parts of " + o.prefix.String() + " that are meant, or take the wider ones from a file:, where the longest match wins"
		case o.region != x.region && o.prefix.Overlaps(x.prefix):
			problem = fmt.Sprintf("has %s of the region %s inside it, at %s", o.prefix, name, place)
			hint = "regions fail apart, so their cidrs do not nest: write the parts of " + x.prefix.String() + " that are meant, or take the wider ones from a file:, where the longest match wins"
		default:
			continue
		}
		p.add(s.At, key, s.Text, fmt.Sprintf("%s %s %s", key, quote(s.Text), problem), hint)
		return false
	}
	return true
}

// checkRanges checks file and select of a region.
func checkRanges(p *problems, key string, r rawRegion, out *Region) {
	if s := r.File; s.Good {
		if s.Text == "" || len(s.Text) > maxPath || strings.TrimSpace(s.Text) != s.Text || !printable(s.Text) {
			p.add(s.At, key+".file", s.Text, fmt.Sprintf("%s.file %s is not a path", key, quote(s.Text)), "write it as /etc/foreshock/ranges.json, or relative to the directory of this file")
		} else {
			out.File, out.Path = s.Text, s.Text
			if !filepath.IsAbs(s.Text) {
				out.Path = filepath.Join(filepath.Dir(p.file), s.Text)
			}
		}
	}
	x := r.Select
	switch {
	case !x.there() || x.Spoiled:
		return
	case !r.File.Given:
		p.add(x.At, key+".select", "", key+".select chooses from a file, and there is none", "add file: with a list of ranges, or remove select")
	case !x.Region.Given:
		p.add(x.At, key+".select.region", "", key+".select has no region", "add region: as the file spells it, eu-west-1 or northeurope")
	}
	for _, f := range []struct {
		name string
		raw  rawText
		to   *string
	}{{"region", x.Region, &out.Select.Region}, {"service", x.Service, &out.Select.Service}} {
		path := key + ".select." + f.name
		switch {
		case !f.raw.Good || !checkName(p, path, f.raw.scalar):
		case f.raw.Text == "":
			p.add(f.raw.At, path, "", path+" is empty", "write it as the file spells it, or remove the key")
		default:
			*f.to = f.raw.Text
		}
	}
}
