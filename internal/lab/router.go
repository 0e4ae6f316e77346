package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Treatment is how a router treats what it forwards to and from a host behind
// it. The zero value lets everything pass.
type Treatment struct {
	// Loss is the share of packets that it loses without a word, in percent,
	// each way by itself; 100 is a blackhole.
	Loss float64
	// Reject answers instead of forwarding, each way.
	Reject Rejection
}

// Rejection is what a router answers with.
type Rejection string

// The rejections.
const (
	RejectNothing Rejection = ""
	// RejectUnreachable is ICMP, or ICMPv6: host, or address, unreachable. Where
	// it comes while connect(2) still holds the socket it is taken for a passing
	// error, and the next SYN's counts, a second later. Kernel:
	// net/ipv4/tcp_ipv4.c, tcp_v4_err.
	RejectUnreachable Rejection = "unreachable"
	// RejectReset is a TCP reset in the peer's name, also on connections that
	// stand. What is not TCP passes.
	RejectReset Rejection = "reset"
)

// gateway6 is every router's address on each of its links to hosts with IPv6.
const gateway6 = "fe80::1"

// joinRouter makes the link between a host and its router. The router has its
// own first address on it and the gateway for IPv6; the host sends everything
// there.
func (h *Host) joinRouter(ctx context.Context) error {
	r := h.router
	gateway, link := r.Addr(), r.linkTo(h)
	var router, host strings.Builder
	fmt.Fprintf(&router, "link add %s type veth peer name eth0 netns %s\n", link, h.namespace())
	fmt.Fprintf(&router, "link set %s addrgenmode none up\n", link)
	fmt.Fprintf(&router, "address add %v/32 dev %s\n", gateway, link)
	fmt.Fprintf(&host, "link set lo up\nlink set eth0 addrgenmode none up\n")
	defaults := map[string]bool{}
	for _, a := range h.addrs {
		bits, nodad, via := 32, "", gateway.String()
		if a.Is6() { // which would be tentative for a second
			bits, nodad, via = 128, "nodad", gateway6
		}
		fmt.Fprintf(&host, "address add %v/%d dev eth0 %s\n", a, bits, nodad)
		if !defaults[via] {
			defaults[via] = true
			fmt.Fprintf(&host, "route add default via %s dev eth0 onlink src %v\n", via, a)
			if a.Is6() {
				fmt.Fprintf(&router, "address add %s/64 dev %s nodad\n", gateway6, link)
			}
		}
		fmt.Fprintf(&router, "route add %v dev %s\n", a, link)
	}
	err := r.Do(func() error {
		// Hosts on the bridge ask there for the address of any host.
		for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.eth0.proxy_arp"} {
			if err := writeSysctl(name, "1"); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = runIP(ctx, r.Path(), router.String())
	}
	if err == nil {
		err = runIP(ctx, h.Path(), host.String())
	}
	if err != nil {
		return fmt.Errorf("join host %s to its router: %w", h.name, err)
	}
	return nil
}

// linkTo is the router's end of its link to a host behind it. The name of an
// interface has at most 15 bytes (linux/if.h, IFNAMSIZ); a host's index needs
// no more than three.
func (h *Host) linkTo(behind *Host) string {
	for i, other := range h.world.hosts {
		if other == behind {
			return fmt.Sprintf("to%d", i)
		}
	}
	return ""
}

// behind says why a host is not one behind this router.
func (h *Host) behind(other *Host) error {
	if other.router != h {
		return fmt.Errorf("%s is not the router of %s", h.name, other.name)
	}
	return nil
}

// Treat makes a router treat what goes to and from a host behind it so from now
// on, in place of what it did before; the zero Treatment heals. It wants the
// program nft; where that is missing the error is a *ErrMissing.
func (h *Host) Treat(ctx context.Context, other *Host, t Treatment) error {
	err := errors.Join(h.behind(other), t.validate())
	if err == nil {
		var nft string
		if nft, err = program("nft", "nftables"); err == nil {
			err = feed(ctx, h.Path(), t.rules(h.linkTo(other)), nft, "-f", "-")
		}
	}
	if err != nil {
		return fmt.Errorf("treat packets of %s: %w", other.name, err)
	}
	return nil
}

func (t Treatment) validate() error {
	if !(t.Loss >= 0 && t.Loss <= 100) {
		return fmt.Errorf("a loss of %v percent is not within 0 to 100", t.Loss)
	}
	switch t.Reject {
	case RejectNothing, RejectUnreachable, RejectReset:
		return nil
	}
	return fmt.Errorf("unknown rejection %q", t.Reject)
}

// rules writes the treatment as one transaction that replaces the link's earlier
// one: a table of its own for each link.
func (t Treatment) rules(link string) string {
	var what []string
	if t.Loss == 100 {
		what = append(what, "drop")
	} else if t.Loss > 0 {
		what = append(what, fmt.Sprintf("numgen random mod 10000 < %d drop", int(t.Loss*100)))
	}
	switch t.Reject {
	case RejectUnreachable:
		what = append(what, "reject with icmpx host-unreachable")
	case RejectReset:
		what = append(what, "meta l4proto tcp reject with tcp reset")
	case RejectNothing:
	}
	table := "table inet foreshock_" + link
	var b strings.Builder
	// Naming the table first lets the delete succeed when there is none.
	fmt.Fprintf(&b, "%s\ndelete %s\n", table, table)
	if len(what) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "%s {\n chain forward {\n  type filter hook forward priority filter; policy accept;\n", table)
	for _, w := range what {
		fmt.Fprintf(&b, "  iifname %q %s\n  oifname %q %s\n", link, w, link, w)
	}
	b.WriteString(" }\n}\n")
	return b.String()
}

// Unplug takes down the router's end of its link to a host, which loses its
// carrier.
func (h *Host) Unplug(ctx context.Context, other *Host) error {
	err := h.behind(other)
	if err == nil {
		err = runIP(ctx, h.Path(), fmt.Sprintf("link set %s down\n", h.linkTo(other)))
	}
	if err != nil {
		return fmt.Errorf("unplug %s: %w", other.name, err)
	}
	return nil
}

// network is what Go calls TCP over the protocol of an address.
func network(addr netip.Addr) string {
	if addr.Is6() {
		return "tcp6"
	}
	return "tcp4"
}
