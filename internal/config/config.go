// Package config turns the one YAML file people write into a checked [Config].
//
// It is strict: an unknown key, a wrong type, a wrong unit or a duplicate is
// refused as an [Error] that names file, line and column, quotes what was
// wrong and says what to do. All problems of a file come at once.
//
//	cfg, err := config.Load("/etc/foreshock/foreshock.yaml")
//	if err != nil {
//		return err // one line for each problem
//	}
//	fmt.Print(config.Effective(cfg)) // what now holds, defaults included
//
// [Parse] is pure; [Load] reads the file first. [Reference] and [Schema]
// describe every key. The package knows nothing of the others: mapping a Config to
// each package's own settings is the roof's work.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/foreshock/foreshock/internal/enum"
	"github.com/foreshock/foreshock/internal/silence"
)

// MaxSize is the largest file that is read, in bytes. A thousand services
// with all their settings need a tenth of it.
const MaxSize = 1 << 20

// The CPU budget's range, as shares of one core. Below 0.1 % not even the
// listeners' queues can be read four times a second; above half a core the
// watcher would be the load.
const (
	MinCPUBudget = 0.001
	MaxCPUBudget = 0.5
)

// Config is what a file says, checked, with defaults filled in.
type Config struct {
	// Name is what notices, metrics and reports call this host. Empty means
	// the host's own name, which the roof fills in.
	Name string
	// Labels are added to every notice, and to the metric foreshock_host_info;
	// nil when there are none.
	Labels map[string]string
	// Listen is where the API, the page and /metrics are served. Port 0 lets
	// the kernel choose.
	Listen netip.AddrPort
	// Token is what a call that changes something must present. Zero means
	// that there is none and such calls are refused.
	Token Secret
	// TLS is what is served with. Beyond loopback it takes that, and ReadToken or
	// TLS.ClientCA, or BehindProxy.
	TLS TLS
	// ReadToken is what reading takes; zero: none.
	ReadToken Secret
	// BehindProxy says that only a proxy can connect, which adds TLS and says who
	// may read.
	BehindProxy bool
	Observe     Observe
	Services    []Service // as written; nil when they are to be found
	// Backends are the pools whose members are judged; known load balancers
	// are found without being named here.
	Backends []Backends
	// Regions are remote prefixes that are judged as one; nil when there are
	// none.
	Regions []Region
	// Presets are the names of embedded files of rules that are switched on.
	Presets []string
	Rules   []Rule
	Notify  []Channel
	// Heartbeat tells somebody else that the agent is alive; nil where nobody is
	// told.
	Heartbeat *Heartbeat
	// Maintenance are times of each week in which nobody is told of some
	// incidents.
	Maintenance []Maintenance
	// Respond is what is done about incidents, as written.
	Respond []Response
	// Drain are names whose addresses change; nil when there are none.
	Drain []Drain
	// ASNDatabase says whose the clients of old addresses are.
	ASNDatabase ASNDatabase
	// Baseline is how what is usual is learned.
	Baseline Baseline
	// StateDir is where the agent keeps what is to outlive it: an absolute
	// path, NoStateDir to keep nothing, or empty for the place that the roof
	// finds.
	StateDir string
	History  History
	// PublicURL is where people reach the page, for links in notices; empty
	// when notices have none. It has no slash at its end.
	PublicURL string
}

// Rule is an expression over signals in the user's own words. The expression
// is checked by whoever compiles it: this package knows no signals.
type Rule struct {
	Name string // unique in the file
	When string // an expression that is true or false
	// Hold is for how long it must be true before it is a finding.
	Hold time.Duration
	// Severity is "watch", "warning" or "critical".
	Severity string
	// Advice says what to do; may be empty.
	Advice string
	// Line and Column are where the file has the expression's first character,
	// for messages; Column is 0 where the expression goes over several lines.
	Line, Column int
}

// Refused is what Parse would say of a rule whose expression is wrong at a
// byte offset; -1 is the expression as a whole.
func (r Rule) Refused(file string, offset int, problem, hint string) error {
	at := position{r.Line, max(1, r.Column)}
	if r.Column > 0 && offset > 0 && offset <= len(r.When) {
		at.Column += utf8.RuneCountInString(r.When[:offset])
	}
	return &Error{File: file, Line: at.Line, Column: at.Column, Key: "rules." + r.Name + ".when", Text: shorten(r.When), Problem: fmt.Sprintf("rule %s: %s", quote(r.Name), problem), Hint: hint}
}

// Channel is one place where notices go: exactly one of its kinds is set.
type Channel struct {
	Name string // unique in the file
	// Severities are those that are sent; warning and critical by default, and
	// NoSeverity alone where only a response names the channel.
	Severities []string
	// Only are matchers of which one must match; nil: everything does.
	Only []silence.Matcher
	Calm Calm
	// GiveUp is for how long a notice is tried while the receiver is out of
	// order. Between MinGiveUp and MaxGiveUp.
	GiveUp time.Duration
	// MaxPerHour is how many notices are delivered within an hour; 0 is any
	// number.
	MaxPerHour   int
	Log          bool // our own log
	Webhook      *Webhook
	Alertmanager *Alertmanager
	Library      *Library
}

// Library is a service of the notification library.
type Library struct {
	// URL is where its address is.
	URL Secret
	// Template says what it is sent; zero: in our own words.
	Template Template
}

// Template is what a service is sent, in Go's template language. It is checked
// by whoever parses it: this package knows no notices.
type Template struct {
	Title, Body string // empty: our own words
	// TitleLine and BodyLine are where the file has their first lines, for
	// messages.
	TitleLine, BodyLine int
}

// MaxTemplate is how long a template may be, in bytes.
const MaxTemplate = 16 << 10

// RefusedTemplate is what Parse would say of a template whose part, "title" or
// "body", is wrong in a line, from 1; 0 is the part as a whole.
func (c *Channel) RefusedTemplate(file, part string, line int, problem string) error {
	t := c.Library.Template
	text, at := t.Body, t.BodyLine
	if part == "title" {
		text, at = t.Title, t.TitleLine
	}
	return &Error{
		File: file, Line: at + max(0, line-1), Column: 1, Key: "notify." + c.Name + ".template." + part, Text: shorten(text),
		Problem: fmt.Sprintf("channel %s: the template's %s: %s", quote(c.Name), part, problem), Hint: "docs/NOTICES.md says what a template sees; foreshock notify test " + c.Name + " --print shows what it makes",
	}
}

// Webhook is one URL that takes signed JSON.
type Webhook struct {
	URL string // http or https
	// Secret is the key of the signature; zero sends unsigned.
	Secret Secret
}

// Alertmanager is the members of one cluster: each of them gets every alert.
type Alertmanager struct {
	URLs []string
}

// Observe says how hard to look.
type Observe struct {
	// CPUBudget is what all looks together may cost, as a share of one core:
	// 0.01 is 1 %. Between MinCPUBudget and MaxCPUBudget.
	CPUBudget float64
	// Namespaces is which network namespaces of the host are read.
	Namespaces Namespaces
}

// Namespaces is which network namespaces are read. The zero value is all.
type Namespaces uint8

// The choices.
const (
	AllNamespaces Namespaces = iota // every one that can be, containers' too
	HostNamespace                   // the agent's own
)

var namespaceNames = [...]string{"all", "host"}

// String is how the file spells it: "all".
func (n Namespaces) String() string { return enum.Name(n, "namespaces", namespaceNames[:]) }

// Service names the listeners that are judged as one.
type Service struct {
	// Name is unique in the file.
	Name string
	// Listen is where it listens, in the order written, at least one. An
	// unspecified address claims the port on every address, and [::] claims
	// IPv4 too. IPv4-mapped addresses are folded to IPv4.
	Listen []netip.AddrPort
	// WorkersFrom says where the limit of its workers comes from.
	WorkersFrom WorkersFrom
}

// Backends is a pool that a process of this host talks to.
type Backends struct {
	// Name is unique in the file; it is the group of its members.
	Name     string
	Process  Process
	Discover Discover
	// Status says how often the balancer itself is asked what it thinks of its
	// backends; zero is never. Only with HAProxy or Traefik.
	Status time.Duration
}

// Process chooses processes; each field that is set must match. All of them
// that match are meant, also those that start later.
type Process struct {
	Name      string         // the short name, /proc/PID/comm
	Exe       string         // the program's path
	Unit      string         // the service unit, "haproxy.service"
	Container string         // the container's id or the beginning of it, 12 digits at least
	Cgroup    string         // the cgroup's path, or that of one above it
	Listens   netip.AddrPort // whoever listens there; an unspecified address is any
}

// IsZero reports whether no process is chosen.
func (p Process) IsZero() bool { return p == Process{} }

// Discover says where a pool's members come from. With none of them, they are
// the addresses that the process is seen to talk to. At most one is set.
type Discover struct {
	HAProxySocket string   // path of the runtime socket
	TraefikAPI    string   // base URL of the API
	TraefikFile   string   // the file of Traefik's file provider
	DNS           []string // names with ports, "shop.internal:8080"
	Static        []Member
}

// Source is who gives a pool its members, as the API shows it: "configured",
// "haproxy /run/haproxy.sock", "traefik http://…", "dns"; empty where they are
// observed.
func (d Discover) Source() string {
	switch {
	case len(d.Static) > 0:
		return "configured"
	case d.HAProxySocket != "":
		return "haproxy " + d.HAProxySocket
	case d.TraefikAPI != "":
		return "traefik " + d.TraefikAPI
	case d.TraefikFile != "":
		return "traefik " + d.TraefikFile
	case len(d.DNS) > 0:
		return "dns"
	}
	return ""
}

// Member is a backend as the user lists it.
type Member struct {
	Name   string // the address when none is given
	Remote netip.AddrPort
}

// WorkersFrom is where a service's limit of workers comes from. The zero value
// is auto: read from the server's own configuration, else learned.
type WorkersFrom struct {
	Learn bool // never read, only learned
	Limit int  // this many; 0 when not given
}

// Presets returns the names of the embedded files of rules.
func Presets() []string { return []string{"backends-article", "regions-article", "workers-article"} }

// DefaultHold is for how long a rule must be true unless it says otherwise.
const DefaultHold = 10 * time.Second

// Severities returns what a rule and a channel may name.
func Severities() []string { return []string{"watch", "warning", "critical"} }

// NoSeverity is what a channel gets that only a response names.
const NoSeverity = "none"

// DefaultSeverities returns what a channel sends unless it says otherwise.
func DefaultSeverities() []string { return []string{"warning", "critical"} }

// The bounds of a rule.
const (
	MaxHold       = time.Hour
	MaxExpression = 2048 // bytes
	MaxWorkers    = 1_000_000
)

// Default returns what holds with no file at all.
func Default() Config {
	return Config{
		Listen:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9748),
		Observe: Observe{CPUBudget: 0.01}, Baseline: DefaultBaseline(), History: defaultHistory(),
	}
}

// Parse checks data, the content of the file called name. An empty file, or
// one of comments, gives the defaults. With an error, which joins one *Error
// for each problem in the order of the file, the Config is zero.
func Parse(name string, data []byte) (Config, error) {
	p := &problems{file: name}
	root, ok := tree(p, data)
	if !ok {
		return Config{}, p.err()
	}
	raw := decode(p, root)
	cfg := check(p, raw)
	if err := p.err(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Load reads and parses the file at path. Where it cannot be read, the error
// wraps the operating system's: errors.Is(err, fs.ErrNotExist) works.
func Load(path string) (Config, error) {
	data, err := ReadPlain(path, MaxSize)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Config{}, fmt.Errorf("read the configuration: %w; make it readable for the user that Foreshock runs as", err)
	case err != nil:
		return Config{}, fmt.Errorf("read the configuration: %w; name a plain file that is there, or none to run with the defaults", err)
	}
	return Parse(path, data)
}
