package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/silence"
)

func TestEffective(t *testing.T) {
	reminding := DefaultCalm()
	reminding.Remind = 4 * time.Hour
	tests := []struct {
		name string
		in   Config
		want string
	}{
		{"defaults", Default(), `name: ""  # the host's own name
labels: {}
listen: 127.0.0.1:9748
# token: none, so calls that change something are refused
# tls: none, so page, API and metrics are plain HTTP
# read_token: none, so whoever can connect may read
behind_proxy: false
observe:
  cpu_budget: 1%  # of one core
  namespaces: all
services: []  # found from the listening sockets
backends: []  # known load balancers are found by themselves
regions: []
baseline:
  learn: 28d
  factor: 1.5
  quantile: 0.95
# state_dir: the service manager's, else /var/lib/foreshock, else ~/.local/state/foreshock
history: {raw: 24h, minutes: 28d, max_size: 1GiB}
# public_url: none, so notices have no link
presets: []
rules: []
# heartbeat: none, so nobody hears when this agent dies
notify: []
maintenance: []
respond: {}
drain: []
# asn_database: none, so nobody knows whose the clients are
`},
		{"everything", Config{
			Name:   "web03",
			Labels: map[string]string{"site": "cork", "rack": "12", "null": "no", "note": `say "hi" \ #1: x`},
			Listen: netip.MustParseAddrPort("[::1]:9000"),
			Token:  Secret{File: "/etc/foreshock/token"},
			TLS:    TLS{Cert: "/etc/tls/c, d.pem", Key: "/etc/tls/key.pem", ClientCA: "/etc/tls/ca.pem"}, ReadToken: Secret{Env: "READ"}, BehindProxy: true,
			Observe: Observe{CPUBudget: 0.0155},
			Services: []Service{
				{Name: "web", Listen: addrPorts("[::]:80", "0.0.0.0:81", "[2001:db8::1]:80")},
				{Name: "nginx:8080", Listen: addrPorts("192.0.2.1:8080"), WorkersFrom: WorkersFrom{Limit: 150}},
				{Name: "api", Listen: addrPorts("192.0.2.1:8081"), WorkersFrom: WorkersFrom{Learn: true}},
			},
			Backends: []Backends{
				{Name: "shop", Process: Process{Unit: "haproxy.service", Listens: addrPorts("[::]:443")[0]}, Discover: Discover{HAProxySocket: "/run/haproxy/admin.sock"}, Status: 90 * time.Second},
				{Name: "edge", Process: Process{Exe: "/opt/my traefik/traefik", Container: "4f66ad9a0b2e"}, Discover: Discover{TraefikAPI: "http://[::1]:8080"}},
				{Name: "pages", Process: Process{Name: `a"b\c`, Cgroup: "/system.slice"}, Discover: Discover{TraefikFile: "/etc/traefik/dyn.yml"}},
				{Name: "db", Process: Process{Name: "orders"}, Discover: Discover{DNS: []string{"db.internal:5432", "db2.internal:5432"}}},
				{Name: "cache", Process: Process{Name: "orders"}, Discover: Discover{Static: []Member{
					{Name: "192.0.2.10:6379", Remote: addrPorts("192.0.2.10:6379")[0]},
					{Name: "a, b", Remote: addrPorts("[2001:db8::1]:6379")[0]},
				}}},
				{Name: "seen", Process: Process{Listens: addrPorts("0.0.0.0:80")[0]}},
			},
			Regions: []Region{
				{Name: "east", CIDRs: prefixes("192.0.2.0/24", "2001:db8::/32")},
				{Name: "a: b", File: "ranges.json", Path: "ranges.json", Select: Select{"eu-west-1", "Google Cloud"}},
				{Name: "list", CIDRs: prefixes("198.51.100.7/32"), File: "/etc/list.txt", Path: "/etc/list.txt"},
			},
			Baseline:  Baseline{Learn: 7 * day, Factor: 2.25, Quantile: 0.99},
			StateDir:  "/srv/my state",
			History:   History{Raw: 90 * time.Minute, Minutes: 7 * 24 * time.Hour, MaxSize: 1536 << 20},
			PublicURL: "https://web03.example:9748",
			Presets:   []string{"workers-article"},
			Heartbeat: &Heartbeat{Secret{Env: "FORESHOCK_HEARTBEAT"}, 5 * time.Minute},
			Rules: []Rule{
				{Name: "waits", When: `service.queue_wait_seconds > 0.5`, Hold: 90 * time.Second, Severity: "critical", Advice: "Call the web team: now"},
				{Name: "two lines", When: "service.accepted > 1 &&\n  service.busy > \"1\"", Severity: "watch"},
			},
			Notify: []Channel{
				{Name: "oncall", Severities: []string{"critical"}, GiveUp: DefaultGiveUp, MaxPerHour: DefaultLibraryPerHour, Calm: DefaultCalm(), Library: &Library{URL: Secret{Env: "SLACK"}, Template: Template{Title: "{{.Title}} \"now\"", Body: "{{.Body}}\n\nRunbook: {{.Host}}"}}},
				{Name: "mail", Severities: []string{"critical"}, GiveUp: DefaultGiveUp, MaxPerHour: DefaultLibraryPerHour, Library: &Library{URL: Secret{File: "/etc/foreshock/mail.url"}}},
				{Name: "ops", Severities: []string{"critical"}, GiveUp: 3 * day, MaxPerHour: 30, Only: []silence.Matcher{{Scope: "backend/shop*", Cause: "peer_*", Severity: "warning"}, {Everything: true}}, Calm: reminding, Webhook: &Webhook{URL: "https://ops.example/hook?a=1", Secret: Secret{Env: "HOOK"}}},
				{Name: "am", Severities: []string{"watch", "warning", "critical"}, GiveUp: 90 * time.Minute, Calm: Calm{Recovery: time.Minute}, Alertmanager: &Alertmanager{URLs: []string{"http://127.0.0.1:9093", "http://[::1]:9093"}}},
				{Name: "log", Severities: []string{"warning", "critical"}, GiveUp: DefaultGiveUp, Log: true},
				{Name: "on call", Severities: []string{"none"}, GiveUp: DefaultGiveUp, Log: true},
			},
			Respond: []Response{
				{Key: "path_lost", Steps: []ResponseStep{
					{Notify: []string{"ops", "on call"}},
					{After: 90 * time.Second, Gather: true},
					{After: 2 * time.Minute, Hook: &Hook{Name: "drain", Exec: []string{"/opt/my hooks/drain", "--all", "a\"b"}, Timeout: time.Minute}, MaxPerHour: 1},
					{After: 5 * time.Minute, FollowUp: true, Escalate: []string{"on call"}},
				}},
				{Key: "default", Steps: []ResponseStep{
					{Hook: &Hook{Name: "scale", Webhook: &Webhook{URL: "https://ops.example/scale?a=1", Secret: Secret{Env: "SCALE"}}, Timeout: DefaultHookTimeout}, DryRun: true, MaxPerHour: 2},
					{After: time.Hour, Escalate: []string{"on call"}, UnlessAcknowledged: true},
				}},
			},
			Maintenance: []Maintenance{{Name: "backups", Window: weekly("sat,sun 22:00-04:00 Europe/Dublin"), Match: silence.Matcher{Namespace: "db-*", Rule: `web "waits"`}, Why: "the databases: copied"}},
			Drain: []Drain{
				{
					Name: "shop.example", Old: addrs("192.0.2.10", "2001:db8::10"), New: addrs("198.51.100.7"), Ports: []uint16{80, 443}, TTL: 90 * time.Second,
					Resolvers: []Resolver{{Which: PublicResolvers}, {Server: addrPorts("192.0.2.53:53")[0]}, {Server: addrPorts("[2001:db8::53]:5353")[0]}},
					Identity:  &Identity{URL: "https://shop.example/?a=1", Status: 204, BodyContains: `a "b"`, Header: "X-Site: shop"}, Deadline: 2 * time.Hour,
				},
				{Name: "www.shop.example", Resolvers: DefaultResolvers(), Identity: &Identity{URL: "http://www.shop.example"}},
			},
			ASNDatabase: ASNDatabase{File: "my asn.mmdb", Path: "my asn.mmdb"},
		}, `name: web03
labels:
  note: "say \"hi\" \\ #1: x"
  "null": "no"
  rack: "12"
  site: cork
listen: "[::1]:9000"
token: {file: /etc/foreshock/token}
tls: {cert: "/etc/tls/c, d.pem", key: "/etc/tls/key.pem", client_ca: "/etc/tls/ca.pem"}
read_token: {env: READ}
behind_proxy: true
observe:
  cpu_budget: 1.55%  # of one core
  namespaces: all
services:
  - name: web
    listen: [":80", "0.0.0.0:81", "[2001:db8::1]:80"]
    workers_from: auto
  - name: nginx:8080
    listen: ["192.0.2.1:8080"]
    workers_from: 150
  - name: api
    listen: ["192.0.2.1:8081"]
    workers_from: learn
backends:
  - name: shop
    process:
      unit: "haproxy.service"
      listens: ":443"
    discover: {haproxy: {socket: "/run/haproxy/admin.sock"}}
    status: 1m30s
  - name: edge
    process:
      exe: "/opt/my traefik/traefik"
      container: "4f66ad9a0b2e"
    discover: {traefik: {api: "http://[::1]:8080"}}
    status: off
  - name: pages
    process:
      name: "a\"b\\c"
      cgroup: "/system.slice"
    discover: {traefik: {file: "/etc/traefik/dyn.yml"}}
    status: off
  - name: db
    process:
      name: "orders"
    discover: {dns: ["db.internal:5432", "db2.internal:5432"]}
    status: off
  - name: cache
    process:
      name: "orders"
    discover:
      static:
        - "192.0.2.10:6379"
        - {name: "a, b", address: "[2001:db8::1]:6379"}
    status: off
  - name: seen
    process:
      listens: "0.0.0.0:80"
    # discover: none, so the addresses that the process is seen to talk to
    status: off
regions:
  - name: east
    cidrs: ["192.0.2.0/24", "2001:db8::/32"]
  - name: "a: b"
    file: "ranges.json"
    select:
      region: eu-west-1
      service: "Google Cloud"
  - name: list
    cidrs: ["198.51.100.7/32"]
    file: "/etc/list.txt"
baseline:
  learn: 7d
  factor: 2.25
  quantile: 0.99
state_dir: "/srv/my state"
history: {raw: 1h30m, minutes: 7d, max_size: 1.5GiB}
public_url: https://web03.example:9748
presets: [workers-article]
rules:
  - name: waits
    when: "service.queue_wait_seconds > 0.5"
    hold: 1m30s
    severity: critical
    advice: "Call the web team: now"
  - name: "two lines"
    when: "service.accepted > 1 &&\n  service.busy > \"1\""
    hold: 0s
    severity: watch
heartbeat:
  url: {env: FORESHOCK_HEARTBEAT}
  every: 5m
notify:
  - name: oncall
    severities: [critical]
    group: {wait: 2s, interval: 1m}
    recovery: 30s
    cooldown: 5m
    remind: off
    give_up: 24h
    max_per_hour: 60
    url: {env: SLACK}
    template:
      title: "{{.Title}} \"now\""
      body: "{{.Body}}\n\nRunbook: {{.Host}}"
  - name: mail
    severities: [critical]
    group: {wait: 0s, interval: 0s}
    recovery: 0s
    cooldown: 0s
    remind: off
    give_up: 24h
    max_per_hour: 60
    url: {file: /etc/foreshock/mail.url}
    # template: none, so it gets our own words
  - name: ops
    severities: [critical]
    only: [{scope: "backend/shop*", cause: "peer_*", severity: "warning"}, {everything: true}]
    group: {wait: 2s, interval: 1m}
    recovery: 30s
    cooldown: 5m
    remind: 4h
    give_up: 3d
    max_per_hour: 30
    webhook:
      url: "https://ops.example/hook?a=1"
      secret: {env: HOOK}
  - name: am
    severities: [watch, warning, critical]
    recovery: 1m
    cooldown: 0s
    give_up: 1h30m
    alertmanager: {urls: ["http://127.0.0.1:9093", "http://[::1]:9093"]}
  - name: log
    severities: [warning, critical]
    group: {wait: 0s, interval: 0s}
    recovery: 0s
    cooldown: 0s
    remind: off
    give_up: 24h
    log: true
  - name: "on call"
    severities: [none]
    group: {wait: 0s, interval: 0s}
    recovery: 0s
    cooldown: 0s
    remind: off
    give_up: 24h
    log: true
maintenance:
  - name: backups
    weekdays: [sat, sun]
    from: "22:00"
    to: "04:00"
    zone: Europe/Dublin
    match: {namespace: "db-*", rule: "web \"waits\""}
    why: "the databases: copied"
respond:
  path_lost:
    - after: 0s
      notify: ["ops", "on call"]
    - after: 1m30s
      gather: true
    - after: 2m
      hook:
        name: drain
        exec: ["/opt/my hooks/drain", "--all", "a\"b"]
        timeout: 1m
      dry_run: false
      max_per_hour: 1
    - after: 5m
      follow_up: true
      escalate: ["on call"]
  default:
    - after: 0s
      hook:
        name: scale
        webhook:
          url: "https://ops.example/scale?a=1"
          secret: {env: SCALE}
        timeout: 20s
      dry_run: true
      max_per_hour: 2
    - after: 1h
      escalate: ["on call"]
      unless: acknowledged
drain:
  - name: shop.example
    old: ["192.0.2.10", "2001:db8::10"]
    new: ["198.51.100.7"]
    ports: [80, 443]
    ttl: 1m30s
    resolvers: ["public", "192.0.2.53", "[2001:db8::53]:5353"]
    identity:
      url: "https://shop.example/?a=1"
      expect:
        status: 204
        body_contains: "a \"b\""
        header: "X-Site: shop"
    deadline: 2h
  - name: www.shop.example
    # old and new: none, so a switch is noticed by itself
    resolvers: ["system"]
    identity:
      url: "http://www.shop.example"
      # expect: any status below 400
    # deadline: four times the TTL, 15m at least
asn_database: "my asn.mmdb"
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Effective(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Effective (-want +got):\n%s", diff)
			}
			sameAgain(t, tt.in)
		})
	}
}

// weekly is a window that ParseWeekly reads.
func weekly(text string) silence.Window {
	w, err := silence.ParseWeekly(text)
	if err != nil {
		panic(err)
	}
	return w
}

// sameAgain checks that Parse(Effective(c)) is c.
func sameAgain(t interface {
	Helper()
	Fatalf(string, ...any)
}, c Config) {
	t.Helper()
	text := Effective(c)
	got, err := Parse("effective", []byte(text))
	if err != nil {
		t.Fatalf("Parse refuses what Effective wrote: %v\n%s", err, text)
	}
	if diff := cmp.Diff(c, got, addresses, cmpopts.IgnoreFields(Rule{}, "Line", "Column"), cmpopts.IgnoreFields(Region{}, "Line", "Column"), cmpopts.IgnoreFields(Template{}, "TitleLine", "BodyLine"), places); diff != "" {
		t.Fatalf("Parse(Effective(c)) (-want +got):\n%s\n%s", diff, text)
	}
}

// configs draws any Config that a file can say.
func configs() *rapid.Generator[Config] {
	text := rapid.OneOf(
		rapid.StringOf(rapid.RuneFrom([]rune("abz019 ._-:/#'\"\\{}[],&*!|>%@`~?=+<$é日😀\u0301"))),
		rapid.SampledFrom([]string{"null", "true", "no", "~", "1e3", "0x1f", ".nan", "-.inf", "2026-01-01", "12:30:45", "<<", "---", "- a", "a: b", "a #b", "0b1", "0o7", "1_000", "=", "''"}),
		rapid.StringN(0, 20, -1),
	).Filter(func(s string) bool { return printable(s) && strings.TrimSpace(s) == s && len([]rune(s)) <= maxName })
	label := rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_]{0,10}`),
		rapid.SampledFrom([]string{"null", "true", "yes", "y", "NaN", "e1", "_"}),
	).Filter(func(s string) bool { return !strings.HasPrefix(s, "__") })
	address := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)).Unmap() }),
		rapid.SampledFrom([]netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified(), netip.IPv6Loopback()}),
	)
	pools := pools(text, address)
	secret := rapid.OneOf(
		rapid.Just(Secret{}),
		rapid.Map(text, func(s string) Secret { return Secret{File: "/" + s} }),
		rapid.Map(rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_]{0,10}`), func(s string) Secret { return Secret{Env: s} }),
	)
	matchers := rapid.Custom(func(t *rapid.T) silence.Matcher {
		return rapid.OneOf(
			rapid.Just(silence.Matcher{Everything: true}),
			rapid.Map(text.Filter(func(s string) bool { return s != "" }), func(s string) silence.Matcher { return silence.Matcher{Rule: s, Scope: "*", Cause: "peer_*"} }),
			rapid.Map(text.Filter(func(s string) bool { return s != "" }), func(s string) silence.Matcher { return silence.Matcher{Namespace: s, Severity: "watch"} }),
		).Draw(t, "matcher")
	})
	return rapid.Custom(func(t *rapid.T) Config {
		c := Config{
			Name:   text.Draw(t, "name"),
			Listen: netip.AddrPortFrom(address.Draw(t, "listen"), rapid.Uint16().Draw(t, "listen port")),
			Token:  secret.Draw(t, "token"), ReadToken: secret.Draw(t, "read token"),
			Observe: Observe{
				CPUBudget:  rapid.Float64Range(MinCPUBudget, MaxCPUBudget).Draw(t, "budget"),
				Namespaces: rapid.SampledFrom([]Namespaces{AllNamespaces, HostNamespace}).Draw(t, "namespaces"),
			},
		}
		c.StateDir = rapid.SampledFrom([]string{"", NoStateDir, "/srv/a b", "/"}).Draw(t, "state dir")
		c.History = History{
			Raw:     time.Duration(rapid.Int64Range(int64(MinRaw), int64(MaxRaw)).Draw(t, "raw")),
			Minutes: time.Duration(rapid.Int64Range(1, 400).Draw(t, "minutes")) * 24 * time.Hour,
			MaxSize: rapid.Int64Range(MinHistory, MaxHistory).Draw(t, "max size"),
		}
		if labels := rapid.MapOf(label, text).Draw(t, "labels"); len(labels) > 0 {
			c.Labels = labels
		}
		names := rapid.SliceOfDistinct(text.Filter(func(s string) bool { return s != "" }), rapid.ID).Draw(t, "services")
		for i, name := range names {
			s := Service{Name: name, WorkersFrom: rapid.SampledFrom([]WorkersFrom{{}, {Learn: true}, {Limit: 1}, {Limit: MaxWorkers}}).Draw(t, "workers")}
			for j := range rapid.IntRange(1, 4).Draw(t, "listeners") {
				// A port of its own for each, so that nothing is claimed twice.
				s.Listen = append(s.Listen, netip.AddrPortFrom(address.Draw(t, "address"), uint16(1+4*i+j)))
			}
			c.Services = append(c.Services, s)
		}
		c.Backends = pools.Draw(t, "backends")
		if url := secret.Draw(t, "heartbeat"); !url.IsZero() {
			c.Heartbeat = &Heartbeat{url, time.Duration(rapid.Int64Range(int64(MinHeartbeat), int64(MaxHeartbeat)).Draw(t, "every"))}
		}
		for _, name := range rapid.SliceOfDistinct(text.Filter(func(s string) bool { return s != "" }), rapid.ID).Draw(t, "rules") {
			c.Rules = append(c.Rules, Rule{
				Name: name, When: rapid.StringMatching("[ -~\n\t]{0,40}[!-~]").Draw(t, "when"),
				Hold:     time.Duration(rapid.Int64Range(0, int64(MaxHold)).Draw(t, "hold")),
				Severity: rapid.SampledFrom(Severities()).Draw(t, "severity"), Advice: text.Draw(t, "advice"),
			})
		}
		for _, name := range rapid.SliceOfDistinct(text.Filter(func(s string) bool { return s != "" }), rapid.ID).Draw(t, "channels") {
			span := func(most time.Duration, label string) time.Duration {
				return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, label))
			}
			channel := Channel{Name: name, Severities: DefaultSeverities(), Only: rapid.SliceOfN(matchers, 0, 2).Draw(t, "only"), Calm: Calm{
				Wait: span(MaxWait, "wait"), Interval: span(MaxInterval, "interval"), Recovery: span(MaxRecovery, "recovery"), Cooldown: span(MaxCooldown, "cooldown"),
				Remind: rapid.SampledFrom([]time.Duration{0, MinRemind, MaxRemind}).Draw(t, "remind"),
			}}
			channel.MaxPerHour = rapid.IntRange(0, MaxPerHour).Draw(t, "rate")
			channel.GiveUp = time.Duration(rapid.IntRange(1, 7*24*60).Draw(t, "minutes to give up")) * time.Minute
			if len(channel.Only) == 0 {
				channel.Only = nil
			}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				channel.Log = true
			case 1:
				channel.Webhook = &Webhook{URL: "https://" + rapid.StringMatching("[a-z]{1,9}(/[a-z]{1,9})?").Draw(t, "url"), Secret: secret.Draw(t, "key")}
			default:
				channel.Alertmanager = &Alertmanager{URLs: []string{"http://127.0.0.1:9093"}}
				channel.Calm.Wait, channel.Calm.Interval, channel.Calm.Remind = 0, 0, 0
			}
			c.Notify = append(c.Notify, channel)
		}
		for _, name := range rapid.SliceOfDistinct(text.Filter(func(s string) bool { return s != "" }), rapid.ID).Draw(t, "maintenance") {
			days := rapid.SliceOfNDistinct(rapid.SampledFrom(silence.Weekdays()), 1, 7, rapid.ID).Draw(t, "weekdays")
			from, to := rapid.IntRange(0, 23).Draw(t, "from"), rapid.IntRange(0, 23).Draw(t, "to")
			w, err := silence.ParseWindow(days, fmt.Sprintf("%02d:00", from), fmt.Sprintf("%02d:30", to), rapid.SampledFrom([]string{"UTC", "Europe/Dublin", "Etc/GMT+3"}).Draw(t, "zone"))
			if err != nil {
				t.Fatal(err)
			}
			c.Maintenance = append(c.Maintenance, Maintenance{Name: name, Window: w, Match: matchers.Draw(t, "match"), Why: name})
		}
		if rapid.Bool().Draw(t, "tls") {
			path := rapid.Map(text, func(s string) string { return "/" + s })
			c.TLS = TLS{Cert: path.Draw(t, "cert"), Key: path.Draw(t, "key")}
			if rapid.Bool().Draw(t, "client certificates") {
				c.TLS.ClientCA = path.Draw(t, "client CA")
			}
		}
		if c.BehindProxy = rapid.Bool().Draw(t, "behind a proxy"); c.MayListen(c.Listen) != nil {
			c.BehindProxy = true
		}
		c.Drain = drainsOf(address).Draw(t, "drain")
		c.Respond = responsesOf(c.Notify, text, secret).Draw(t, "respond")
		c.Baseline = Baseline{
			Learn: time.Duration(rapid.IntRange(1, MaxLearnDays).Draw(t, "days")) * day, Factor: rapid.Float64Range(1, MaxFactor).Draw(t, "factor"), Quantile: rapid.Float64Range(leastUsual, mostUsual).Draw(t, "quantile"),
		}
		return c
	})
}

// drainsOf draws names whose addresses change.
func drainsOf(address *rapid.Generator[netip.Addr]) *rapid.Generator[[]Drain] {
	there := address.Filter(func(a netip.Addr) bool { return !a.IsUnspecified() && !a.IsMulticast() })
	return rapid.Custom(func(t *rapid.T) []Drain {
		var out []Drain
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z_][a-z0-9_]{0,9}(\.[a-z]{1,9}){0,3}`), 0, 3, rapid.ID).Draw(t, "names") {
			d := Drain{Name: name, Resolvers: DefaultResolvers()}
			if all := rapid.SliceOfNDistinct(there, 0, 4, rapid.ID).Draw(t, "addresses"); len(all) > 1 {
				d.Old, d.New = all[:len(all)-1], all[1:]
			}
			if ports := rapid.SliceOfNDistinct(rapid.Uint16Min(1), 0, 3, rapid.ID).Draw(t, "ports"); len(ports) > 0 {
				d.Ports = ports
			}
			if rapid.Bool().Draw(t, "more") {
				d.TTL = time.Duration(rapid.Int64Range(int64(MinTTL), int64(MaxTTL)).Draw(t, "ttl"))
				d.Deadline = time.Duration(rapid.Int64Range(int64(MinDeadline), int64(MaxDeadline)).Draw(t, "deadline"))
				d.Resolvers = []Resolver{{Which: PublicResolvers}, {Server: netip.AddrPortFrom(there.Draw(t, "server"), rapid.Uint16Min(1).Draw(t, "port"))}}
				d.Identity = &Identity{URL: "https://a.example/?b=c", Status: rapid.IntRange(200, 599).Draw(t, "status"), BodyContains: rapid.SampledFrom([]string{"", `a "b": c`}).Draw(t, "body")}
			}
			out = append(out, d)
		}
		return out
	})
}

// FuzzParseDrain: no panic; what is refused says why and what to write; what is
// understood reads the same when it is spelled out.
func FuzzParseDrain(f *testing.F) {
	for _, s := range []string{"shop.example", "Shop.Example.", "192.0.2.1", "::ffff:192.0.2.1", "[2001:db8::1]:53", "192.0.2.1:0", "system", "fe80::1%eth0", "", ".", "*", "a..", "X-Site: shop", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, problem, hint := ParseDomain(text)
		if again, _, _ := ParseDomain(name); (problem == "") != (name != "") || (problem == "") != (hint == "") || problem == "" && again != name {
			t.Errorf("name %q: %q, %q, %q", text, name, problem, hint)
		}
		addr, problem, hint := ParseAddress(text)
		if again, _, _ := ParseAddress(addr.String()); (problem == "") != addr.IsValid() || (problem == "") != (hint == "") || problem == "" && again != addr {
			t.Errorf("address %q: %v, %q, %q", text, addr, problem, hint)
		}
		r, problem, hint := ParseResolver(text)
		if again, _, _ := ParseResolver(r.String()); (problem == "") != (r != Resolver{}) || (problem == "") != (hint == "") || problem == "" && again != r {
			t.Errorf("resolver %q: %v, %q, %q", text, r, problem, hint)
		}
		if problem, hint := CheckHeader(text); (problem == "") != (hint == "") {
			t.Errorf("header %q: %q, %q", text, problem, hint)
		}
	})
}

// responsesOf draws responses that tell these channels.
func responsesOf(channels []Channel, text *rapid.Generator[string], secret *rapid.Generator[Secret]) *rapid.Generator[[]Response] {
	return rapid.Custom(func(t *rapid.T) []Response {
		var out []Response
		hooks := 0
		for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z_]{1,9}`), 0, 3, rapid.ID).Draw(t, "keys") {
			r := Response{Key: key}
			after := time.Duration(0)
			for range rapid.IntRange(1, 5).Draw(t, "steps") {
				after += time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "after"))
				s := ResponseStep{After: after}
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					s.Gather = true
				case 1:
					s.FollowUp = true
				case 2, 3:
					hooks++
					s.Hook = &Hook{Name: fmt.Sprintf("hook%d", hooks), Timeout: time.Duration(rapid.Int64Range(int64(MinHookTimeout), int64(MaxHookTimeout)).Draw(t, "timeout"))}
					s.DryRun, s.MaxPerHour = rapid.Bool().Draw(t, "dry run"), rapid.IntRange(1, MaxMaxPerHour).Draw(t, "max per hour")
					if rapid.Bool().Draw(t, "webhook") {
						s.Hook.Webhook = &Webhook{URL: "https://a.example/", Secret: secret.Draw(t, "key")}
					} else {
						s.Hook.Exec = append([]string{"/" + text.Draw(t, "path")}, rapid.SliceOfN(rapid.StringN(0, 9, -1).Filter(printable), 0, 3).Draw(t, "arguments")...)
					}
				default:
					if len(channels) == 0 {
						s.Gather = true
						break
					}
					s.Escalate = []string{channels[0].Name}
					s.UnlessAcknowledged = rapid.Bool().Draw(t, "unless acknowledged")
				}
				r.Steps = append(r.Steps, s)
			}
			out = append(out, r)
		}
		return out
	})
}

func TestEffectiveParsesToTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { sameAgain(t, configs().Draw(t, "config")) })
}

func TestPercentIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Float64Range(MinCPUBudget, 1000).Draw(t, "share")
		m := plainNumber.FindStringSubmatch(percent(want))
		if m == nil || m[2] != "%" {
			t.Fatalf("percent(%g) = %q", want, percent(want))
		}
		p := &problems{}
		got := checkBudget(p, "x", scalar{Text: percent(want)})
		if want <= MaxCPUBudget && got != want || want > MaxCPUBudget && p.err() == nil {
			t.Fatalf("percent(%g) = %q reads as %g, %v", want, percent(want), got, p.err())
		}
	})
}

// FuzzParse holds that Parse never panics, gives no Config beside an error,
// and accepts only what Effective can write again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(Reference()))
	f.Add([]byte(uncommented()))
	f.Add([]byte("name: \"a\\u00e9\"\nlabels: {a: 'b'}\ntoken: {env: X}\nservices: [{name: |\n x\n, listen: [\":80\"]}]"))
	data, err := os.ReadFile(filepath.Join("testdata", "refused.txt"))
	if err != nil {
		f.Fatal(err)
	}
	cases := strings.Split(string(data), "\n=== ")[1:]
	if len(cases) == 0 {
		f.Fatal("testdata/refused.txt has no cases")
	}
	for _, c := range cases {
		_, rest, _ := strings.Cut(c, "\n")
		in, _, _ := strings.Cut(rest, "\n--- \n")
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz", data)
		if err != nil {
			if diff := cmp.Diff(Config{}, c, addresses); diff != "" {
				t.Fatalf("a Config beside the error %v:\n%s", err, diff)
			}
			for _, e := range each(t, err) {
				if e.Line < 0 || e.Column < 0 || e.Problem == "" || e.Hint == "" {
					t.Fatalf("an incomplete error: %+v", e)
				}
			}
			return
		}
		sameAgain(t, c)
	})
}

// FuzzParseListener: no panic; what is none comes with the zero value; what is
// understood has a port and no zone, is folded, and reads the same when it is
// spelled out.
func FuzzParseListener(f *testing.F) {
	for _, s := range []string{":80", "192.0.2.1:80", "[::1]:443", "[::ffff:192.0.2.1]:80", ":0", ":65536", "80", "[fe80::1%eth0]:80", "", ":+80", "[::]:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := ParseListener(text)
		if !ok {
			if got != (netip.AddrPort{}) {
				t.Errorf("%q: %v though it is none", text, got)
			}
			return
		}
		if got.Port() == 0 || !got.Addr().IsValid() || got.Addr().Zone() != "" || got.Addr().Is4In6() {
			t.Errorf("%q: %v", text, got)
		}
		for _, again := range []string{got.String(), ListenerText(got)} {
			if back, ok := ParseListener(again); !ok || back != got {
				t.Errorf("%q: %v spelled %q is %v, %v", text, got, again, back, ok)
			}
		}
	})
}
