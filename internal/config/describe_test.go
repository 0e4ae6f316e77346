package config

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/silence"
)

// setting is a line of the reference that sets something, which is what has
// its # at the very start and no space between it and what belongs to it.
var setting = regexp.MustCompile(`(?m)^#((?:  )*(?:- )?[a-z_]+:.*)$`)

// uncommented is the reference with everything set.
func uncommented() string {
	return setting.ReplaceAllString(Reference(), "$1")
}

func TestReference(t *testing.T) {
	got, err := Parse("reference.yaml", []byte(Reference()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, addresses); diff != "" {
		t.Errorf("the reference as it is (-want +got):\n%s", diff)
	}

	got, err = Parse("reference.yaml", []byte(uncommented()))
	if err != nil {
		t.Fatalf("%v\n%s", err, uncommented())
	}
	reminding := DefaultCalm()
	reminding.Remind = 4 * time.Hour
	// What is shown for a key with a default of its own is that default.
	want := with(func(c *Config) {
		c.Name = "web03"
		c.Labels = map[string]string{"site": "cork", "role": "web"}
		c.Token = Secret{File: "/etc/foreshock/token"}
		c.TLS = TLS{Cert: "/etc/foreshock/tls/cert.pem", Key: "/etc/foreshock/tls/key.pem", ClientCA: "/etc/foreshock/tls/clients.pem"}
		c.ReadToken = Secret{File: "/etc/foreshock/read-token"}
		c.Services = []Service{{Name: "web", Listen: addrPorts("[::]:80", "[::]:443")}}
		c.Backends = []Backends{
			{
				Name: "shop", Process: Process{Unit: "haproxy.service"},
				Discover: Discover{HAProxySocket: "/run/haproxy/admin.sock"}, Status: DefaultStatus,
			},
			{
				Name: "edge", Process: Process{Exe: "/usr/local/bin/traefik", Container: "4f66ad9a0b2e"},
				Discover: Discover{TraefikAPI: "http://127.0.0.1:8080"}, Status: 30 * time.Second,
			},
			{Name: "pages", Process: Process{Listens: addrPorts("[::]:443")[0]}, Discover: Discover{TraefikFile: "/etc/traefik/dyn.yml"}},
			{Name: "orders", Process: Process{Name: "orders", Cgroup: "/system.slice"}, Discover: Discover{DNS: []string{"db.internal:5432"}}},
			{Name: "cache", Process: Process{Unit: "orders.service"}, Discover: Discover{Static: []Member{
				{Name: "192.0.2.10:6379", Remote: addrPorts("192.0.2.10:6379")[0]},
				{Name: "second", Remote: addrPorts("192.0.2.11:6379")[0]},
			}}},
		}
		c.Regions = []Region{
			{Name: "cork", CIDRs: prefixes("192.0.2.0/24", "2001:db8:1::/48")},
			{Name: "dublin", File: "/etc/foreshock/ip-ranges.json", Path: "/etc/foreshock/ip-ranges.json", Select: Select{"eu-west-1", "EC2"}},
		}
		c.StateDir = "/var/lib/foreshock"
		c.PublicURL = "https://web03.example:9748"
		c.Presets = []string{"workers-article"}
		c.Rules = []Rule{{
			Name: "web-waits", When: "service.queue_wait_seconds > 0.5 && service.accepted >= 20", Hold: DefaultHold,
			Severity: "warning", Advice: "Take a web host out of the pool.",
		}}
		c.Heartbeat = &Heartbeat{Secret{File: "/etc/foreshock/heartbeat.url"}, time.Minute}
		c.Notify = []Channel{
			{Name: "oncall", Severities: DefaultSeverities(), GiveUp: DefaultGiveUp, MaxPerHour: DefaultLibraryPerHour, Calm: DefaultCalm(), Library: &Library{URL: Secret{File: "/etc/foreshock/slack.url"}, Template: Template{Title: "{{.Title}}", Body: "{{.Body}}"}}},
			{Name: "ops", Severities: DefaultSeverities(), GiveUp: DefaultGiveUp, MaxPerHour: 60, Only: []silence.Matcher{{Scope: "backend/shop*", Cause: "peer_*", Severity: "warning", Namespace: "shop-*"}, {Rule: "web-waits"}, {Everything: true}}, Calm: reminding, Webhook: &Webhook{URL: "https://ops.example/hook", Secret: Secret{File: "/etc/foreshock/hook.key"}}},
			{Name: "alertmanager", Severities: DefaultSeverities(), GiveUp: DefaultGiveUp, Alertmanager: &Alertmanager{URLs: []string{"http://127.0.0.1:9093"}}},
			{Name: "log", Severities: DefaultSeverities(), GiveUp: DefaultGiveUp, Log: true},
		}
		c.Maintenance = []Maintenance{
			{Name: "backups", Window: weekly("sat,sun 02:00-04:00 Europe/Dublin"), Match: silence.Matcher{Scope: "backend/db*", Cause: "*", Severity: "critical", Namespace: "*", Rule: "*"}, Why: "the databases are copied"},
			{Name: "moving", Window: weekly("sun 22:00-04:00 UTC"), Match: silence.Matcher{Everything: true}, Why: "moving"},
		}
		c.Respond = []Response{
			{Key: "gradual_saturation", Steps: []ResponseStep{
				{Notify: []string{"ops"}},
				{After: time.Minute, Gather: true},
				{After: 2 * time.Minute, Hook: &Hook{Name: "add-workers", Exec: []string{"/usr/local/bin/add-workers", "web"}, Timeout: DefaultHookTimeout}, DryRun: true, MaxPerHour: DefaultMaxPerHour},
				{After: 5 * time.Minute, FollowUp: true, Escalate: []string{"ops"}},
				{After: 15 * time.Minute, Escalate: []string{"ops"}, UnlessAcknowledged: true},
			}},
			{Key: "default", Steps: []ResponseStep{
				{After: 2 * time.Minute, Hook: &Hook{Name: "ops.example", Timeout: DefaultHookTimeout, Webhook: &Webhook{URL: "https://ops.example/scale", Secret: Secret{File: "/etc/foreshock/hook.key"}}},
					DryRun: true, MaxPerHour: DefaultMaxPerHour},
			}},
		}
		c.Drain = []Drain{
			{
				Name: "shop.example", Old: addrs("192.0.2.10", "2001:db8::10"), New: addrs("198.51.100.7", "2001:db8:1::7"), Ports: []uint16{443}, TTL: time.Minute,
				Resolvers: []Resolver{{Which: SystemResolvers}, {Server: addrPorts("192.0.2.53:53")[0]}, {Server: addrPorts("192.0.2.54:5353")[0]}},
				Identity:  &Identity{URL: "https://shop.example/healthz", Status: 200, BodyContains: "shop", Header: "X-Site: shop"}, Deadline: time.Hour,
			},
			{Name: "www.shop.example", Resolvers: DefaultResolvers()},
		}
		c.ASNDatabase = ASNDatabase{File: "/var/lib/GeoIP/asn.mmdb", Path: "/var/lib/GeoIP/asn.mmdb"}
	})
	if diff := cmp.Diff(want, got, addresses, cmpopts.IgnoreFields(Rule{}, "Line", "Column"), cmpopts.IgnoreFields(Region{}, "Line", "Column"), cmpopts.IgnoreFields(Template{}, "TitleLine", "BodyLine"), places); diff != "" {
		t.Errorf("the reference with everything set (-want +got):\n%s", diff)
	}
}

// TestReferenceHasEveryKey finds each key of the raw types in the reference,
// read by the YAML library itself. The second way to say where a secret is
// stands in a comment, as both at once are refused.
func TestReferenceHasEveryKey(t *testing.T) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(uncommented()), &tree); err != nil {
		t.Fatal(err)
	}
	want := keyPaths(reflect.TypeFor[rawFile](), "")
	if len(want) < 10 {
		t.Fatalf("the raw types have the keys %v: some are missing", want)
	}
	var got []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, el := range v {
				if path != "labels" { // its keys are the user's
					got = append(got, join(path, k))
				}
				if path == "respond" {
					got, k = got[:len(got)-1], "*" // whatever the key
				}
				walk(join(path, k), el)
			}
		case []any:
			for _, el := range v {
				walk(path+"[]", el)
			}
		}
	}
	walk("", tree)
	if strings.Contains(Reference(), " token: {env: ") {
		got = append(got, "token.env")
	}
	if strings.Contains(Reference(), "read_token: {env: ") {
		got = append(got, "read_token.env")
	}
	if strings.Contains(Reference(), "url: {env: ") {
		got = append(got, "heartbeat.url.env")
	}
	if strings.Contains(Reference(), "secret: {env: ") {
		got = append(got, "notify[].webhook.secret.env", "respond.*[].hook.webhook.secret.env")
	}
	if strings.Contains(Reference(), "url: {env: ") {
		got = append(got, "notify[].url.env")
	}
	slices.Sort(got)
	got = slices.Compact(got) // a list may have several
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of the reference (-raw types +reference):\n%s", diff)
	}
}

func TestSchema(t *testing.T) {
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Version    string            `json:"$schema"`
		Properties map[string]schema `json:"properties"`
		Items      *schema           `json:"items"`
		Additional json.RawMessage   `json:"additionalProperties"`
		Text       string            `json:"description"`
		Default    any               `json:"default"`
		Required   []string          `json:"required"`
	}
	var root schema
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	if want := "https://json-schema.org/draft/2020-12/schema"; root.Version != want {
		t.Errorf("$schema is %q, want %q", root.Version, want)
	}
	var got []string
	found := map[string]schema{}
	var walk func(path string, s schema)
	walk = func(path string, s schema) {
		if len(s.Properties) > 0 && string(s.Additional) != "false" {
			t.Errorf("%q is open: additionalProperties is %s", path, s.Additional)
		}
		for k, el := range s.Properties {
			p := join(path, k)
			got, found[p] = append(got, p), el
			if el.Text == "" {
				t.Errorf("%s has no description", p)
			}
			walk(p, el)
		}
		if path == "respond" { // whatever the key
			var steps schema
			if err := json.Unmarshal(s.Additional, &steps); err != nil {
				t.Error(err)
			}
			walk(path+".*", steps)
		}
		if s.Items != nil {
			walk(path+"[]", *s.Items)
		}
	}
	walk("", root)
	want := keyPaths(reflect.TypeFor[rawFile](), "")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of the schema (-raw types +schema):\n%s", diff)
	}
	if root.Required != nil {
		t.Errorf("the schema asks for %v; every key is optional", root.Required)
	}
	if diff := cmp.Diff([]string{"name", "listen"}, found["services"].Items.Required); diff != "" {
		t.Errorf("required of a service (-want +got):\n%s", diff)
	}
	if got := found["observe.cpu_budget"].Default; got != "1%" {
		t.Errorf("the default of the budget is %v", got)
	}
}

// TestLaterKeys holds that a key comes later only while it is not there.
func TestLaterKeys(t *testing.T) {
	now := keyPaths(reflect.TypeFor[rawFile](), "")
	for _, k := range laterKeys() {
		if slices.Contains(now, k) {
			t.Errorf("%s is there: take it out of laterKeys", k)
		}
	}
}
