package ports

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab/labtest"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name, span, reserved string
		want                 Range
		available            int
		bad                  string // in the error
	}{
		{"the kernel's own, as captured on Linux 6.18", "32768\t60999\n", "\n", Range{Low: 32768, High: 60999}, 28232, ""},
		{"some reserved, some of them outside", "32768\t60999\n", "8080,32767-32769,40000,60999-65535\n", Range{Low: 32768, High: 60999, Reserved: 4}, 28228, ""},
		{"all reserved", "1024\t1025\n", "0-65535\n", Range{Low: 1024, High: 1025, Reserved: 2}, 0, ""},
		{"all there are", "1\t65535\n", "\n", Range{Low: 1, High: 65535}, 65535, ""},
		{"from nothing", "0\t65535\n", "\n", Range{}, 0, `"0\t65535\n"`},
		{"one", "5000\t5000\n", "", Range{Low: 5000, High: 5000}, 1, ""},
		{"the wrong way round", "60999\t32768\n", "\n", Range{}, 0, `"60999\t32768\n"`},
		{"cut short", "32768", "\n", Range{}, 0, `"32768"`},
		{"no port", "32768\t70000\n", "\n", Range{}, 0, `70000`},
		{"reserved is no list", "32768\t60999\n", "8080;9090\n", Range{}, 0, `"8080;9090"`},
		{"reserved backwards", "32768\t60999\n", "50000-40000\n", Range{}, 0, `"50000-40000"`},
		{"reserved twice", "32768\t60999\n", "40000-40010,40005\n", Range{}, 0, `"40005"`},
		{"reserved ends in nothing", "32768\t60999\n", "40000,\n", Range{}, 0, `""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"ip_local_port_range": tt.span, "ip_local_reserved_ports": tt.reserved} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := read(dir)
			if (err != nil) != (tt.bad != "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("error %v, want one with %s", err, tt.bad)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || got.Available() != tt.available {
				t.Errorf("%d available, want %d (-want +got)\n%s", got.Available(), tt.available, diff)
			}
		})
	}
	if _, err := read(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the settings: %v", err)
	}
}

func TestReuse(t *testing.T) {
	loopback, far := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	tests := []struct {
		name, reuse, timestamps string // "-": there is no such file
		want                    Reuse
		near, far               bool // taken again toward loopback, and elsewhere
		bad                     string
	}{
		{"the kernel's own, as captured on Linux 6.18", "2\n", "1\n", ReuseLoopback, true, false, ""},
		{"always", "1\n", "1\n", ReuseAlways, true, true, ""},
		{"timestamps without an offset", "1\n", "2\n", ReuseAlways, true, true, ""},
		{"never", "0\n", "1\n", ReuseNever, false, false, ""},
		{"no timestamps", "1\n", "0\n", ReuseNever, false, false, ""},
		{"not of the namespace, as before Linux 4.15", "-", "-", ReuseNever, false, false, ""},
		{"a value of the future", "3\n", "1\n", ReuseNever, false, false, `tcp_tw_reuse is "3\n"`},
		{"no number", "yes\n", "1\n", ReuseNever, false, false, `tcp_tw_reuse is "yes\n"`},
		{"nothing", "1\n", "", ReuseNever, false, false, `tcp_timestamps is ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"ip_local_port_range": "32768\t60999\n", "ip_local_reserved_ports": "\n", "tcp_tw_reuse": tt.reuse, "tcp_timestamps": tt.timestamps} {
				if text == "-" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := read(dir)
			if (err != nil) != (tt.bad != "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("error %v, want one with %s", err, tt.bad)
			}
			if got.Reuse != tt.want || got.Reuse.Toward(loopback) != tt.near || got.Reuse.Toward(far) != tt.far {
				t.Errorf("reuse %d: toward loopback %v, elsewhere %v; want %d, %v, %v", got.Reuse, got.Reuse.Toward(loopback), got.Reuse.Toward(far), tt.want, tt.near, tt.far)
			}
		})
	}
}

// FuzzCountReserved: no panic; never more than there are ports, or than are
// counted in a wider range; none beside an error.
func FuzzCountReserved(f *testing.F) {
	f.Add([]byte("8080,32767-32769,40000,60999-65535\n"), uint16(32768), uint16(60999))
	f.Add([]byte("\n"), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, text []byte, low, high uint16) {
		if low > high {
			return
		}
		n, err := countReserved(text, low, high)
		if err != nil {
			if n != 0 {
				t.Fatalf("%d beside %v", n, err)
			}
			return
		}
		all, err := countReserved(text, 0, 65535)
		if err != nil || n < 0 || n > int(high)-int(low)+1 || n > all {
			t.Fatalf("%d between %d and %d, %d in all, %v", n, low, high, all, err)
		}
	})
}

// TestReadIsOfTheThread: another network namespace has settings of its own.
func TestReadIsOfTheThread(t *testing.T) {
	home, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	var inside Range
	labtest.InNamespace(t, func() { inside, err = narrow() })
	if err != nil {
		t.Skip(err)
	}
	if want := (Range{Low: 20000, High: 20009, Reserved: 2, Reuse: ReuseAlways}); inside != want {
		t.Errorf("inside %+v, want %+v", inside, want)
	}
	if now, err := Read(); err != nil || now != home {
		t.Errorf("our own is %+v by now (%v), was %+v", now, err, home)
	}
}

// narrow sets a range in the thread's namespace and reads it.
func narrow() (Range, error) {
	for name, text := range map[string]string{"ip_local_port_range": "20000 20009", "ip_local_reserved_ports": "20003,20009-20100", "tcp_tw_reuse": "1"} {
		if err := os.WriteFile(filepath.Join(Directory, name), []byte(text), 0); err != nil {
			return Range{}, err
		}
	}
	return Read()
}
