package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/discover"
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

// regionKeys returns the function that names a socket's region.
func (c *counted) regionKeys(listeners []tcp.Socket) (func(*tcp.Socket) key, error) {
	var err error
	if c.regions, err = agent.Regions(c.options.config, c.options.configFile); err != nil {
		return nil, err
	}
	if len(c.regions) == 0 {
		return nil, errNoRegions
	}
	services, _ := discover.Services(listeners, nil, nil)
	clients, index := scope.NewIndex(services), scope.NewRegionIndex(c.regions)
	c.destinations = map[int]map[netip.AddrPort]bool{}
	for i := range c.regions {
		c.breakdown.Touch(key{region: i})
		c.destinations[i] = map[netip.AddrPort]bool{}
	}
	c.limits = append(c.limits, "destinations beyond a NAT or a service address: the kernel's table shows where connections were sent")
	told := 0
	return func(s *tcp.Socket) key {
		region := regionOf(s, clients, index)
		if region >= 0 && s.State != tcp.TimeWait && told < maxDestinations && !c.destinations[region][s.Remote] {
			c.destinations[region][s.Remote] = true
			told++
		}
		return key{region: region}
	}, nil
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

func (c *counted) regionCells(k key, n *measure.Counts, wait time.Duration) []string {
	destinations := "–"
	if k.region >= 0 {
		destinations = strconv.Itoa(len(c.destinations[k.region]))
	}
	return append([]string{destinations}, c.backendCells(n, wait)...)
}

func (c *counted) regionLabel(at int) []string {
	switch at {
	case unclassified:
		return []string{"(rest)", "outgoing, in no region"}
	case notOutgoing:
		return []string{"(rest)", "incoming, listening or over loopback"}
	}
	r := &c.regions[at]
	return []string{r.Name, r.Describe()}
}

func (c *counted) regionJSON(at int) map[string]any {
	switch at {
	case unclassified:
		return map[string]any{"rest": true, "outgoing": true}
	case notOutgoing:
		return map[string]any{"rest": true, "outgoing": false}
	}
	r := &c.regions[at]
	return map[string]any{"region": r.Name, "prefixes": len(r.Prefixes), "source": r.Source}
}

// outgoing is how many connections this host began, and how many of them are in
// no region.
func (c *counted) outgoing() (all, none int) {
	rows, _, _ := c.breakdown.Rows(0, compareKeys)
	for _, r := range rows {
		if r.Key.region != notOutgoing {
			all += r.Connections()
		}
		if r.Key.region == unclassified {
			none = r.Connections()
		}
	}
	return all, none
}

// unclassifiedText says what is in no region.
func (c *counted) unclassifiedText() string {
	all, none := c.outgoing()
	if all == 0 {
		return "No connection that this host began: nothing to be in a region.\n"
	}
	return fmt.Sprintf("%s of %s that this host began (%.1f %%) are in no region.\n", thousands(none), count(all, "connection", "connections"), 100*float64(none)/float64(all))
}
