package drains

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/reply"
)

// For how long a route may be relied on: before a switch it must not keep
// clients from it, and when it is over nothing changes any more.
const (
	armedFor    = 5 * time.Second
	drainingFor = 30 * time.Second
	settledFor  = 5 * time.Minute
)

// Route says which addresses to use now: after a switch those of the new ones
// that passed as the right application, else all; before it those of the last
// good answer. settled: the drain is over.
func (e *Entry) Route(now time.Time, settled bool) (api.Route, error) {
	r := api.Route{Name: e.Name}
	switch e.State() {
	case Watched, Armed:
		r.Addresses, r.MaxAgeSeconds, r.From = e.outward(e.says.last), int(armedFor.Seconds()), "the last good answer, before a switch"
		if len(r.Addresses) == 0 {
			r.Addresses, r.From = e.Before, "the addresses before the switch, as the configuration has them"
		}
		if len(r.Addresses) == 0 {
			return api.Route{}, &api.Refusal{What: "no resolver has said yet which addresses " + e.Name + " has", Hint: "ask again in a few seconds, or look at its resolvers: foreshock drain status " + e.Name}
		}
		return r, nil
	}
	r.MaxAgeSeconds = int(drainingFor.Seconds())
	if settled {
		r.MaxAgeSeconds = int(settledFor.Seconds())
	}
	r.From = fmt.Sprintf("switch %s %s ago", e.Source, now.Sub(e.Switch.Since).Round(time.Second))
	after := e.outward(e.After)
	tried, good := passed(after, e.says.probes)
	each, several := "answers as expected", "answer as expected"
	if e.Identity == nil {
		each, several = "takes connections", "take connections"
	}
	switch {
	case len(after) == 0:
		return api.Route{}, &api.Refusal{What: "name servers answer for " + e.Name + " with addresses of this host, its link or its cloud alone, and nobody is sent there on their word", Hint: "if that is meant, say so: foreshock drain start " + e.Name + " with these addresses"}
	case len(good) == len(after):
		r.From += "; each " + each
	case len(good) > 0:
		r.From += fmt.Sprintf("; %d of %d addresses %s", len(good), len(after), several)
	case tried:
		r.From += "; none of the new addresses " + each + ", so all are named"
	}
	if r.Addresses = good; len(good) == 0 {
		r.Addresses = slices.Clone(after)
	}
	slices.SortFunc(r.Addresses, netip.Addr.Compare)
	return r, nil
}

// outward are those of the addresses that name servers gave which may be told on:
// not inward ones, unless somebody wrote them down.
func (e *Entry) outward(addresses []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addresses), func(a netip.Addr) bool {
		written := e.Source != Noticed && (slices.Contains(e.Before, a) || slices.Contains(e.After, a))
		return !written && reply.Inward(a)
	})
}

// passed are those of the addresses where the right application answered; tried:
// some were probed.
func passed(addresses []netip.Addr, probes map[netip.Addr]reply.Probe) (tried bool, good []netip.Addr) {
	for _, a := range addresses {
		p, probed := probes[a]
		tried = tried || probed
		if probed && p.Failed == reply.Done && !p.Wrong {
			good = append(good, a)
		}
	}
	return tried, good
}
