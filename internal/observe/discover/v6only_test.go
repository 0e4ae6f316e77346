package discover

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestIPv6Only: a listener for IPv6 alone serves no service of IPv4.
func TestIPv6Only(t *testing.T) {
	at := netip.MustParseAddrPort
	web := []Configured{{Name: "web", Listen: []netip.AddrPort{at("0.0.0.0:80")}}}
	for _, tt := range []struct {
		name   string
		v6only bool
		want   []Problem
	}{
		{"both families", false, []Problem{{Kind: Shared, Service: "web", Listen: at("0.0.0.0:80"), Via: at("[::]:80"), Other: "port:80"}}},
		{"IPv6 alone", true, []Problem{{Kind: NothingListens, Service: "web", Listen: at("0.0.0.0:80")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listener := tcp.Socket{State: tcp.Listen, Inode: 5, Local: at("[::]:80"), V6Only: tt.v6only}
			_, problems := Services([]tcp.Socket{listener}, nil, web)
			if diff := cmp.Diff(tt.want, problems, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			alone, _ := Services([]tcp.Socket{listener}, nil, nil)
			index := scope.NewIndex(alone)
			four, six := tcp.Socket{Local: at("192.0.2.1:80")}, tcp.Socket{Local: at("[2001:db8::1]:80")}
			if got, want := index.Service(&four) == scope.None, tt.v6only; got != want {
				t.Errorf("a connection by IPv4 is nobody's: %v, want %v", got, want)
			}
			if index.Service(&six) != 0 || index.Service(&listener) != 0 {
				t.Error("a connection by IPv6, or the listener, is nobody's")
			}
		})
	}
}
