package nameserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/reply"
)

// FuzzOpen reads raw messages as the answer to one question, and holds what is
// taken of them to its promises.
func FuzzOpen(f *testing.F) {
	question := query(reply.Configured, "shop.example", dns.TypeA)
	question.Id = 0x1234
	seed := func(change func(m *dns.Msg)) {
		m := new(dns.Msg).SetReply(question)
		m.RecursionAvailable = true
		m.Answer = []dns.RR{rr("shop.example. 300 IN CNAME eu.example."), rr("eu.example. 20 IN A 192.0.2.10"), rr("eu.example. 20 IN A 0.0.0.0")}
		change(m)
		raw := pack(m)
		f.Add(raw)
		f.Add(raw[:len(raw)-3])
	}
	seed(func(*dns.Msg) {})
	seed(func(m *dns.Msg) { m.Compress = true })
	seed(func(m *dns.Msg) { m.Truncated = true })
	seed(func(m *dns.Msg) { m.Rcode, m.Answer, m.Question = dns.RcodeRefused, nil, nil })
	seed(func(m *dns.Msg) { withExtended(m, 3, "stale \x00"+strings.Repeat("ü", 150)) })
	seed(func(m *dns.Msg) {
		m.Answer = []dns.RR{rr("shop.example. 4294967295 IN CNAME a."), rr("a. 1 IN CNAME shop.example.")}
	})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := open(raw, question)
		if (err == nil) != (m != nil) {
			t.Fatalf("%v and %v", m, err)
		}
		if err != nil {
			return
		}
		var w way
		w.follow(m.Answer, "shop.example", dns.TypeA)
		if w.least < 0 || w.least > w.longest || w.address > w.longest || w.longest.Seconds() > 1<<31 {
			t.Errorf("TTLs %v, %v, %v", w.least, w.address, w.longest)
		}
		if len(w.cnames) > maxChain || w.unrelated < 0 {
			t.Errorf("%d aliases, %d unrelated records", len(w.cnames), w.unrelated)
		}
		if slices.ContainsFunc(w.addresses, func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() || a.Is4In6() }) {
			t.Errorf("addresses %v", w.addresses)
		}
		for _, e := range extended(m) {
			if len(e.Text) > maxText || !utf8.ValidString(e.Text) || strings.ContainsFunc(e.Text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("text %q", e.Text)
			}
		}
		out := reply.Answer{}
		join(&out, []family{{way: w, failure: reply.Answered}})
		if !slices.IsSortedFunc(out.Addresses, netip.Addr.Compare) || len(out.Addresses) > maxAddresses {
			t.Errorf("joined %v", out.Addresses)
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"stale\x00":                    "stale",
		" a\n\x1b[2Jb\xff ":            "a[2Jb",
		strings.Repeat("ü", 150):       strings.Repeat("ü", 100),
		"x" + strings.Repeat("ü", 150): "x" + strings.Repeat("ü", 99),
		strings.Repeat("x", 200):       strings.Repeat("x", 200),
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
