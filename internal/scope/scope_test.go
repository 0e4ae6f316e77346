package scope

import (
	"net/netip"
	"testing"

	"github.com/foreshock/foreshock/internal/tcp"
)

func addrPorts(ss ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range ss {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestIndexService(t *testing.T) {
	services := []Service{
		{Name: "web", Listen: addrPorts("[::]:80", "[::]:443")},
		{Name: "admin", Listen: addrPorts("192.0.2.1:80")},
		{Name: "v4only", Listen: addrPorts("0.0.0.0:9000")},
		{Name: "twin", Listen: addrPorts("0.0.0.0:9000")},
		{Name: "everything", Listen: addrPorts("[::]:9000")},
		{Name: "local", Listen: addrPorts("127.0.0.1:5432", "[::1]:5432")},
	}
	ix := NewIndex(services)
	tests := []struct {
		name, local, want string
	}{
		{"dual-stack wildcard takes IPv4", "198.51.100.7:80", "web"},
		{"dual-stack wildcard takes IPv6", "[2001:db8::1]:443", "web"},
		{"a specific address goes before the wildcard", "192.0.2.1:80", "admin"},
		{"the specific address claims its own port only", "192.0.2.1:443", "web"},
		{"0.0.0.0 takes IPv4", "192.0.2.1:9000", "v4only"},
		{"0.0.0.0 leaves IPv6 to ::", "[2001:db8::1]:9000", "everything"},
		{"loopback listener", "127.0.0.1:5432", "local"},
		{"loopback listener does not claim other addresses", "192.0.2.1:5432", ""},
		{"nobody's port", "192.0.2.1:51515", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tcp.Socket{Local: netip.MustParseAddrPort(tt.local)}
			got := ""
			if i := ix.Service(&s); i != None {
				got = services[i].Name
			}
			if got != tt.want {
				t.Errorf("Service(%s) = %q, want %q", tt.local, got, tt.want)
			}
		})
	}
}

func TestServiceWords(t *testing.T) {
	s := Service{Name: "web", Process: "apache2", Listen: addrPorts("[::]:80", "192.0.2.1:80", "[::]:443")}
	if got, want := s.Describe(), "apache2 :80 192.0.2.1:80 :443"; got != want {
		t.Errorf("Describe() = %q, want %q", got, want)
	}
	if got := s.Ports(); len(got) != 2 || got[0] != 80 || got[1] != 443 {
		t.Errorf("Ports() = %v, want [80 443]", got)
	}
	if got, want := s.ID().String(), "service/web"; got != want {
		t.Errorf("ID() = %q, want %q", got, want)
	}
	if got, want := Rest.String(), "rest"; got != want {
		t.Errorf("Rest = %q, want %q", got, want)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]ID{
		"service/web":        {Kind: KindService, Name: "web"},
		"backend/shop/s1@p1": {Kind: KindBackend, Name: "shop/s1", Namespace: "p1"},
		"region/eu":          {Kind: KindRegion, Name: "eu"},
		"host":               Host,
		"host@p1":            Host.In("p1"),
		"rest":               Rest,
	} {
		if got, ok := Parse(text); got != want || !ok {
			t.Errorf("%q is %+v %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "web", "service/", "none/web", "host/host", "@", "host@", "service/web@"} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
