package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/ranges"
	"github.com/foreshock/foreshock/internal/scope"
)

// rangeFiles reads the files of ranges, and remembers what each said when it was
// last any good: one that is half written at a reload takes no region away.
type rangeFiles struct{ good map[rangesOf]ranges.Ranges }

// rangesOf is what is taken from which file.
type rangesOf struct {
	path  string
	which config.Select
}

// Regions reads the regions of a configuration. file is its name, for messages:
// the error joins one for each problem.
func Regions(cfg config.Config, file string) ([]scope.Region, error) {
	return (&rangeFiles{}).regions(cfg, file)
}

// regions is Regions where a file that is no good any more may be as it was: the
// region's Limit then says so.
func (f *rangeFiles) regions(cfg config.Config, file string) ([]scope.Region, error) {
	var errs []error
	var out []scope.Region
	good := map[rangesOf]ranges.Ranges{}
	read := map[string][]byte{} // one file may have many regions
	for _, c := range cfg.Regions {
		r := scope.Region{Name: c.Name, Source: "configured", Prefixes: slices.Clone(c.CIDRs)}
		if c.File != "" {
			from := rangesOf{c.Path, c.Select}
			found, err := parsed(read, c)
			if last, had := f.good[from]; err != nil && had {
				r.Limit = fmt.Sprintf("%s: %s: the ranges that it had before stay", c.File, err.What)
				found, err = last, nil
			}
			if err != nil {
				errs = append(errs, c.Refused(file, c.File+": "+err.What, err.Hint))
				continue
			}
			good[from] = found
			r.Source = source(c, found)
			r.Prefixes = append(r.Prefixes, found.Prefixes...)
		}
		out = append(out, r)
	}
	if len(errs) == 0 {
		errs = settle(cfg, file, out)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	f.good = good
	return out, nil
}

// parsed reads and parses the file of a region.
func parsed(read map[string][]byte, c config.Region) (ranges.Ranges, *ranges.Problem) {
	data, again := read[c.Path]
	if !again {
		var err error
		data, err = config.ReadPlain(c.Path, ranges.MaxSize)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return ranges.Ranges{}, &ranges.Problem{What: err.Error(), Hint: "make it readable for the user that Foreshock runs as"}
		case err != nil:
			return ranges.Ranges{}, &ranges.Problem{What: err.Error(), Hint: "name a plain file that is there; a relative path begins at the directory of the configuration"}
		}
		read[c.Path] = data
	}
	found, err := ranges.Parse(data, ranges.Select(c.Select))
	if p, ok := errors.AsType[*ranges.Problem](err); ok {
		return ranges.Ranges{}, p
	}
	return found, nil
}

// source says where a region's prefixes come from: "ip-ranges.json (AWS),
// eu-west-1 EC2".
func source(c config.Region, found ranges.Ranges) string {
	out := filepath.Base(c.File)
	if found.Format != ranges.Text {
		out += fmt.Sprintf(" (%s), %s", found.Format, c.Select.Region)
		if c.Select.Service != "" {
			out += " " + c.Select.Service
		}
	}
	if len(c.CIDRs) > 0 {
		out += " and configured"
	}
	return out
}

// settle takes from each region what another one's cidrs have, sorts its
// prefixes and says which are in the files of two.
func settle(cfg config.Config, file string, regions []scope.Region) (errs []error) {
	cidrs, of := map[netip.Prefix]int{}, map[netip.Prefix]int{}
	for i, c := range cfg.Regions {
		for _, p := range c.CIDRs {
			cidrs[p] = i
		}
	}
	for i := range regions {
		r := &regions[i]
		r.Prefixes = slices.DeleteFunc(r.Prefixes, func(p netip.Prefix) bool {
			owner, configured := cidrs[p]
			return configured && owner != i
		})
		slices.SortFunc(r.Prefixes, netip.Prefix.Compare)
		r.Prefixes = slices.Compact(r.Prefixes)
		for _, p := range r.Prefixes {
			if other, taken := of[p]; taken {
				errs = append(errs, cfg.Regions[i].Refused(file, fmt.Sprintf("%s: %s is in the region %q too", cfg.Regions[i].File, p, regions[other].Name), "select other services or regions, or give the prefix to one of them with cidrs:"))
				break
			}
			of[p] = i
		}
	}
	if len(errs) == 0 && len(of) > ranges.MaxPrefixes {
		errs = append(errs, fmt.Errorf("%s: the regions have %d prefixes together, and %d are the most; select fewer regions, or a service of them", file, len(of), ranges.MaxPrefixes))
	}
	return errs
}

// regionSet is the regions of a configuration, shared by all namespaces.
type regionSet struct {
	all   []scope.Region
	index *scope.RegionIndex
}

// in is the regions as scopes of the namespace of that name.
func (s *regionSet) in(namespace string) []scope.Region {
	out := slices.Clone(s.all)
	for i := range out {
		out[i].Namespace = namespace
	}
	return out
}

// SetRegions changes the regions of all namespaces. Connections and windows of
// those that stay, by name, are kept.
func (h *Host) SetRegions(all []scope.Region) {
	h.regionSet = &regionSet{all: all, index: scope.NewRegionIndex(all)}
	for _, p := range h.pipelines() {
		p.setRegions(h.regionSet)
	}
}

// setRegions takes them over with the next pulse that knows who listens: until
// then a client of ours cannot be told from a destination.
func (p *Pipeline) setRegions(set *regionSet) { p.newRegions = set }

// takeRegions does, after a whole pulse, and reports whether there are other
// scopes than before.
func (p *Pipeline) takeRegions() bool {
	if p.newRegions == nil || !p.knowsListeners() {
		return false
	}
	p.tallier.SetRegions(p.newRegions.in(p.place.name), p.newRegions.index, p.place.name == "")
	p.newRegions = nil
	return true
}

// asksRegions reports whether connections go to some region.
func (p *Pipeline) asksRegions() bool {
	return slices.ContainsFunc(p.regions, func(r scope.Region) bool { return p.inUse[r.ID()] })
}

// regions are those of all namespaces, our own first.
func (h *Host) regions() []scope.Region {
	out := slices.Clip(h.own.regions)
	for _, r := range h.others {
		out = append(out, r.regions...)
	}
	return out
}
