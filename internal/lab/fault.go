package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
	if h == other || h.world != other.world {
		return fmt.Errorf("lose packets between %s and %s: they must be two hosts of one world", h.name, other.name)
	}
	return h.world.setFaults(ctx, map[fault]float64{{from: h, to: other}: percent, {from: other, to: h}: percent})
}

// LoseFIN loses every FIN that h sends to other: closings are never
// acknowledged and all else goes on.
func (h *Host) LoseFIN(ctx context.Context, other *Host) error {
	if h == other || h.world != other.world {
		return fmt.Errorf("lose FINs from %s to %s: they must be two hosts of one world", h.name, other.name)
	}
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
	var b strings.Builder
	// Naming the table first lets the delete succeed when there is none.
	b.WriteString("table ip foreshock_lab\ndelete table ip foreshock_lab\n")
	incoming := slices.SortedFunc(maps.Keys(faults), func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.from.name, b.from.name), compareBool(a.closing, b.closing))
	})
	incoming = slices.DeleteFunc(incoming, func(f fault) bool { return f.to != host })
	if len(incoming) == 0 {
		return b.String()
	}
	b.WriteString("table ip foreshock_lab {\n chain arrive {\n  type filter hook prerouting priority raw; policy accept;\n")
	for _, f := range incoming {
		for _, addr := range f.from.addrs {
			if percent := faults[f]; f.closing {
				fmt.Fprintf(&b, "  ip saddr %v tcp flags & fin == fin drop\n", addr)
			} else if percent == 100 {
				fmt.Fprintf(&b, "  ip saddr %v drop\n", addr)
			} else {
				fmt.Fprintf(&b, "  ip saddr %v numgen random mod 10000 < %d drop\n", addr, int(percent*100))
			}
		}
	}
	b.WriteString(" }\n}\n")
	return b.String()
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
