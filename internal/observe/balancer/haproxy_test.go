package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// addresses lets cmp compare netip's values, which keep their fields private.
var addresses = cmpopts.EquateComparable(netip.AddrPort{})

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// haproxyMembers are those of testdata/haproxy-2.6.cfg that have an address.
func haproxyMembers() []Member {
	return []Member{
		{Group: "shop", Name: "s1", Address: at("127.0.0.1:39872"), Status: Down, Says: "DOWN L4CON"},
		{Group: "shop", Name: "s2", Address: at("[::1]:39873"), Status: Draining, Says: "DRAIN"},
		{Group: "shop", Name: "s3", Address: at("127.0.0.1:39874"), Status: Maintenance, Says: "MAINT"},
		{Group: "shop", Name: "s4", Address: at("127.0.0.1:39875"), Status: Maintenance, Says: "MAINT"},
		{Group: "shop", Name: "s5", Address: at("127.0.0.1:39871"), Status: Up, Says: "UP 1/3 INI"},
		{Group: "shop", Name: "s6", Address: at("127.0.0.1:39874"), Status: Maintenance, Says: "MAINT (via shop/s3)"},
		{Group: "shop", Name: "lost", Host: "nonexist.invalid", Port: 80, Status: Maintenance, Says: "MAINT (resolution)"},
		{Group: "shop", Name: "tt1", Address: at("127.0.0.1:39877"), Status: NoCheck, Says: "no check"},
		{Group: "shop", Name: "tt2", Address: at("127.0.0.1:39877"), Status: NoCheck, Says: "no check"},
		{Group: "db", Name: "s1", Address: at("127.0.0.1:39878"), Status: NoCheck, Says: "no check"},
	}
}

// haproxyProblems are those of the same configuration.
func haproxyProblems() []string {
	return []string{
		"shop/unix is reached by a unix socket, which the TCP table does not show",
		"shop/sameport has no port of its own, and is left out",
	}
}

// answering serves one unix socket. For each connection answer gets the
// question and writes what it likes; the connection is closed behind it.
func answering(t *testing.T, answer func(question string, w net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			question := make([]byte, 1000)
			n, _ := conn.Read(question)
			answer(string(question[:n]), conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return path
}

// files answers the two questions with the content of files.
func files(t *testing.T, stat, state string) string {
	return answering(t, func(question string, w net.Conn) {
		switch question {
		case "show stat -1 4 -1\n":
			_, _ = w.Write(fixture(t, stat))
		case "show servers state\n":
			_, _ = w.Write(fixture(t, state))
		default:
			t.Errorf("asked %q", question)
		}
	})
}

func TestHAProxyFixtures(t *testing.T) {
	for _, stat := range []string{"haproxy-2.6-stat.txt", "haproxy-2.6-stat-user.txt"} {
		t.Run(stat, func(t *testing.T) {
			got, err := HAProxy(t.Context(), files(t, stat, "haproxy-2.6-state.txt"))
			if err != nil {
				t.Fatal(err)
			}
			want := Answer{Members: haproxyMembers(), Problems: haproxyProblems()}
			if diff := cmp.Diff(want, got, addresses); diff != "" {
				t.Errorf("HAProxy (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHAProxyAllRows reads show stat as it is without a choice of rows.
func TestHAProxyAllRows(t *testing.T) {
	g := newGathering()
	servers, err := g.stat(fixture(t, "haproxy-2.6-stat-all.txt"))
	if err != nil {
		t.Fatal(err)
	}
	g.servers(servers, state(fixture(t, "haproxy-2.6-state.txt")))
	if diff := cmp.Diff(haproxyMembers(), g.done().Members, addresses); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestHAProxyStatus(t *testing.T) {
	tests := []struct {
		in   string
		want Status
	}{
		{"UP", Up}, {"UP 1/3", Up}, {"DOWN", Down}, {"DOWN 1/2", Down}, {"DOWN (agent)", Down},
		{"MAINT", Maintenance}, {"MAINT (via shop/s1)", Maintenance}, {"MAINT (resolution)", Maintenance},
		{"DRAIN", Draining}, {"DRAIN (agent)", Draining}, {"NOLB", Draining}, {"NOLB 1/2", Draining},
		{"no check", NoCheck}, {"", Unknown}, {"up", Unknown}, {"UPSIDE", Unknown}, {"OPEN", Unknown},
	}
	for _, tt := range tests {
		if got := haproxyStatus(tt.in); got != tt.want {
			t.Errorf("haproxyStatus(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

// TestHAProxyBadAnswers keeps what can be read, and says the rest.
func TestHAProxyBadAnswers(t *testing.T) {
	const header = "# pxname,svname,status,check_status,type,addr,\n"
	row := func(name, addr string) string { return "shop," + name + ",UP,L4OK,2," + addr + ",\n" }
	s1 := Member{Group: "shop", Name: "s1", Address: at("192.0.2.1:80"), Status: Up, Says: "UP L4OK"}
	tests := []struct {
		name, in string
		members  []Member
		problems []string
		partial  bool
		err      string // part of the error
	}{
		{name: "columns in another order", in: "# pxname,type,addr,status,svname,\nshop,2,192.0.2.1:80,DOWN,s1,\n",
			members: []Member{{Group: "shop", Name: "s1", Address: at("192.0.2.1:80"), Status: Down, Says: "DOWN"}}},
		{name: "more columns than the header", in: header + "shop,s1,UP,L4OK,2,192.0.2.1:80,,1,2,3\n", members: []Member{s1}},
		{name: "a check that runs", in: header + "shop,s1,UP 2/3,* L4TOUT,2,192.0.2.1:80,\n",
			members: []Member{{Group: "shop", Name: "s1", Address: at("192.0.2.1:80"), Status: Up, Says: "UP 2/3 L4TOUT"}}},
		{name: "no servers", in: header},
		{name: "no row ends", in: header + row("s1", "192.0.2.1:80") + "shop,s2,UP", members: []Member{s1}, partial: true,
			problems: []string{`the row of "shop/s2" has 3 columns of 7, and is left out`}},
		{name: "twice", in: header + row("s1", "192.0.2.1:80") + row("s1", "192.0.2.2:80"), members: []Member{s1},
			problems: []string{"shop/s1 is there twice: the first is taken"}},
		{name: "ports and addresses out of range", in: header + row("a", "192.0.2.1:99999") + row("b", "192.0.2.1:-1") + row("c", "192.0.2.300.:80") + row("d", "0.0.0.0:80") + row("e", "192.0.2.1") + row("f", "a b:1") + row("s1", "192.0.2.1:80"),
			members: []Member{{Group: "shop", Name: "c", Host: "192.0.2.300.", Port: 80, Status: Up, Says: "UP L4OK"}, s1}, partial: true,
			problems: []string{
				`shop/a has the port "99999", and is left out`, `shop/b has the port "-1", and is left out`,
				"shop/d goes to whichever address the client asked for, and is left out",
				`shop/e has the port "", and is left out`, `shop/f has the host "a b", and is left out`,
			}},
		{name: "v4-mapped and with a zone", in: header + row("s1", "[::ffff:192.0.2.1]:80") + row("s2", "[fe80::1%eth0]:80"),
			members: []Member{s1, {Group: "shop", Name: "s2", Address: at("[fe80::1]:80"), Status: Up, Says: "UP L4OK"}}},
		{name: "names that cannot be printed", in: header + row("s\x1b[2J", "192.0.2.1:80") + row(strings.Repeat("x", 200), "192.0.2.2:80") + row("", "192.0.2.3:80"), partial: true,
			members: []Member{
				{Group: "shop", Name: "s?[2J", Address: at("192.0.2.1:80"), Status: Up, Says: "UP L4OK"},
				{Group: "shop", Name: strings.Repeat("x", 128), Address: at("192.0.2.2:80"), Status: Up, Says: "UP L4OK"},
			},
			problems: []string{
				`the name "s\x1b[2J" is written as "s?[2J"`,
				`the name "` + strings.Repeat("x", 60) + `"... is written as "` + strings.Repeat("x", 128) + `"`,
				`a member at "192.0.2.3:80" has no name, and is left out`,
			}},
		{name: "a quote that does not end", in: header + row("s1", "192.0.2.1:80") + "shop,\"s2,UP\n", members: []Member{s1}, partial: true,
			problems: []string{`show stat cannot be read to its end: parse error on line 3, column 13: extraneous or missing " in quoted-field`}},
		{name: "no address to be had", in: header + row("s1", "192.0.2.1:80") + row("s2", ""), members: []Member{s1}, partial: true,
			problems: []string{"shop/s2 has no address; allow show servers state on this socket, or give it level operator"}},
		{name: "wrong columns", in: "# pxname,who,what,\nshop,s1,UP\n", err: "the columns svname and status are missing; is this HAProxy's stats socket?"},
		{name: "nothing", in: "", err: "it hung up without an answer; is this HAProxy's stats socket?"},
		{name: "something else", in: "HTTP/1.1 400 Bad Request\r\n\r\n", err: `the answer begins "HTTP/1.1 400 Bad Request\r\n\r\n", not with the table of show stat;`},
		{name: "the master's socket", in: "Unknown command: 'show', but maybe\n", err: `this is the master's socket or not HAProxy's: name the one of a "stats socket" line`},
		{name: "no rights", in: "Permission denied\n", err: `give the "stats socket" line level user or more`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := answering(t, func(question string, w net.Conn) {
				if strings.Contains(question, "stat ") {
					_, _ = io.WriteString(w, tt.in)
				}
			})
			got, err := HAProxy(t.Context(), path)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "ask HAProxy at "+path+": ") || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := Answer{Members: tt.members, Problems: tt.problems, Partial: tt.partial}
			if diff := cmp.Diff(want, got, addresses); diff != "" {
				t.Errorf("HAProxy (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHAProxyHangs has a balancer that never answers, and one that stops in
// the middle.
func TestHAProxyHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	path := answering(t, func(string, net.Conn) {
		cancel() // the question is there: enough waited
		<-release
	})
	_, err := HAProxy(ctx, path)
	if err == nil || !strings.Contains(err.Error(), "no whole answer in time") || !strings.Contains(err.Error(), path) {
		t.Errorf("a balancer that hangs gives %v", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	middle := answering(t, func(_ string, w net.Conn) {
		_, _ = io.WriteString(w, "# pxname,svname,status,addr,\n")
		// More than a socket holds, so that when it is written the first rows
		// are read.
		_, _ = io.WriteString(w, strings.Repeat("shop,s1,UP,192.0.2.1:80,\n", 100_000))
		cancel()
		<-release
	})
	got, err := HAProxy(ctx, middle)
	want := []Member{{Group: "shop", Name: "s1", Address: at("192.0.2.1:80"), Status: Up, Says: "UP"}}
	if diff := cmp.Diff(want, got.Members, addresses); diff != "" || err != nil || !got.Partial {
		t.Errorf("a balancer that hangs in the middle gives %v, partial %v, members (-want +got):\n%s", err, got.Partial, diff)
	}
	if len(got.Problems) == 0 || !strings.HasPrefix(got.Problems[0], "the answer breaks off: no whole answer in time") {
		t.Errorf("problems %q", got.Problems)
	}
}

func TestHAProxyIsNotThere(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): `give HAProxy a line "stats socket" with this path`,
		plain:                      "nobody listens there: is HAProxy running?",
	} {
		_, err := HAProxy(t.Context(), path)
		if err == nil || !strings.HasPrefix(err.Error(), "ask HAProxy at "+path) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	if _, err := HAProxy(ctx, plain); err == nil {
		t.Error("a cancelled context gives an answer")
	}
}

func TestHAProxyHuge(t *testing.T) {
	path := answering(t, func(_ string, w net.Conn) {
		if _, err := io.WriteString(w, "# pxname,svname,status,addr,\n"); err != nil {
			return
		}
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "shop,s%d,UP,192.0.2.1:80,%s\n", i, strings.Repeat("x", 500)); err != nil {
				return
			}
		}
	})
	got, err := HAProxy(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Members) != MaxMembers || !got.Partial {
		t.Errorf("%d members, partial %v", len(got.Members), got.Partial)
	}
	want := []string{
		"the answer breaks off: it is larger than 8388608 bytes; is this HAProxy's stats socket?",
		"more than 10000 members: the rest is left out",
	}
	if diff := cmp.Diff(want, got.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// holds checks what the package promises of every answer.
func holds(t *testing.T, a Answer) {
	t.Helper()
	seen := map[string]bool{}
	for _, m := range a.Members {
		for _, s := range []string{m.Group, m.Name, m.Says} {
			if s != word(s) || len([]rune(s)) > MaxName {
				t.Fatalf("%q is not printable or too long", s)
			}
		}
		key := m.Group + "\x00" + m.Name
		if m.Group == "" || m.Name == "" || seen[key] {
			t.Fatalf("%+v has no name, or one that another has", m)
		}
		seen[key] = true
		switch {
		case m.Address.IsValid() && (m.Host != "" || m.Address.Port() == 0 || m.Address.Addr().Is4In6() || m.Address.Addr().IsUnspecified()):
			t.Fatalf("%+v has no proper address", m)
		case !m.Address.IsValid() && (m.Port == 0 || !isHostName(m.Host)):
			t.Fatalf("%+v has neither an address nor a host and a port", m)
		}
	}
	if len(a.Members) > MaxMembers || len(a.Problems) > maxProblems+1 {
		t.Fatalf("%d members, %d problems", len(a.Members), len(a.Problems))
	}
	for _, p := range a.Problems {
		if len(p) > 2000 || strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("the problem %q cannot be shown", p)
		}
	}
}

func FuzzHAProxy(f *testing.F) {
	for _, name := range []string{"haproxy-2.6-stat.txt", "haproxy-2.6-stat-user.txt", "haproxy-2.6-stat-all.txt"} {
		f.Add(fixture(f, name), fixture(f, "haproxy-2.6-state.txt"))
	}
	f.Add([]byte("# pxname,svname,status\n\"a\"\"b\",\x1b,UP"), []byte("1\n# be_id be_name srv_name srv_addr srv_port\n1 a b ::1 80"))
	f.Fuzz(func(t *testing.T, stat, states []byte) {
		g := newGathering()
		servers, err := g.stat(stat)
		if err != nil {
			if servers != nil {
				t.Fatalf("servers beside the error %v", err)
			}
			return
		}
		g.servers(servers, state(states))
		holds(t, g.done())
	})
}
