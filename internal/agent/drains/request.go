package drains

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
)

// maxAgo is how long ago a switch may have been that somebody starts to follow.
const maxAgo = 31 * 24 * time.Hour

// maxWords is how long who asks may be called, in bytes.
const maxWords = 128

// parse checks what somebody asks for by the rules of the configuration. The
// error is an *api.Refusal.
func parse(in api.DrainRequest) (r Record, err error) {
	refuse := func(what, hint string) error { return &api.Refusal{What: what, Hint: hint} }
	name, problem, hint := config.ParseDomain(in.Name)
	if problem != "" {
		return r, refuse(fmt.Sprintf("name %.80q %s", in.Name, problem), hint)
	}
	r = Record{Name: name, Source: ByHand, DeadlineSeconds: in.DeadlineSeconds, By: in.By}
	for _, side := range []struct {
		key string
		in  []netip.Addr
		to  *[]netip.Addr
	}{{"old", in.Old, &r.Before}, {"new", in.New, &r.After}} {
		if len(side.in) > config.MaxDrainAddresses {
			return r, refuse(fmt.Sprintf("%s has %d addresses, and %d are the most", side.key, len(side.in), config.MaxDrainAddresses), "send those that this host sees")
		}
		for _, a := range side.in {
			addr, problem, hint := config.ParseAddress(a.String())
			if problem != "" {
				return r, refuse(fmt.Sprintf("%s %q %s", side.key, a, problem), hint)
			}
			if !slices.Contains(*side.to, addr) {
				*side.to = append(*side.to, addr)
			}
		}
		if len(*side.to) == 0 {
			return r, refuse(fmt.Sprintf("%s is missing", side.key), "send the addresses of "+name+" before the switch as old and those after it as new; one that stays is on both sides")
		}
	}
	if len(in.Ports) > config.MaxDrainPorts || slices.Contains(in.Ports, 0) {
		return r, refuse(fmt.Sprintf("ports are not at most %d ports from 1 to 65535", config.MaxDrainPorts), "send none where every port counts")
	}
	r.Ports = slices.Compact(slices.Sorted(slices.Values(in.Ports)))
	if in.TTLSeconds != nil {
		if r.TTLSeconds = *in.TTLSeconds; !within(r.TTLSeconds, config.MinTTL, config.MaxTTL) {
			return r, refuse("ttl_seconds is not within a second to a week", "send what the answers before the switch said, or null where that is not known")
		}
	}
	switch {
	case !within(in.AgoSeconds, 0, maxAgo):
		return r, refuse("ago_seconds is not within 0 to 31 days", "send how long ago the switch was, or 0 for now")
	case in.DeadlineSeconds != 0 && !within(in.DeadlineSeconds, config.MinDeadline, config.MaxDeadline):
		return r, refuse("deadline_seconds is not within a minute to 31 days", "send when after the switch it is stuck, or 0 for four times the TTL and 15 minutes at least")
	case len(in.By) > maxWords || strings.ContainsFunc(in.By, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return r, refuse(fmt.Sprintf("by is not a name of at most %d bytes", maxWords), "send who asks, on one line")
	case len(in.Resolvers) > config.MaxDrainResolvers:
		return r, refuse(fmt.Sprintf("there are %d resolvers, and %d are the most", len(in.Resolvers), config.MaxDrainResolvers), "send those that your users' answers come from")
	}
	for _, text := range in.Resolvers {
		x, problem, hint := config.ParseResolver(text)
		if problem != "" {
			return r, refuse(fmt.Sprintf("resolver %.80q %s", text, problem), hint)
		}
		r.Resolvers = append(r.Resolvers, x.String())
	}
	if len(r.Resolvers) == 0 {
		r.Resolvers = []string{config.SystemResolvers}
	}
	r.Identity, err = parseIdentity(in.Identity)
	return r, err
}

// within says whether so many seconds are; NaN is in nothing.
func within(s float64, least, most time.Duration) bool {
	return s >= least.Seconds() && s <= most.Seconds()
}

func parseIdentity(in *api.Identity) (*api.Identity, error) {
	if in == nil {
		return nil, nil
	}
	u, err := url.Parse(in.URL)
	const example = "send it as https://shop.example/healthz"
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, &api.Refusal{What: "identity.url is not a URL of http or https", Hint: example}
	case !config.PortInRange(u):
		return nil, &api.Refusal{What: "identity.url has a port that is not from 1 to 65535", Hint: example}
	case u.User != nil || u.Fragment != "":
		return nil, &api.Refusal{What: "identity.url has a user, a password or a fragment in it", Hint: example}
	case in.Status != 0 && (in.Status < 200 || in.Status > 599):
		return nil, &api.Refusal{What: fmt.Sprintf("identity.status %d is not a status from 200 to 599", in.Status), Hint: "send what the application answers, or 0 for any below 400"}
	}
	for _, f := range []struct {
		key, text string
		check     func(string) (problem, hint string)
	}{{"body_contains", in.BodyContains, config.CheckBodyContains}, {"header", in.Header, config.CheckHeader}} {
		if f.text == "" {
			continue
		}
		if problem, hint := f.check(f.text); problem != "" {
			return nil, &api.Refusal{What: fmt.Sprintf("identity.%s %.80q %s", f.key, f.text, problem), Hint: hint}
		}
	}
	out := *in
	return &out, nil
}
