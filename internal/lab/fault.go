package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// fault is a broken direction: what from sends, to loses; only its FINs where
// closing.
type fault struct {
	from, to *Host
	closing  bool
}

// Blackhole loses everything between h and other, both ways, without a word.
// It wants the program nft; where that is missing the error is a
// *ErrMissing.
func (h *Host) Blackhole(ctx context.Context, other *Host) error { return h.Loss(ctx, other, 100) }

// Loss loses that share of the packets between h and other, in percent, each
// way by itself. It replaces an earlier fault between the two; zero removes
// it. Packets are lost on arrival, so that senders see no error of their own.
func (h *Host) Loss(ctx context.Context, other *Host, percent float64) error {
	if !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("lose packets between %s and %s: %v percent is not within 0 to 100", h.name, other.name, percent)
	}
	return h.world.setFaults(ctx, map[fault]float64{{from: h, to: other}: percent, {from: other, to: h}: percent})
}

// LoseFIN loses every FIN that h sends to other: closings are never
// acknowledged and all else goes on.
func (h *Host) LoseFIN(ctx context.Context, other *Host) error {
	return h.world.setFaults(ctx, map[fault]float64{{from: h, to: other, closing: true}: 100})
}

// Heal removes every fault that h is a part of.
func (h *Host) Heal(ctx context.Context) error {
	h.world.mu.Lock()
	healed := map[fault]float64{}
	for f := range h.world.faults {
		if f.from == h || f.to == h {
			healed[f] = 0
		}
	}
	h.world.mu.Unlock()
	return h.world.setFaults(ctx, healed)
}

// setFaults changes the faults and makes the kernel follow.
func (w *World) setFaults(ctx context.Context, change map[fault]float64) error {
	for f := range change {
		if f.from == f.to || f.from.world != f.to.world {
			return fmt.Errorf("lose packets from %s to %s: they must be two hosts of one world", f.from.name, f.to.name)
		}
	}
	nft, err := program("nft", "nftables")
	if err != nil {
		return fmt.Errorf("change faults: %w", err)
	}
	w.mu.Lock()
	touched := map[*Host]string{}
	for f, percent := range change {
		w.faults[f] = percent
		if percent == 0 {
			delete(w.faults, f)
		}
	}
	for f := range change {
		touched[f.to] = faultRules(f.to, w.faults)
	}
	w.mu.Unlock()

	var errs []error
	for host, rules := range touched {
		if err := feed(ctx, host.Path(), rules, nft, "-f", "-"); err != nil {
			errs = append(errs, fmt.Errorf("change faults of host %s: %w", host.name, err))
		}
	}
	return errors.Join(errs...)
}

// faultRules writes the rules by which host loses packets, as one transaction
// that replaces all earlier ones.
func faultRules(host *Host, faults map[fault]float64) string {
	var rules []string
	for f, percent := range faults {
		what := "drop"
		switch {
		case f.to != host:
			continue
		case f.closing:
			what = "tcp flags & fin == fin drop"
		case percent < 100:
			what = fmt.Sprintf("numgen random mod 10000 < %d drop", int(percent*100))
		}
		for _, addr := range f.from.addrs {
			rules = append(rules, fmt.Sprintf("  %s saddr %v %s\n", family(addr), addr, what))
		}
	}
	// Naming the table first lets the delete succeed when there is none.
	const none = "table inet foreshock_lab\ndelete table inet foreshock_lab\n"
	if len(rules) == 0 {
		return none
	}
	slices.Sort(rules)
	return none + "table inet foreshock_lab {\n chain arrive {\n  type filter hook prerouting priority raw; policy accept;\n" +
		strings.Join(rules, "") + " }\n}\n"
}

// family is what nft calls the protocol of an address.
func family(addr netip.Addr) string {
	if addr.Is6() {
		return "ip6"
	}
	return "ip"
}
