package judge

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
)

// TestServiceAddressWords: of a service address nothing is claimed that holds
// for one of the servers behind it only.
func TestServiceAddressWords(t *testing.T) {
	servers := func(n int) (out []netip.AddrPort) {
		for i := range n {
			out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80))
		}
		return out
	}
	tests := []struct {
		name      string
		behind    []netip.AddrPort
		says      string // beside "It fails."
		certainty Certainty
		advice    int
	}{
		{"no service address", nil, "", Certain, 1},
		{"one server", servers(1), " It is a service address; 10.0.0.1:80 was seen behind it.", Certain, 1},
		{"three", servers(3), " It is a service address for 10.0.0.1:80, 10.0.0.2:80 and 10.0.0.3:80: one of them may be all that fails.", Likely, 2},
		{"many", servers(9), " It is a service address for 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80, 10.0.0.4:80, 10.0.0.5:80 and 4 more: one of them may be all that fails.", Likely, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Finding{Sentence: "It fails.", Certainty: Certain, Advice: []string{"Take it out of the pool."}}
			f.behindService(subject{scope: &measure.ScopeSignals{Scope: scope.ID{Kind: scope.KindBackend, Name: "shop/vip"}, Behind: tt.behind}})
			if f.Sentence != "It fails."+tt.says || f.Certainty != tt.certainty || len(f.Advice) != tt.advice {
				t.Errorf("says %q, %v, %d pieces of advice; want %q, %v, %d", strings.TrimPrefix(f.Sentence, "It fails."), f.Certainty, len(f.Advice), tt.says, tt.certainty, tt.advice)
			}
			if doubts := len(f.Considered); (doubts > 0) != (tt.advice > 1) {
				t.Errorf("considered %v", f.Considered)
			}
		})
	}
}
