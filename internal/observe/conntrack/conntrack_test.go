package conntrack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/netlink"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// entries of a table, each as the kernel prints it, and the same as a message.
var (
	translated = connection{
		original: tuple{at("10.0.0.2:51000"), at("10.96.0.1:443")},
		reply:    tuple{at("192.0.2.5:6443"), at("10.0.0.2:51000")},
	}
	plain = connection{
		original: tuple{at("10.0.0.2:51001"), at("192.0.2.7:80")},
		reply:    tuple{at("192.0.2.7:80"), at("10.0.0.2:51001")},
	}
	translated6 = connection{
		original: tuple{at("[2001:db8::2]:51000"), at("[2001:db8:96::1]:443")},
		reply:    tuple{at("[2001:db8::5]:6443"), at("[2001:db8::2]:51000")},
	}
	// portOnly goes to another port of the same address.
	portOnly = connection{
		original: tuple{at("10.0.0.2:51002"), at("192.0.2.7:80")},
		reply:    tuple{at("192.0.2.7:8080"), at("10.0.0.2:51002")},
	}
	// masqueraded: its source was translated too; who opened it knows its own.
	masqueraded = connection{
		original: tuple{at("10.0.0.3:51003"), at("10.96.0.1:443")},
		reply:    tuple{at("192.0.2.6:6443"), at("198.51.100.1:1024")},
	}
)

type connection struct{ original, reply tuple }

// Len returns the number of translated connections.
func (t Table) Len() (n int) {
	for _, to := range t.flows {
		if to.IsValid() {
			n++
		}
	}
	return n
}

// undone is what Undo says of these connections.
func undone(t Table, connections ...connection) map[string]string {
	out := map[string]string{}
	for _, c := range connections {
		if to, ok := t.Undo(c.original.source, c.original.destination); ok {
			out[c.original.source.String()] = to.String()
		}
	}
	return out
}

const (
	lineTranslated  = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.96.0.1 sport=51000 dport=443 src=192.0.2.5 dst=10.0.0.2 sport=6443 dport=51000 [ASSURED] mark=0 zone=0 use=2\n"
	linePlain       = "ipv4     2 tcp      6 119 TIME_WAIT src=10.0.0.2 dst=192.0.2.7 sport=51001 dport=80 src=192.0.2.7 dst=10.0.0.2 sport=80 dport=51001 [ASSURED] mark=0 zone=0 use=2\n"
	lineTranslated6 = "ipv6     10 tcp      6 110 SYN_SENT src=2001:0db8:0000:0000:0000:0000:0000:0002 dst=2001:0db8:0096:0000:0000:0000:0000:0001 sport=51000 dport=443 [UNREPLIED] src=2001:0db8:0000:0000:0000:0000:0000:0005 dst=2001:0db8:0000:0000:0000:0000:0000:0002 sport=6443 dport=51000 mark=0 zone=0 use=2\n"
	linePortOnly    = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=192.0.2.7 sport=51002 dport=80 packets=7 bytes=900 src=192.0.2.7 dst=10.0.0.2 sport=8080 dport=51002 packets=5 bytes=700 [ASSURED] mark=0 secctx=a zone=0 use=2\n"
	lineMasqueraded = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.3 dst=10.96.0.1 sport=51003 dport=443 src=192.0.2.6 dst=198.51.100.1 sport=6443 dport=1024 [ASSURED] mark=0 zone=0 use=2\n"
	lineUDP         = "ipv4     2 udp      17 29 src=10.0.0.2 dst=10.96.0.10 sport=5353 dport=53 src=192.0.2.9 dst=10.0.0.2 sport=53 dport=5353 mark=0 zone=0 use=2\n"
	lineICMP        = "ipv4     2 icmp     1 29 src=10.0.0.2 dst=10.96.0.10 type=8 code=0 id=7 src=192.0.2.9 dst=10.0.0.2 type=0 code=0 id=7 mark=0 zone=0 use=2\n"
	lineOtherZone   = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.96.0.1 sport=51000 dport=443 src=192.0.2.66 dst=10.0.0.2 sport=6443 dport=51000 [ASSURED] mark=0 zone=7 use=2\n"
)

func TestReadText(t *testing.T) {
	all := []connection{translated, plain, translated6, portOnly, masqueraded}
	tests := []struct {
		name, text string
		limit      int
		undone     map[string]string
		want       Table
	}{
		{
			"one of each", lineTranslated + linePlain + lineTranslated6 + linePortOnly + lineMasqueraded + lineUDP + lineICMP, 100,
			map[string]string{"10.0.0.2:51000": "192.0.2.5:6443", "[2001:db8::2]:51000": "[2001:db8::5]:6443", "10.0.0.2:51002": "192.0.2.7:8080", "10.0.0.3:51003": "192.0.2.6:6443"},
			Table{Read: 7},
		},
		{"the same twice, as under way", lineTranslated + lineTranslated, 100, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 2}},
		{"two destinations in two zones: nobody knows which", lineTranslated + lineOtherZone + lineTranslated, 100, map[string]string{}, Table{Read: 3, Ambiguous: 1}},
		{"no more than the limit", linePlain + lineTranslated + lineTranslated6, 2, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 2, Cut: true}},
		{"exactly the limit", linePlain + lineTranslated, 2, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 2}},
		{"nothing may be read", linePlain, 0, map[string]string{}, Table{Cut: true}},
		{"empty", "", 100, map[string]string{}, Table{}},
		{"cut within the reply", lineTranslated[:120], 100, map[string]string{}, Table{Read: 1, Malformed: 1}},
		{"a port that is none", strings.Replace(lineTranslated, "443", "65536", 1) + linePlain, 100, map[string]string{}, Table{Read: 2, Malformed: 1}},
		{"an address that is none", strings.Replace(lineTranslated, "10.0.0.2", "10.0.0.256", 1), 100, map[string]string{}, Table{Read: 1, Malformed: 1}},
		{"two families in one tuple", strings.Replace(lineTranslated, "10.0.0.2", "2001:db8::1", 1), 100, map[string]string{}, Table{Read: 1, Malformed: 1}},
		{"empty lines", "\n \n" + lineTranslated, 100, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 3, Malformed: 2}},
		{"a line without an end", lineTranslated + strings.Repeat("x", maxLine+1), 100, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 1, Malformed: 1, Cut: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readText(strings.NewReader(tt.text), tt.limit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.undone, undone(got, all...)); diff != "" {
				t.Errorf("undone (-want +got)\n%s", diff)
			}
			if got.Len() != len(tt.undone) {
				t.Errorf("%d flows, want %d", got.Len(), len(tt.undone))
			}
			got.flows = nil
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Table{})); diff != "" {
				t.Errorf("counts (-want +got)\n%s", diff)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, unix.EIO }

func TestReadTextThatFails(t *testing.T) {
	if got, err := readText(failing{}, 10); !errors.Is(err, unix.EIO) || got.Len() != 0 || got.Read != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestBehind: what is behind an address is every destination that its
// connections have, whoever opened them.
func TestBehind(t *testing.T) {
	table, err := readText(strings.NewReader(lineTranslated+linePlain+lineTranslated6+linePortOnly+lineMasqueraded+lineUDP), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		service string
		want    []netip.AddrPort
	}{
		{"10.96.0.1:443", []netip.AddrPort{at("192.0.2.5:6443"), at("192.0.2.6:6443")}},
		{"[::ffff:10.96.0.1]:443", []netip.AddrPort{at("192.0.2.5:6443"), at("192.0.2.6:6443")}},
		{"[2001:db8:96::1]:443", []netip.AddrPort{at("[2001:db8::5]:6443")}},
		{"192.0.2.7:80", []netip.AddrPort{at("192.0.2.7:8080")}},
		{"10.96.0.1:80", nil},
		{"192.0.2.5:6443", nil},
	} {
		if diff := cmp.Diff(tt.want, table.Behind()[unmap(at(tt.service))], cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("behind %s (-want +got)\n%s", tt.service, diff)
		}
	}
}

func TestUndoMapped(t *testing.T) {
	var table Table
	if _, ok := table.Undo(translated.original.source, translated.original.destination); ok {
		t.Error("an empty table undoes something")
	}
	table.add(translated.original, translated.reply)
	got, ok := table.Undo(at("[::ffff:10.0.0.2]:51000"), at("[::ffff:10.96.0.1]:443"))
	if want := at("192.0.2.5:6443"); got != want || !ok {
		t.Errorf("%s, %t; want %s", got, ok, want)
	}
	if _, ok := table.Undo(translated.original.destination, translated.original.source); ok {
		t.Error("the other direction is undone too")
	}
}

func attr(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

const nested = unix.NLA_F_NESTED

func encodeTuple(kind uint16, t tuple, protocol byte) []byte {
	source, destination := uint16(ctaIPv4Source), uint16(ctaIPv4Destination)
	if t.source.Addr().Is6() {
		source, destination = ctaIPv6Source, ctaIPv6Destination
	}
	ip := append(attr(source, t.source.Addr().AsSlice()...), attr(destination, t.destination.Addr().AsSlice()...)...)
	proto := attr(ctaProtoNumber, protocol)
	proto = append(proto, attr(ctaProtoSource, big.AppendUint16(nil, t.source.Port())...)...)
	proto = append(proto, attr(ctaProtoDestination, big.AppendUint16(nil, t.destination.Port())...)...)
	return attr(kind|nested, append(attr(ctaTupleIP|nested, ip...), attr(ctaTupleProto|nested, proto...)...)...)
}

// encode makes the kernel's message of an entry, with attributes that nobody
// reads between and behind the tuples, as newer kernels send more and more.
func encode(c connection, protocol byte) []byte {
	family := byte(unix.AF_INET)
	if c.original.source.Addr().Is6() {
		family = unix.AF_INET6
	}
	b := []byte{family, 0, 0, 0}
	b = append(b, encodeTuple(ctaTupleOrig, c.original, protocol)...)
	b = append(b, attr(3, 0, 0, 1, 0xae)...) // CTA_STATUS
	b = append(b, encodeTuple(ctaTupleReply, c.reply, protocol)...)
	b = append(b, attr(12, 0, 0, 0, 7)...) // CTA_ID
	return append(b, attr(200, 1, 2, 3)...)
}

func TestCollect(t *testing.T) {
	all := []connection{translated, plain, translated6, portOnly, masqueraded}
	var rows [][]byte
	for _, c := range all[:4] {
		rows = append(rows, encode(c, unix.IPPROTO_TCP))
	}
	own := rows[0]
	refused := func(errno unix.Errno) error { return netlink.Refusal{Errno: errno} }
	tests := []struct {
		name   string
		rows   [][]byte
		ends   error
		limit  int
		undone map[string]string
		want   Table
		err    error
	}{
		{
			"all", append(rows, encode(masqueraded, unix.IPPROTO_UDP)), nil, 100,
			map[string]string{"10.0.0.2:51000": "192.0.2.5:6443", "[2001:db8::2]:51000": "[2001:db8::5]:6443", "10.0.0.2:51002": "192.0.2.7:8080"}, Table{Read: 5}, nil,
		},
		{"the limit", rows, nil, 2, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 2, Cut: true}, nil},
		{"breaks off without an end", rows[:2], fmt.Errorf("datagram: %w", netlink.ErrTruncated), 100, map[string]string{"10.0.0.2:51000": "192.0.2.5:6443"}, Table{Read: 2, Cut: true}, nil},
		{"nothing there", nil, nil, 100, map[string]string{}, Table{}, nil},
		{"an entry cut short", [][]byte{own[:40]}, nil, 100, map[string]string{}, Table{Read: 1, Malformed: 1}, nil},
		{"an entry without a reply", [][]byte{append([]byte{2, 0, 0, 0}, encodeTuple(ctaTupleOrig, translated.original, 6)...)}, nil, 100, map[string]string{}, Table{Read: 1, Malformed: 1}, nil},
		{"no privilege", nil, refused(unix.EPERM), 100, map[string]string{}, Table{}, ErrRefused},
		{"nobody answers for it", nil, refused(unix.EINVAL), 100, map[string]string{}, Table{}, ErrNotThere},
		{"it fails in the middle", rows, refused(unix.ENOMEM), 100, map[string]string{}, Table{}, unix.ENOMEM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := collect(tt.limit, func(row func([]byte) bool) error {
				for _, payload := range tt.rows {
					if !row(payload) {
						return nil
					}
				}
				return tt.ends
			})
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.undone, undone(got, all...)); diff != "" {
				t.Errorf("undone (-want +got)\n%s", diff)
			}
			got.flows = nil
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Table{})); diff != "" {
				t.Errorf("counts (-want +got)\n%s", diff)
			}
		})
	}
}

// line prints a connection as the kernel does.
func line(c connection) string {
	half := func(t tuple) string {
		return fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", t.source.Addr().StringExpanded(), t.destination.Addr().StringExpanded(), t.source.Port(), t.destination.Port())
	}
	return fmt.Sprintf("ipv4     2 tcp      6 9 CLOSE %s [UNREPLIED] %s mark=0 use=1", half(c.original), half(c.reply))
}

// FuzzDecode: no panic; an entry that is understood has two whole tuples and
// survives encode and decode.
func FuzzDecode(f *testing.F) {
	for _, c := range []connection{translated, plain, translated6} {
		b := encode(c, unix.IPPROTO_TCP)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add(encode(plain, unix.IPPROTO_UDP))
	f.Fuzz(func(t *testing.T, b []byte) {
		original, reply, kind := decode(b)
		if kind != tracked {
			if (original != tuple{} || reply != tuple{}) {
				t.Fatalf("not understood, and yet %v %v", original, reply)
			}
			return
		}
		if !original.whole() || !reply.whole() {
			t.Fatalf("%v %v", original, reply)
		}
		againOriginal, againReply, kind := decode(encode(connection{original, reply}, unix.IPPROTO_TCP))
		if kind != tracked || againOriginal != original || againReply != reply {
			t.Fatalf("changed by encode and decode: %v %v, then %v %v", original, reply, againOriginal, againReply)
		}
	})
}

// FuzzText: no panic; no more is read than the limit; what is not translated
// is not in the table; a line that is understood survives printing.
func FuzzText(f *testing.F) {
	f.Add([]byte(lineTranslated+linePlain+lineTranslated6), 2)
	f.Add([]byte(lineUDP+lineICMP+linePortOnly), 100)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		table, err := readText(bytes.NewReader(data), max(limit, 0))
		if err != nil || table.Read > max(limit, 0) || table.Len() > table.Read {
			t.Fatalf("%+v, %v", table, err)
		}
		for from, to := range table.flows {
			if from.remote == to {
				t.Fatalf("%v is not translated", from)
			}
		}
		first, _, _ := bytes.Cut(data, []byte("\n"))
		original, reply, kind := parseLine(first)
		if kind != tracked {
			return
		}
		againOriginal, againReply, kind := parseLine([]byte(line(connection{original, reply})))
		if kind != tracked || againOriginal != original || againReply != reply {
			t.Fatalf("changed by printing: %v %v, then %v %v", original, reply, againOriginal, againReply)
		}
	})
}
