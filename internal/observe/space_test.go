package observe

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/tcp"
)

func TestMain(m *testing.M) {
	lab.Child()
	os.Exit(m.Run())
}

// TestOpenIn: whichever reader it is, it goes on reading the namespace that it
// was opened in.
func TestOpenIn(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "shop"}}})
	want := netip.MustParseAddrPort("127.0.0.1:5432")
	err := w.Host("shop").Do(func() error {
		ln, err := net.Listen("tcp", want.String())
		if err == nil {
			t.Cleanup(func() { _ = ln.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := netns.List("/proc")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(n netns.Found) bool { return n.Path == w.Host("shop").Path() })
	if at < 0 {
		t.Fatalf("namespace %s is not found", w.Host("shop").Path())
	}
	for _, source := range []Source{Auto, SockDiag, Procfs} {
		t.Run(string(source), func(t *testing.T) {
			s, err := OpenIn("/proc", all[at], source, tcp.NewScratch())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var got []netip.AddrPort
			if _, err := s.Reader.Read(tcp.Request{States: tcp.ListenOnly}, func(batch []tcp.Socket) {
				for i := range batch {
					got = append(got, batch[i].Local)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, []netip.AddrPort{want}) {
				t.Errorf("listeners %v, want %v", got, want)
			}
		})
	}
}
