package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// dnsPort is where all name servers answer, over UDP and TCP.
const dnsPort = 53

// Zone is a DNS zone with addresses at its top, and three ways to them: www is a
// chain of two CNAMEs, loop one that has no end, and any other name is none.
type Zone struct {
	// Name is the zone's, "shop.example".
	Name string
	// Addresses are those at its top at first.
	Addresses []netip.Addr
	// TTL of the record, whole seconds.
	TTL time.Duration
	// Servers are the zone's name servers ns1.NAME, ns2.NAME, …, the primary first.
	Servers []netip.Addr
	// Untold leaves the secondaries to find a change by themselves: they ask each
	// minute.
	Untold bool
}

func (z Zone) validate() error {
	switch {
	case z.Name == "" || strings.HasSuffix(z.Name, "."):
		return fmt.Errorf("zone %q: want a name without a last dot", z.Name)
	case len(z.Addresses) == 0:
		return fmt.Errorf("zone %s has no addresses", z.Name)
	case z.TTL < time.Second || z.TTL > 24*time.Hour:
		return fmt.Errorf("TTL %v of zone %s is not within 1s to 24h", z.TTL, z.Name)
	case len(z.Servers) == 0:
		return fmt.Errorf("zone %s has no servers", z.Name)
	}
	return nil
}

// text is the zone as its primary's file. A secondary takes a change over when
// it is told; it asks by itself each minute.
func (z Zone) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s.\n$TTL %d\n@ SOA ns1 hostmaster 1 60 10 3600 %[2]d\n", z.Name, int(z.TTL.Seconds()))
	for i, server := range z.Servers {
		fmt.Fprintf(&b, "@ NS ns%d\nns%[1]d A %v\n", i+1, server)
	}
	for _, a := range z.Addresses {
		fmt.Fprintf(&b, "@ %s %v\n", recordOf(a), a)
	}
	b.WriteString("www CNAME cdn\ncdn CNAME @\nloop CNAME round\nround CNAME loop\n")
	return b.String()
}

// recordOf is the type of an address' record.
func recordOf(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

// BINDPrimary is the authoritative server of a zone that takes updates from
// everybody: see [Host.Flip].
type BINDPrimary struct {
	// Listen is one of the host's addresses.
	Listen netip.Addr
	Zone   Zone
}

func (p BINDPrimary) plan(at place) (plan, error) {
	if err := p.Zone.validate(); err != nil {
		return plan{}, err
	}
	others := slices.DeleteFunc(slices.Clone(p.Zone.Servers), func(server netip.Addr) bool { return server == p.Listen })
	told := "notify no;"
	if len(others) > 0 && !p.Zone.Untold {
		told = fmt.Sprintf("notify explicit; also-notify { %s};", bindList(others))
	}
	made := bindPlan(at, p.Listen, "recursion no;", fmt.Sprintf(
		"zone %q { type primary; file \"zone.db\"; allow-update { any; }; allow-transfer { any; }; %s };", p.Zone.Name, told))
	made.files["zone.db"] = p.Zone.text()
	return made, nil
}

// BINDSecondary has its copy of the zone from the first of the zone's servers.
type BINDSecondary struct {
	Listen netip.Addr
	Zone   Zone
}

func (s BINDSecondary) plan(at place) (plan, error) {
	if err := s.Zone.validate(); err != nil {
		return plan{}, err
	}
	return bindPlan(at, s.Listen, "recursion no;", fmt.Sprintf(
		"zone %q { type secondary; file \"copy.db\"; primaries { %v; }; min-refresh-time 60; max-refresh-time 60; };", s.Zone.Name, s.Zone.Servers[0])), nil
}

// BINDResolver resolves names of one zone through its servers.
type BINDResolver struct {
	Listen netip.Addr
	Zone   Zone
	// Stale answers with what has expired where the zone's servers have not
	// answered after 500 ms: stale-answer-enable, RFC 8767.
	Stale bool
}

func (r BINDResolver) plan(at place) (plan, error) {
	if err := r.Zone.validate(); err != nil {
		return plan{}, err
	}
	options := "recursion yes; allow-recursion { any; }; dnssec-validation no;"
	if r.Stale {
		options += " stale-answer-enable yes; stale-cache-enable yes; max-stale-ttl 3600; stale-answer-ttl 30; stale-answer-client-timeout 500; stale-refresh-time 30;"
	}
	return bindPlan(at, r.Listen, options, fmt.Sprintf(
		"zone %q { type static-stub; server-addresses { %s}; };", r.Zone.Name, bindList(r.Zone.Servers))), nil
}

// bindList writes addresses as named's configuration has them.
func bindList(addrs []netip.Addr) string {
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, "%v; ", a)
	}
	return b.String()
}

// bindPlan runs named with these options and zones, on one address.
func bindPlan(at place, listen netip.Addr, options, zones string) plan {
	config := fmt.Sprintf(`options {
  directory %[1]q;
  pid-file %[2]q;
  session-keyfile %[3]q;
  lock-file none;
  listen-on port %[4]d { %[5]v; };
  listen-on-v6 { none; };
  query-source address %[5]v;
  transfer-source %[5]v;
  notify-source %[5]v;
  allow-query { any; };
  %[6]s
};
controls { };
logging { channel out { stderr; severity info; }; category default { out; }; category lame-servers { null; }; };
%[7]s
`, at.dir, at.dir+"/named.pid", at.dir+"/session.key", dnsPort, listen, options, zones)
	return plan{
		program: "named", pkg: "bind9",
		args:       []string{"-f", "-4", "-n", "1", "-c", at.dir + "/named.conf"},
		files:      map[string]string{"named.conf": config},
		listen:     netip.AddrPortFrom(listen, dnsPort),
		stopSignal: syscall.SIGTERM,
	}
}

// Unbound resolves names of one zone through its servers.
type Unbound struct {
	Listen netip.Addr
	Zone   Zone
	// MinTTL keeps each answer at least so long: cache-min-ttl. Zero: as long as
	// it is good.
	MinTTL time.Duration
	// ServeExpired answers with what has expired where the zone's servers have not
	// answered after 500 ms: serve-expired, RFC 8767.
	ServeExpired bool
	// Validate wants the zone signed by a key that nobody has: DNSSEC fails.
	Validate bool
}

func (u Unbound) plan(at place) (plan, error) {
	if err := u.Zone.validate(); err != nil {
		return plan{}, err
	}
	modules := "iterator"
	if u.Validate {
		modules = "validator iterator"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  directory: %[1]q
  username: ""
  chroot: ""
  pidfile: "unbound.pid"
  use-syslog: no
  logfile: ""
  num-threads: 1
  interface: %[2]v
  outgoing-interface: %[2]v
  do-ip6: no
  access-control: 0.0.0.0/0 allow
  module-config: %[4]q
  cache-min-ttl: %[3]d
`, at.dir, u.Listen, int(u.MinTTL.Seconds()), modules)
	if u.Validate {
		fmt.Fprintf(&b, "  ede: yes\n  trust-anchor: \"%s. DS 4711 13 2 %064x\"\n", u.Zone.Name, 1)
	}
	if u.ServeExpired {
		b.WriteString("  serve-expired: yes\n  serve-expired-ttl: 3600\n  serve-expired-reply-ttl: 30\n  serve-expired-client-timeout: 500\n  ede: yes\n  ede-serve-expired: yes\n")
	}
	fmt.Fprintf(&b, "remote-control:\n  control-enable: no\nstub-zone:\n  name: %q\n  stub-prime: no\n", u.Zone.Name+".")
	for _, server := range u.Zone.Servers {
		fmt.Fprintf(&b, "  stub-addr: %v\n", server)
	}
	return plan{
		program: "unbound", pkg: "unbound",
		args:       []string{"-d", "-c", at.dir + "/unbound.conf"},
		files:      map[string]string{"unbound.conf": b.String()},
		listen:     netip.AddrPortFrom(u.Listen, dnsPort),
		stopSignal: syscall.SIGTERM,
	}, nil
}

// Dnsmasq forwards questions about one zone to its servers.
type Dnsmasq struct {
	Listen netip.Addr
	Zone   Zone
	// MinTTL keeps each answer at least so long: min-cache-ttl, an hour at most.
	// Zero: as long as it is good.
	MinTTL time.Duration
	// Answer is what it answers itself, whatever the zone's servers say.
	Answer netip.Addr
}

func (d Dnsmasq) plan(at place) (plan, error) {
	if err := d.Zone.validate(); err != nil {
		return plan{}, err
	}
	args := []string{
		"-k", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--log-facility=-", "--bind-interfaces",
		fmt.Sprintf("--port=%d", dnsPort), fmt.Sprintf("--listen-address=%v", d.Listen), fmt.Sprintf("--min-cache-ttl=%d", int(d.MinTTL.Seconds())),
	}
	for _, server := range d.Zone.Servers {
		args = append(args, fmt.Sprintf("--server=/%s/%v@%v", d.Zone.Name, server, d.Listen))
	}
	if d.Answer.IsValid() {
		args = append(args, fmt.Sprintf("--address=/%s/%v", d.Zone.Name, d.Answer))
	}
	return plan{
		program: "dnsmasq", pkg: "dnsmasq-base",
		args:       args,
		listen:     netip.AddrPortFrom(d.Listen, dnsPort),
		stopSignal: syscall.SIGTERM,
	}, nil
}

// Flip changes the zone's addresses on its primary, by an update from the host
// (RFC 2136), and returns when that says it is done. It wants the program
// nsupdate; where that is missing the error is a *ErrMissing.
func (h *Host) Flip(ctx context.Context, zone Zone, to ...netip.Addr) error {
	nsupdate, err := program("nsupdate", "bind9-dnsutils")
	if err == nil {
		var b strings.Builder
		fmt.Fprintf(&b, "server %v\nzone %s.\nupdate delete %[2]s. A\nupdate delete %[2]s. AAAA\n", zone.Servers[0], zone.Name)
		for _, a := range to {
			fmt.Fprintf(&b, "update add %s. %d %s %v\n", zone.Name, int(zone.TTL.Seconds()), recordOf(a), a)
		}
		b.WriteString("send\n")
		err = feed(ctx, h.Path(), b.String(), nsupdate)
	}
	if err != nil {
		return fmt.Errorf("point %s to %v: %w", zone.Name, to, err)
	}
	return nil
}

// Digged is what dig said.
type Digged struct {
	At        time.Time
	Server    netip.Addr
	Addresses []netip.Addr
	TTL       time.Duration // of the first
	// Failure is why there are no addresses: a word of dig's, "SERVFAIL",
	// "NXDOMAIN", "no answer"; empty where there are some.
	Failure string
}

// Dig asks a name server for the addresses of a name with dig, once, with a
// second's patience. It wants the program dig; where that is missing the error
// is a *ErrMissing.
func (h *Host) Dig(ctx context.Context, server netip.Addr, name string) (Digged, error) {
	dig, err := program("dig", "bind9-dnsutils")
	if err != nil {
		return Digged{}, err
	}
	out, err := h.Command(ctx, dig, "-r", "+tries=1", "+time=1", "+noall", "+comments", "+answer", "@"+server.String(), name+".", "A").CombinedOutput()
	if ctx.Err() != nil {
		return Digged{}, ctx.Err()
	}
	said := parseDig(string(out))
	if err != nil && said.Failure == "" {
		return Digged{}, fmt.Errorf("dig @%v %s: %w: %s", server, name, err, out)
	}
	said.At, said.Server = time.Now(), server
	return said, nil
}

// parseDig reads dig's comments and answer section.
func parseDig(out string) (d Digged) {
	d.Failure = "no answer"
	for line := range strings.Lines(out) {
		if _, rest, found := strings.Cut(line, "status: "); found {
			if status, _, _ := strings.Cut(rest, ","); status != "NOERROR" {
				d.Failure = status
			}
		}
		var name, class, kind, value string
		var ttl int
		if n, _ := fmt.Sscan(line, &name, &ttl, &class, &kind, &value); n < 5 || kind != "A" {
			continue
		}
		address, err := netip.ParseAddr(value)
		if err != nil {
			continue
		}
		if len(d.Addresses) == 0 {
			d.TTL = time.Duration(ttl) * time.Second
		}
		d.Addresses = append(d.Addresses, address)
	}
	if len(d.Addresses) > 0 {
		d.Failure = ""
	}
	return d
}
