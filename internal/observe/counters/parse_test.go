package counters

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/tcp"
)

const fixtures = "../../../testdata/fixtures/two-clients"

// levels are the counters that were seen, by the kernel's name.
func levels(c *tcp.Counters) map[string]uint64 {
	m := map[string]uint64{}
	for n := range tcp.Counter(tcp.NumCounters) {
		if v, ok := c.Get(n); ok {
			m[n.String()] = v
		}
	}
	return m
}

type parser func([]byte, *tcp.Counters) error

func TestParseFixture(t *testing.T) {
	var c tcp.Counters
	for suffix, parse := range map[string]parser{"snmp": parseSNMP, "netstat": parseNetstat} {
		name := labtest.Fixtures(t, fixtures, "4-*."+suffix+".txt")[0]
		if err := parse(labtest.Read(t, name), &c); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
	// cat /proc/net/sockstat, Linux 6.18, an idle machine.
	if err := parseSockstat([]byte("sockets: used 12\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 277\nUDP: inuse 0 mem 0\n"), &c); err != nil {
		t.Error(err)
	}
	want := map[string]uint64{
		"ActiveOpens": 10, "PassiveOpens": 6, "AttemptFails": 0, "EstabResets": 0, "CurrEstab": 11, "InSegs": 30, "OutSegs": 26,
		"RetransSegs": 4, "InErrs": 0, "OutRsts": 0, "SyncookiesSent": 0, "ListenOverflows": 8, "TCPTimeouts": 4, "TCPSynRetrans": 4,
		"TCPAbortOnTimeout": 0, "inuse": 1, "orphan": 0, "tw": 0,
	}
	if diff := cmp.Diff(want, levels(&c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name  string
		parse parser
		text  string
		want  map[string]uint64
		err   string
	}{
		{
			"columns in another order, with new ones between", parseSNMP,
			"Ip: Forwarding\nIp: 2\nTcp: New PassiveOpens MaxConn ActiveOpens\nTcp: 77 2 -1 1\n",
			map[string]uint64{"ActiveOpens": 1, "PassiveOpens": 2}, "",
		},
		{
			"an old kernel without most columns", parseNetstat, "TcpExt: ListenOverflows\nTcpExt: 18446744073709551615\n",
			map[string]uint64{"ListenOverflows": 1<<64 - 1}, "",
		},
		{"sections with similar names are others", parseNetstat, "MPTcpExt: ListenOverflows\nMPTcpExt: 1\nTcpExtra: ListenOverflows\nTcpExtra: 2\n", nil, `parse netstat: no section "TcpExt:"`},
		{"a garbled neighbour does no harm", parseSNMP, "Ip: a b c\n\x00\xff\nTcp: ActiveOpens\nTcp: 5\nUdp: x", map[string]uint64{"ActiveOpens": 5}, ""},
		{"an unknown column may hold anything", parseSNMP, "Tcp: Mode ActiveOpens\nTcp: cubic 5\n", map[string]uint64{"ActiveOpens": 5}, ""},
		{"below zero for a moment: unknown, not zero", parseSNMP, "Tcp: CurrEstab ActiveOpens\nTcp: -3 5\n", map[string]uint64{"ActiveOpens": 5}, ""},
		{"one value too few", parseSNMP, "Ip: x\nTcp: ActiveOpens PassiveOpens\nTcp: 5\n", nil, "parse snmp: line 3: 2 names and 1 values"},
		{"one value too many", parseSNMP, "Tcp: ActiveOpens\nTcp: 5 6\n", nil, "parse snmp: line 2: 1 names and 2 values"},
		{"no values at all", parseSNMP, "Tcp: ActiveOpens\nTcp:\n", nil, "parse snmp: line 2: 1 names and 0 values"},
		{"values of another section", parseSNMP, "Tcp: ActiveOpens\nUdp: 5\n", nil, `parse snmp: line 2: "Udp:" where the values of "Tcp:" were expected`},
		{"cut in the names", parseSNMP, "Tcp: ActiveOpens Passi", nil, `parse snmp: line 1: ends within the names of "Tcp:"`},
		{"cut before the values", parseSNMP, "Tcp: ActiveOpens\n", nil, `parse snmp: line 2: "" where the values of "Tcp:" were expected`},
		{"cut in the last value, which looks whole", parseSNMP, "Tcp: ActiveOpens\nTcp: 51", nil, `parse snmp: line 2: ends within the values of "Tcp:"`},
		{"not a number: nothing of the section is set", parseSNMP, "Tcp: ActiveOpens PassiveOpens\nTcp: 5 6x\n", nil, `parse snmp: line 2: PassiveOpens is "6x", not a number`},
		{"more than 64 bits", parseSNMP, "Tcp: ActiveOpens\nTcp: 18446744073709551616\n", nil, `parse snmp: line 2: ActiveOpens is "18446744073709551616", not a number`},
		{"a name twice", parseSNMP, "Tcp: ActiveOpens ActiveOpens\nTcp: 5 6\n", nil, "parse snmp: line 2: ActiveOpens is there twice"},
		{"empty", parseNetstat, "", nil, `parse netstat: no section "TcpExt:"`},
		{"sockstat reordered and grown", parseSockstat, "TCP: tw 7 new 1 inuse 3\n", map[string]uint64{"tw": 7, "inuse": 3}, ""},
		{"sockstat's other protocols have an inuse too", parseSockstat, "UDP: inuse 9\nTCP: inuse 3\nRAW: inuse 8\n", map[string]uint64{"inuse": 3}, ""},
		{"sockstat's level below zero", parseSockstat, "TCP: inuse 3 orphan -1\n", map[string]uint64{"inuse": 3}, ""},
		{"sockstat with a name too many", parseSockstat, "TCP: inuse 3 tw\n", nil, `parse sockstat: line 1: "tw" without a value`},
		{"sockstat cut in a number", parseSockstat, "sockets: used 1\nTCP: inuse 3", nil, `parse sockstat: line 2: ends within "TCP:"`},
		{"sockstat6", parseSockstat6, "TCP6: inuse 12\nUDP6: inuse 1\n", map[string]uint64{"inuse6": 12}, ""},
		{"sockstat6 of a kernel that says nothing of TCP", parseSockstat6, "UDP6: inuse 1\n", nil, `parse sockstat6: no line "TCP6:"`},
		{"sockstat6 that is cut", parseSockstat6, "TCP6: inuse 1", nil, `parse sockstat6: line 1: ends within "TCP6:"`},
		{"sockstat without TCP", parseSockstat, "sockets: used 1\n", nil, `parse sockstat: no line "TCP:"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c tcp.Counters
			message := ""
			if err := tt.parse([]byte(tt.text), &c); err != nil {
				message = err.Error()
			}
			if message != tt.err {
				t.Errorf("error %q\nwant  %q", message, tt.err)
			}
			want := tt.want
			if want == nil {
				want = map[string]uint64{}
			}
			if diff := cmp.Diff(want, levels(&c)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// twin reads a section the slow, obvious way, from names and values.
func twin(names, values []string, first, last tcp.Counter) (map[string]uint64, error) {
	wanted := map[string]bool{}
	for n := first; n <= last; n++ {
		wanted[n.String()] = true
	}
	if len(names) != len(values) {
		return nil, fmt.Errorf("%d names, %d values", len(names), len(values))
	}
	got, twice := map[string]uint64{}, map[string]bool{}
	for i, name := range names {
		if !wanted[name] {
			continue
		}
		if twice[name] {
			return nil, fmt.Errorf("%s twice", name)
		}
		twice[name] = true
		digits, negative := strings.CutPrefix(values[i], "-")
		v, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return nil, err
		}
		if !negative {
			got[name] = v
		}
	}
	return got, nil
}

func wordsOf(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
}

func isSection(line, prefix string) bool {
	f := wordsOf(line)
	return len(f) > 0 && f[0] == prefix
}

func twinPairs(text, prefix string, first, last tcp.Counter) (map[string]uint64, error) {
	lines := strings.Split(text, "\n")
	for i := range lines {
		if !isSection(lines[i], prefix) {
			continue
		}
		// The last element of Split is what follows the last newline.
		if i+2 >= len(lines) || !isSection(lines[i+1], prefix) {
			return nil, fmt.Errorf("no line of values")
		}
		return twin(wordsOf(lines[i])[1:], wordsOf(lines[i+1])[1:], first, last)
	}
	return nil, fmt.Errorf("no section")
}

func twinSockstat(text, prefix string) (map[string]uint64, error) {
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] {
		if !isSection(line, prefix) {
			continue
		}
		var names, values []string
		for i, w := range wordsOf(line)[1:] {
			if i%2 == 0 {
				names = append(names, w)
			} else {
				values = append(values, w)
			}
		}
		return twin(names, values, tcp.SockInUse, tcp.SockTimeWait)
	}
	return nil, fmt.Errorf("no section")
}

// agree holds a parser against its twin. Properties: no panic; an error sets
// nothing; what is set is named in the text and in the section's range, with
// the twin's value; both refuse the same texts.
func agree(t *testing.T, parse parser, data []byte, twin func(string) (map[string]uint64, error)) {
	t.Helper()
	var c tcp.Counters
	err := parse(data, &c)
	got := levels(&c)
	want, twinErr := twin(string(data))
	if (err != nil) != (twinErr != nil) {
		t.Fatalf("parser says %v, its twin %v", err, twinErr)
	}
	if want == nil {
		want = map[string]uint64{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-twin +parser)\n%s", diff)
	}
	for name := range got {
		if !strings.Contains(string(data), strings.TrimSuffix(name, "6")) {
			t.Fatalf("%s is set and not named", name)
		}
	}
}

func FuzzParseSNMP(f *testing.F) {
	f.Add([]byte("Tcp: ActiveOpens CurrEstab\nTcp: 5 -1\n"))
	fuzzPairs(f, "*.snmp.txt", parseSNMP, "Tcp:", tcp.ActiveOpens, tcp.OutRsts)
}

func FuzzParseNetstat(f *testing.F) {
	f.Add([]byte("TcpExt: ListenOverflows TCPTimeouts\nTcpExt: 5 6\n"))
	fuzzPairs(f, "*.netstat.txt", parseNetstat, "TcpExt:", tcp.SyncookiesSent, tcp.TCPAbortOnTimeout)
}

func fuzzPairs(f *testing.F, pattern string, parse parser, prefix string, first, last tcp.Counter) {
	for _, name := range labtest.Fixtures(f, fixtures, pattern) {
		f.Add(labtest.Read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		agree(t, parse, data, func(s string) (map[string]uint64, error) { return twinPairs(s, prefix, first, last) })
	})
}

func FuzzParseSockstat(f *testing.F) {
	f.Add([]byte("sockets: used 12\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 277\nUDP: inuse 0 mem 0\n"))
	f.Add([]byte("TCP: inuse 1 tw -2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		agree(t, parseSockstat, data, func(s string) (map[string]uint64, error) {
			return twinSockstat(s, "TCP:")
		})
	})
}

func FuzzParseSockstat6(f *testing.F) {
	f.Add([]byte("TCP6: inuse 12\nUDP6: inuse 1\nFRAG6: inuse 0 memory 0\n"))
	f.Add([]byte("TCP6: inuse -1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		agree(t, parseSockstat6, data, func(s string) (map[string]uint64, error) {
			levels, err := twinSockstat(s, "TCP6:")
			if inUse, there := levels["inuse"]; there {
				return map[string]uint64{"inuse6": inUse}, err
			}
			return nil, err
		})
	})
}
