package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseName(t *testing.T) {
	type answer struct {
		Owner owner
		OK    bool
	}
	got, want := map[string]answer{}, map[string]answer{
		"fs-12-3456-ab01":                      {owner{12, 3456}, true},
		"fs-12-3456-ab01-server":               {owner{12, 3456}, true},
		"fs-0-3456-ab01":                       {},
		"fs-12-3456-AB01":                      {},
		"fs-12-3456":                           {},
		"fs-12-3456-ab01-":                     {},
		"fs-12-3456-ab01-../x":                 {},
		"fs-12-3456-ab01-server-x":             {},
		"xfs-12-3456-ab01":                     {},
		"fs-12-99999999999999999999-ab01":      {},
		"fs-999999999999999999999-3456-ab01":   {},
		"fs-12-3456-ab01-server\nfs-1-1-aaaaa": {},
	}
	for name := range want {
		o, ok := parseName(name)
		got[name] = answer{o, ok}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(owner{})); diff != "" {
		t.Errorf("parseName (-want +got):\n%s", diff)
	}
}

// FuzzParseName: a name that is taken for ours names a file beside the others,
// and an owner's own names come back as it.
func FuzzParseName(f *testing.F) {
	f.Add("fs-12-3456-ab01-server", 7, uint64(9), uint16(3))
	f.Add("fs-1-0-0000", 1, uint64(0), uint16(0))
	f.Fuzz(func(t *testing.T, name string, pid int, start uint64, salt uint16) {
		if o, ok := parseName(name); ok && (strings.ContainsAny(name, "/.\x00\n") || o.pid <= 0) {
			t.Errorf("parseName(%q) = %+v", name, o)
		}
		o := owner{pid: pid, start: start}
		if pid <= 0 || pid >= 1<<30 || start >= 1<<63 {
			return
		}
		if got, ok := parseName(o.name(salt)); !ok || got != o {
			t.Errorf("parseName(%q) = %+v, %v; want %+v", o.name(salt), got, ok, o)
		}
	})
}

// The text of a real process, Linux 6.18, `cat /proc/PID/stat`, with a name
// made to mislead.
const statText = "4242 (a) Z 1 (b) S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 407289 2703360 250 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	state, start, err := parseStat([]byte(statText))
	if state != 'S' || start != 407289 || err != nil {
		t.Errorf("parseStat = %c, %d, %v; want S, 407289", state, start, err)
	}
	for _, text := range []string{"", "1 (x)", "1 (x) S 1 2 3", "1 x S" + strings.Repeat(" 1", 40), "1 (x) S" + strings.Repeat(" -1", 40)} {
		if _, _, err := parseStat([]byte(text)); err == nil {
			t.Errorf("parseStat(%q) gives no error", text)
		}
	}
}

// FuzzParseStat: no panic, zero values with an error, and more fields at the
// end change nothing.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statText))
	f.Add([]byte("1 (x) S 1 2 3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		state, start, err := parseStat(text)
		if err != nil {
			if state != 0 || start != 0 {
				t.Errorf("parseStat(%q) = %c, %d with error %v", text, state, start, err)
			}
			return
		}
		longer := append(append([]byte{}, text...), " 1 2 3"...)
		if s, n, err := parseStat(longer); s != state || n != start || err != nil {
			t.Errorf("parseStat(%q) = %c, %d, %v; without the last fields %c, %d", longer, s, n, err, state, start)
		}
	})
}

func TestDead(t *testing.T) {
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	got := []bool{me.dead(), owner{me.pid, me.start + 1}.dead(), owner{1 << 29, 1}.dead()}
	if diff := cmp.Diff([]bool{false, true, true}, got); diff != "" {
		t.Errorf("self, a later process with this pid, no process (-want +got):\n%s", diff)
	}
}

// TestVisitorIsNotInside holds that a process with one thread in a namespace
// is not taken for one that belongs there.
func TestVisitorIsNotInside(t *testing.T) {
	if err := available(); err != nil {
		t.Skip(err)
	}
	w, err := New(t.Context(), Config{Hosts: []HostConfig{{Name: "only"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	id, err := namespaceID(w.Host("only").Path())
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.Host("only").Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = w.Host("only").Do(func() error {
		ids := map[[2]uint64]bool{id: true}
		if now, err := namespaceID(threadNetns); err != nil || now != id {
			return fmt.Errorf("this thread is in %v (%w), want %v", now, err, id)
		}
		if inside(os.Getpid(), ids) {
			t.Error("a process with one visiting thread counts as inside")
		}
		if !inside(cmd.Process.Pid, ids) {
			t.Error("a process that lives there does not count as inside")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

func TestProgramMissing(t *testing.T) {
	_, err := program("no-such-program", "no-such-package")
	var missing *ErrMissing
	if !errors.As(err, &missing) || *missing != (ErrMissing{Program: "no-such-program", Package: "no-such-package"}) {
		t.Errorf("program = %v, want an ErrMissing", err)
	}
}

// TestNewInChild holds that a program that forgot to call Child is told so.
func TestNewInChild(t *testing.T) {
	t.Setenv(roleVariable, "app")
	if _, err := New(t.Context(), Config{Hosts: []HostConfig{{Name: "a"}}}); err == nil || !strings.Contains(err.Error(), "lab.Child") {
		t.Errorf("New in a lab child = %v, want a word about lab.Child", err)
	}
}

func TestParseSockStat(t *testing.T) {
	// Linux 6.18, cat /proc/net/sockstat.
	const text = "sockets: used 979006\nTCP: inuse 979006 orphan 0 tw 18000 alloc 979007 mem 8635\nUDP: inuse 0 mem 0\n"
	got, err := parseSockStat([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(SockStat{InUse: 979006, TimeWait: 18000}, got); diff != "" {
		t.Errorf("parseSockStat (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "UDP: inuse 1 tw 2\n", "TCP: inuse x tw 1\n", "TCP: inuse 1\n", "TCP: inuse -1 orphan 0 tw 0\n", "TCP: inuse 1 orphan 0 tw -1\n", "TCP: tw 1 inuse"} {
		if got, err := parseSockStat([]byte(bad)); err == nil || got != (SockStat{}) {
			t.Errorf("parseSockStat(%q) = %+v, %v; want an error", bad, got, err)
		}
	}
}

// FuzzParseSockStat: no panic, nothing with an error, no negative count.
func FuzzParseSockStat(f *testing.F) {
	f.Add([]byte("TCP: inuse 5 orphan 0 tw 2 alloc 9 mem 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseSockStat(text)
		if got.InUse < 0 || got.TimeWait < 0 || err != nil && got != (SockStat{}) {
			t.Errorf("parseSockStat(%q) = %+v, %v", text, got, err)
		}
	})
}

func TestFaultRules(t *testing.T) {
	w := &World{}
	a := &Host{world: w, name: "a", addrs: addrs("192.0.2.1", "192.0.2.2")}
	b := &Host{world: w, name: "b", addrs: addrs("192.0.2.3")}
	c := &Host{world: w, name: "c", addrs: addrs("192.0.2.4")}
	got := faultRules(b, map[fault]float64{
		{from: a, to: b}: 100, {from: b, to: a}: 50, {from: c, to: b}: 0.5, {from: c, to: b, closing: true}: 100,
	})
	want := `table inet foreshock_lab
delete table inet foreshock_lab
table inet foreshock_lab {
 chain arrive {
  type filter hook prerouting priority raw; policy accept;
  ip saddr 192.0.2.1 drop
  ip saddr 192.0.2.2 drop
  ip saddr 192.0.2.4 numgen random mod 10000 < 50 drop
  ip saddr 192.0.2.4 tcp flags & fin == fin drop
 }
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faultRules (-want +got):\n%s", diff)
	}
}
