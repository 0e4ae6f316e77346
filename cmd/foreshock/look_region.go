package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// errNoRegions says why there is nothing to group by.
var errNoRegions = errors.New("no regions are configured: list them under regions: of a configuration, and name it with --config")

// Groups of what is in no region, beside the positions of those that are.
const (
	unclassified = scope.None     // this host began it, and its address is in none
	notOutgoing  = scope.None - 1 // a listener, a client of ours, or over loopback
)

// maxDestinations bounds how many destinations are told apart, of all regions.
const maxDestinations = 100_000

// everyRegion counts by region in each namespace that may be read. In our own
// every region has a row; in another those that have a socket there.
func (c *counted) everyRegion() error {
	var err error
	if c.regions, err = agent.Regions(c.options.config, c.options.configFile); err != nil {
		return err
	}
	if len(c.regions) == 0 {
		return errNoRegions
	}
	spaces, err := c.openSpaces(func(*space) error { return nil })
	defer closeSpaces(spaces)
	if err != nil {
		return err
	}
	index := scope.NewRegionIndex(c.regions)
	c.destinations = map[key]map[netip.AddrPort]bool{}
	for i := range spaces {
		g := &spaces[i]
		if g.Own {
			for at := range c.regions {
				c.breakdown.Touch(key{region: at, namespace: g.ID})
			}
		}
		err := c.countIn(g, func(s *tcp.Socket) key {
			k := regionKey(g.ID, regionOf(s, g.services, index))
			c.reach(k, s)
			return k
		})
		if err != nil {
			return err
		}
	}
	c.limits = append(c.limits, "destinations beyond a NAT or a service address: the kernel's table shows where connections were sent")
	return nil
}

// regionKey is the group of a region, or of what is in none, in a namespace.
// What no namespace began is one group for all: nothing is asked of it.
func regionKey(namespace tcp.Namespace, region int) key {
	if region == notOutgoing {
		return key{region: region}
	}
	return key{region: region, namespace: namespace}
}

// reach notes where a socket of a region goes.
func (c *counted) reach(k key, s *tcp.Socket) {
	if k.region < 0 || s.State == tcp.TimeWait || c.destinations[k][s.Remote] || c.told >= maxDestinations {
		return
	}
	if c.destinations[k] == nil {
		c.destinations[k] = map[netip.AddrPort]bool{}
	}
	c.destinations[k][s.Remote] = true
	c.told++
}

// regionOf is the position of a socket's region, unclassified or notOutgoing.
func regionOf(s *tcp.Socket, clients *scope.Index, index *scope.RegionIndex) int {
	if s.State == tcp.Listen || s.State == tcp.SynRecv || clients.Service(s) != scope.None {
		return notOutgoing
	}
	region := index.Region(s)
	if region == scope.None && s.Remote.Addr().IsLoopback() {
		return notOutgoing
	}
	return region
}

var regionColumns = append([]string{"destinations"}, backendColumns...)

func (c *counted) regionCells(k key, n *measure.Counts, wait time.Duration, info bool) []string {
	destinations := "–"
	if k.region >= 0 {
		destinations = strconv.Itoa(len(c.destinations[k]))
	}
	return append([]string{destinations}, c.backendCells(n, wait, info)...)
}

func (c *counted) regionLabel(k key) []string {
	at := ""
	if label := c.labelOf(k.namespace); label != "" {
		at = "@" + label
	}
	switch k.region {
	case unclassified:
		return []string{"(rest)" + at, "outgoing, in no region"}
	case notOutgoing:
		return []string{"(rest)", "incoming, listening or over loopback"}
	}
	r := &c.regions[k.region]
	return []string{r.Name + at, r.Describe()}
}

func (c *counted) regionJSON(k key) map[string]any {
	switch k.region {
	case unclassified:
		return map[string]any{"rest": true, "outgoing": true, "namespace": c.labelOf(k.namespace)}
	case notOutgoing:
		return map[string]any{"rest": true, "outgoing": false}
	}
	r := &c.regions[k.region]
	return map[string]any{"region": r.Name, "prefixes": len(r.Prefixes), "source": r.Source, "namespace": c.labelOf(k.namespace)}
}

// begun is the connections that were begun somewhere.
type begun struct {
	all  int
	none int // those in no region
}

// share is the part that is in no region, from 0 to 1; 0 without any.
func (b begun) share() float64 { return float64(b.none) / float64(max(b.all, 1)) }

// outgoing is what this host began, and of that what each namespace did.
func (c *counted) outgoing() (total begun, by map[tcp.Namespace]begun) {
	by = map[tcp.Namespace]begun{}
	rows, _, _ := c.breakdown.Rows(0, compareKeys)
	for _, r := range rows {
		if r.Key.region == notOutgoing {
			continue
		}
		b, n := by[r.Key.namespace], r.Connections()
		b.all, total.all = b.all+n, total.all+n
		if r.Key.region == unclassified {
			b.none, total.none = b.none+n, total.none+n
		}
		by[r.Key.namespace] = b
	}
	return total, by
}

// unclassifiedText says what is in no region: of all, and of each namespace
// where there are several. Those that began nothing are only counted, and so are
// those that could not be read: the limits name them.
func (c *counted) unclassifiedText() string {
	total, by := c.outgoing()
	var out strings.Builder
	if total.all == 0 {
		out.WriteString("No connection that this host began: nothing to be in a region.\n")
	} else {
		fmt.Fprintf(&out, "%s of %s that this host began (%.1f %%) are in no region.\n", thousands(total.none), count(total.all, "connection", "connections"), 100*total.share())
	}
	if len(c.spaces) < 2 {
		return out.String()
	}
	idle, unread := 0, 0
	for _, s := range c.spaces {
		name := "this namespace"
		if s.label != "" {
			name = "namespace " + s.label
		}
		b := by[s.id]
		switch {
		case s.unread != "":
			unread++
		case b.all == 0:
			idle++
		default:
			fmt.Fprintf(&out, "  %s: %s of %s (%.1f %%)\n", name, thousands(b.none), thousands(b.all), 100*b.share())
		}
	}
	if idle > 0 {
		fmt.Fprintf(&out, "  %s: no connection was begun there\n", count(idle, "namespace", "namespaces"))
	}
	if unread > 0 {
		fmt.Fprintf(&out, "  %s: not read, so not known\n", count(unread, "namespace", "namespaces"))
	}
	return out.String()
}

// unclassifiedJSON is the same for a program, with every namespace.
func (c *counted) unclassifiedJSON(doc *lookJSON) {
	total, by := c.outgoing()
	doc.Outgoing, doc.UnclassifiedRatio = total.json()
	doc.Namespaces = []lookNamespaceJSON{}
	for _, s := range c.spaces {
		n := lookNamespaceJSON{Namespace: s.label, Read: s.unread == "", Reason: s.unread}
		if n.Read {
			n.Outgoing, n.UnclassifiedRatio = by[s.id].json()
		}
		doc.Namespaces = append(doc.Namespaces, n)
	}
}

func (b begun) json() (outgoing *int, unclassified *float64) {
	if b.all > 0 {
		unclassified = new(b.share())
	}
	return &b.all, unclassified
}
