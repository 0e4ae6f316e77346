package drain

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
	"github.com/foreshock/foreshock/internal/scope"
)

const (
	// grace is what is left out of account at the end of a TTL: answers on their
	// way, and the whole seconds of each cache behind another.
	grace = 2 * time.Second
	// guessGrace is the same where only what caches say is known of the TTL: the
	// first to be asked after the switch may have spent 5 s of it, and a little
	// more.
	guessGrace = 10 * time.Second
	// staleTTL is the TTL that answers get which have expired. RFC 8767, 5.
	staleTTL = 30 * time.Second
)

// sides are the sides of the switch that an answer has addresses on.
type sides struct {
	old, new, kept, other bool
	// half: it says nothing of a family that an old address is of, and so not that
	// it has none.
	half bool
}

func sidesOf(sw *scope.Switch, a *reply.Answer) (is sides) {
	for _, addr := range a.Addresses {
		switch {
		case slices.Contains(sw.Old, addr):
			is.old = true
		case slices.Contains(sw.New, addr):
			is.new = true
		case slices.Contains(sw.Kept, addr):
			is.kept = true
		default:
			is.other = true
		}
	}
	is.half = !is.old && slices.ContainsFunc(sw.Old, a.Lacks)
	return is
}

// onlyNew: as the name has to be answered after the switch. Where addresses
// were only taken away, those that stayed are the new ones.
func (is sides) onlyNew(sw *scope.Switch) bool {
	return !is.old && !is.half && !is.other && (is.new || is.kept && len(sw.New) == 0)
}

// classify says what a server's answer is, and why in a sentence.
func (z *Zoo) classify(h *heard, now time.Time) (Class, string) {
	if len(h.recent) == 0 {
		return ClassUnasked, "not asked yet"
	}
	a := z.answer(h, now)
	if a.Failure != reply.Answered {
		return ClassError, a.Words
	}
	is := sidesOf(&z.sw, a)
	if is.half {
		return ClassError, a.Words
	}
	if h.server.Role == reply.Authoritative {
		return z.classifyZone(h, a, is, now)
	}
	if class, why := z.byTurns(h, now); class != "" {
		return class, why
	}
	if is.old && z.begun() {
		if class, why := z.accuse(h, a, now); class != "" {
			return class, why
		}
	}
	switch {
	case is.onlyNew(&z.sw):
		return ClassNew, z.wordsNew(h)
	case is.old && !is.new && !is.other:
		return ClassOldInTTL, z.wordsOld(a, now)
	}
	return ClassMixed, z.wordsMixed(a, is)
}

// classifyZone is the same of a server of the zone: it has no TTL to keep to,
// and is behind rather than stale.
func (z *Zoo) classifyZone(h *heard, a *reply.Answer, is sides, now time.Time) (Class, string) {
	switch {
	case is.onlyNew(&z.sw):
		return ClassNew, z.wordsNew(h)
	case !is.old || is.new || is.other:
		return ClassMixed, z.wordsMixed(a, is)
	case !z.begun():
		return ClassOldInTTL, "old, before the switch"
	}
	newest, ahead := a.Serial, false
	for _, other := range z.servers {
		if other.server.Role != reply.Authoritative || len(other.recent) == 0 {
			continue
		}
		b := z.answer(other, now)
		if newer(b.Serial, newest) {
			newest = b.Serial
		}
		ahead = ahead || b.Failure == reply.Answered && sidesOf(&z.sw, b).onlyNew(&z.sw)
	}
	switch {
	case newest != a.Serial:
		return ClassOldInTTL, fmt.Sprintf("old: a secondary that is behind, serial %d of %d; caches that ask it get the old addresses again", a.Serial, newest)
	case ahead:
		return ClassOldInTTL, "old, while another server of the zone answers with the new addresses: they do not serve the same zone; caches that ask it get the old addresses again"
	}
	return ClassOldInTTL, "old: no server of the zone answers with the new addresses alone yet; has the zone been changed?"
}

// newer compares serials, which go round in a circle. RFC 1982, 3.2.
func newer(a, b uint32) bool { return a != b && a-b < 1<<31 }

// accuse says that an answer with an old address is one that nobody honest can
// give; an empty class: it may be.
func (z *Zoo) accuse(h *heard, a *reply.Answer, now time.Time) (Class, string) {
	if a.Stale {
		return ClassServStale, "old, and it says itself that this answer has expired; " + wayOutStale
	}
	until, ok := z.Until(now)
	margin := grace
	switch {
	case ok && !z.confirmed():
		return "", ""
	case !ok && (!z.turned || z.seenTTL == 0):
		return "", "" // nothing is known of the TTL, or nobody has the new addresses
	case !ok:
		until, margin = z.sw.Since.Add(z.seenTTL), guessGrace
	}
	limit := until.Add(margin)
	beyond := a.At.After(limit)
	if keeps := ok && a.At.Add(a.AddressTTL).After(limit); !beyond && !keeps {
		return "", ""
	}
	over := "the answers before the switch were good until " + z.after(until)
	if h.stuckTTL(a) {
		return ClassServStale, fmt.Sprintf("old, with a TTL of %s that does not run down, and %s: it gives out what has expired, or has the address in its own configuration; %s", seconds(a.AddressTTL), over, wayOutStale)
	}
	if beyond {
		return ClassOldBeyond, fmt.Sprintf("old beyond the TTL: %s, and this was answered %s; %s", over, z.after(a.At), wayOutExtend)
	}
	return ClassOldBeyond, fmt.Sprintf("old, and it will be beyond the TTL: it keeps it for %s more, and %s; %s", seconds(a.AddressTTL), over, wayOutExtend)
}

const (
	wayOutStale  = "flush the name there, and look why it cannot ask the zone's servers"
	wayOutExtend = "flush the name there, and lower its least cache time"
)

// confirmed reports whether the switch has come in DNS: some server of the zone
// has given up the old addresses, or somebody answers with the new ones alone.
func (z *Zoo) confirmed() bool {
	if z.turned {
		return true
	}
	for _, h := range z.servers {
		if h.zone.over {
			return true
		}
	}
	return false
}

// stuckTTL reports whether an answer's TTL is that of expired ones, or has not
// run down since the answer before, some seconds earlier.
func (h *heard) stuckTTL(a *reply.Answer) bool {
	if a.AddressTTL == staleTTL {
		return true
	}
	for i := 1; i < len(h.recent); i++ {
		if b := &h.recent[i-1]; h.recent[i].At.Equal(a.At) {
			apart := a.At.Sub(b.At)
			return b.AddressTTL == a.AddressTTL && slices.Equal(b.Addresses, a.Addresses) && apart >= 3*time.Second && (apart < a.AddressTTL || a.AddressTTL <= time.Second)
		}
	}
	return false
}

// byTurns finds that a server went from new addresses back to old ones within
// the last minute: several caches answer at one address. An empty class: it did
// not.
func (z *Zoo) byTurns(h *heard, now time.Time) (Class, string) {
	wasNew := false
	var back *reply.Answer
	for i := range h.recent {
		a := &h.recent[i]
		if !z.begun() || a.At.Before(z.sw.Since) || a.Failure != reply.Answered {
			continue
		}
		is := sidesOf(&z.sw, a)
		wasNew = wasNew || is.onlyNew(&z.sw)
		if is.old && wasNew && now.Sub(a.At) <= patience {
			back = a
		}
	}
	if back == nil {
		return "", ""
	}
	turns := "answers with old and new addresses by turns: several caches answer at this address"
	if z.behind() != "" {
		turns = "answers with old and new addresses by turns: " + z.behind() + ", a server of the zone, still gives the old ones out"
	}
	if class, why := z.accuse(h, back, now); class != "" {
		return class, turns + "; " + why
	}
	return ClassMixed, turns
}

func (z *Zoo) wordsNew(h *heard) string {
	if h.firstNew.IsZero() || !z.begun() {
		return "new addresses alone"
	}
	return "new addresses alone, seen first " + z.after(h.firstNew)
}

func (z *Zoo) wordsOld(a *reply.Answer, now time.Time) string {
	left := a.AddressTTL - now.Sub(a.At)
	until, ok := z.Until(now)
	switch {
	case !z.begun():
		return "old, before the switch"
	case ok && !z.confirmed():
		return "old: nobody answers with the new addresses alone yet; has the zone been changed?"
	case !ok:
		return fmt.Sprintf("old; the TTL before the switch is not known, of this answer %s are left", seconds(max(0, left)))
	case z.behind() != "":
		return fmt.Sprintf("old, as it may: %s, a server of the zone, still gives the old addresses out", z.behind())
	}
	return fmt.Sprintf("old, as it may until %s; %s of its TTL are left", z.after(until), seconds(max(0, left)))
}

// behind is a server of the zone that still gives the old addresses out.
func (z *Zoo) behind() string {
	var out string
	for _, h := range z.servers {
		if h.zone.still && (out == "" || h.server.Label < out) {
			out = h.server.Label
		}
	}
	return out
}

func (z *Zoo) wordsMixed(a *reply.Answer, is sides) string {
	switch {
	case is.other:
		var others []string
		for _, addr := range a.Addresses {
			if !slices.ContainsFunc([][]netip.Addr{z.sw.Old, z.sw.New, z.sw.Kept}, func(side []netip.Addr) bool { return slices.Contains(side, addr) }) {
				others = append(others, addr.String())
			}
		}
		if over := len(others) - 3; over > 0 {
			others = append(others[:3], fmt.Sprintf("%d more", over))
		}
		return fmt.Sprintf("%s on neither side of the switch: another answer is given to this network (split horizon, by place), or the name was changed again", strings.Join(others, ", "))
	case is.kept && !is.old && !is.new:
		return "only addresses that the name had before and after: it cannot be told which answer this is a part of"
	}
	return "old and new addresses in one answer"
}

// after is a time as a person counts it: "8 s after the switch".
func (z *Zoo) after(t time.Time) string {
	if d := t.Sub(z.sw.Since); d < 0 {
		return seconds(-d) + " before the switch"
	}
	return seconds(t.Sub(z.sw.Since)) + " after the switch"
}

// seconds is a duration for a person, in whole seconds.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.0f s", math.Round(d.Seconds()))
}

// extendedNames are the Extended DNS Errors of RFC 8914, 4, and of IANA's
// registry beyond it, by code.
var extendedNames = [...]string{
	"other", "unsupported DNSKEY algorithm", "unsupported DS digest type", "stale answer", "forged answer", "DNSSEC indeterminate", "DNSSEC bogus",
	"signature expired", "signature not yet valid", "DNSKEY missing", "RRSIGs missing", "no zone key bit set", "NSEC missing", "cached error", "not ready",
	"blocked", "censored", "filtered", "prohibited", "stale NXDOMAIN answer", "not authoritative", "not supported", "no reachable authority", "network error", "invalid data",
}

// extendedText is "3 stale answer (text of the server)".
func extendedText(e reply.Extended) string {
	out := fmt.Sprint(e.Code)
	if int(e.Code) < len(extendedNames) {
		out += " " + extendedNames[e.Code]
	}
	if e.Text != "" {
		out += " (" + e.Text + ")"
	}
	return out
}
