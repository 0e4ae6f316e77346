package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// check turns what was read into a Config, on top of the defaults.
func check(p *problems, raw rawFile) Config {
	cfg := Default()
	if raw.Name.Good && checkName(p, "name", raw.Name.scalar) {
		cfg.Name = raw.Name.Text
	}
	cfg.Labels = checkLabels(p, raw.Labels)
	if raw.Listen.Good {
		cfg.Listen = checkListen(p, raw.Listen.scalar)
	}
	cfg.Token = checkSecret(p, "token", raw.Token)
	cfg.TLS = checkTLS(p, raw.TLS)
	cfg.ReadToken = checkSecret(p, "read_token", raw.ReadToken)
	cfg.BehindProxy = raw.BehindProxy.Good && raw.BehindProxy.Text == "true"
	checkAccess(p, raw, cfg)
	if raw.Observe.CPUBudget.Good {
		cfg.Observe.CPUBudget = checkBudget(p, "observe.cpu_budget", raw.Observe.CPUBudget.scalar)
	}
	if raw.Observe.Namespaces.Good {
		cfg.Observe.Namespaces = checkNamespaces(p, "observe.namespaces", raw.Observe.Namespaces.scalar)
	}
	cfg.Services = checkServices(p, raw.Services)
	cfg.Backends = checkBackends(p, raw.Backends)
	cfg.Regions = checkRegions(p, raw.Regions)
	cfg.Baseline = checkBaseline(p, raw.Baseline)
	cfg.StateDir = checkStateDir(p, raw.StateDir.scalar)
	cfg.History = checkHistory(p, raw.History)
	cfg.PublicURL = checkPublicURL(p, raw.PublicURL)
	cfg.Presets = checkPresets(p, raw.Presets)
	cfg.Rules = checkRules(p, raw.Rules)
	cfg.Heartbeat = checkHeartbeat(p, raw.Heartbeat)
	cfg.Notify = checkChannels(p, raw.Notify)
	cfg.Maintenance = checkMaintenance(p, raw.Maintenance)
	cfg.Respond = checkRespond(p, raw.Respond, cfg.Notify)
	cfg.Drain = checkDrains(p, raw.Drain)
	cfg.ASNDatabase = checkDatabase(p, raw.ASNDatabase)
	return cfg
}

// maxName is how long a name or a label may be, in characters: what fits on a
// line of the page and the terminal.
const maxName = 128

// checkName says whether s may stand in a log line, a metric and a table.
func checkName(p *problems, path string, s scalar) bool {
	problem, hint := "", "use printable characters"
	switch {
	case utf8.RuneCountInString(s.Text) > maxName:
		problem, hint = fmt.Sprintf("%s is longer than %d characters", path, maxName), "use a shorter one"
	case strings.TrimSpace(s.Text) != s.Text:
		problem, hint = path+" begins or ends with a space", "remove it"
	case !printable(s.Text):
		problem = path + " has a character that cannot be printed"
	default:
		return true
	}
	p.add(s.At, path, s.Text, problem+": "+quote(s.Text), hint)
	return false
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) })
}

// identifier is what a shell takes as the name of a variable, and Prometheus
// as the name of a label, into whose metrics the labels go. Names that begin
// with __ are Prometheus's own (https://prometheus.io/docs/concepts/data_model/).
var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func checkLabels(p *problems, raw rawLabels) map[string]string {
	out := map[string]string{}
	for _, l := range raw {
		path := "labels." + shorten(l.Key)
		switch {
		case !identifier.MatchString(l.Key) || strings.HasPrefix(l.Key, "__") || len(l.Key) > maxName:
			p.add(l.At, path, l.Key, "the label "+quote(l.Key)+" cannot be the name of a label",
				"use letters, digits and _, not beginning with a digit or with __")
		case l.Value.Good && checkName(p, path, l.Value.scalar):
			out[l.Key] = l.Value.Text
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// checkListen checks the address that we serve on.
func checkListen(p *problems, s scalar) netip.AddrPort {
	at, problem, hint := parseListen(s.Text)
	if problem != "" {
		p.add(s.At, "listen", s.Text, problem, hint)
	}
	return at
}

// ParseListen reads the value of listen: an IP address or localhost, and a
// port, where 0 lets the kernel choose.
func ParseListen(text string) (netip.AddrPort, error) {
	at, problem, hint := parseListen(text)
	if problem != "" {
		return netip.AddrPort{}, fmt.Errorf("%s: %s", problem, hint)
	}
	return at, nil
}

func parseListen(text string) (at netip.AddrPort, problem, hint string) {
	host, port, ok := cutPort(text)
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	if ap, err := netip.ParseAddrPort(host + ":" + port); ok && err == nil && ap.Addr().Zone() == "" {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), "", ""
	}
	problem = "listen " + quote(text) + " is not an address and a port"
	hint = "write it as 127.0.0.1:9748 or [::1]:9748"
	switch {
	case ok && host == "":
		problem = "listen " + quote(text) + " has no address"
		hint = fmt.Sprintf("write 127.0.0.1:%s for this host only, or [::]:%s for everybody", port, port)
	case ok && host != "":
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
			problem = "the host of listen " + quote(text) + " is neither an IP address nor localhost"
		}
	}
	return netip.AddrPort{}, problem, hint
}

// cutPort parts host and port at the last colon. IPv6 keeps its brackets.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// plainNumber is a decimal number with nothing clever about it: no sign, no
// exponent, no underscores.
var plainNumber = regexp.MustCompile(`^(\d+(?:\.\d+)?)(%?)$`)

// checkBudget reads "1%" or "0.01".
func checkBudget(p *problems, path string, s scalar) float64 {
	const hint = "write it as 1% or 0.01, from 0.1% to 50% of one core"
	m := plainNumber.FindStringSubmatch(s.Text)
	if m == nil {
		p.add(s.At, path, s.Text, path+" "+quote(s.Text)+" is not a share", hint)
		return 0
	}
	number := m[1]
	if m[2] == "%" {
		number += "e-2" // exact: 0.1/100 is not always 0.001
	}
	share, err := strconv.ParseFloat(number, 64)
	if err == nil && share >= MinCPUBudget && share <= MaxCPUBudget {
		return share
	}
	way := "below 0.1%"
	if err != nil || share > MaxCPUBudget {
		way = "above 50%"
	}
	as := ""
	if m[2] == "" && err == nil && share >= 1 && share <= 100 {
		as = ", as it is " + percent(share) + " of a core"
	}
	p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is %s%s", path, quote(s.Text), way, as), hint)
	return 0
}

// percent writes a share as "1.5%", so that reading it gives share again.
func percent(share float64) string {
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(share, 'e', -1, 64), "e")
	whole, fraction, _ := strings.Cut(digits, ".")
	all := whole + fraction
	e, _ := strconv.Atoi(exponent) // FormatFloat wrote it
	point := e + 1 + 2             // digits before the point, two more for percent
	switch {
	case point <= 0:
		return "0." + strings.Repeat("0", -point) + all + "%"
	case point >= len(all):
		return all + strings.Repeat("0", point-len(all)) + "%"
	}
	return all[:point] + "." + all[point:] + "%"
}

// checkSecret checks where a secret is. It quotes nothing, as people write
// the secret itself there.
func checkSecret(p *problems, path string, raw rawSecret) Secret {
	if raw.File.Good {
		if f := raw.File.Text; strings.HasPrefix(f, "/") && len(f) < 4096 && printable(f) { // PATH_MAX, include/uapi/linux/limits.h
			return Secret{File: f}
		}
		p.add(raw.File.At, path+".file", "", path+".file is not an absolute path", secretHint)
	}
	if raw.Env.Good {
		if e := raw.Env.Text; len(e) <= maxName && identifier.MatchString(e) {
			return Secret{Env: e}
		}
		p.add(raw.Env.At, path+".env", "", path+".env is not the name of an environment variable", secretHint)
	}
	return Secret{}
}

// claim is who listens on an address and port, and where the file says so.
type claim struct {
	service int
	line    int
}

func checkServices(p *problems, raw []rawService) []Service {
	var out []Service
	names := uniqueNames{what: "service", example: "web", twice: "give each its own name, or list all addresses under one", lines: map[string]int{}}
	claims := map[netip.AddrPort]claim{}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		path := fmt.Sprintf("services[%d]", i)
		s := Service{Name: names.check(p, path, r.At, r.Name)}
		if len(r.Listen) == 0 {
			p.add(r.At, path+".listen", s.Name, fmt.Sprintf("%s %s listens nowhere", path, quote(s.Name)), `add listen: [":80"]`)
		}
		for j, l := range r.Listen {
			at := fmt.Sprintf("%s.listen[%d]", path, j)
			if !l.Good {
				continue
			}
			ap, ok := checkListener(p, at, l.scalar)
			if ok && free(p, claims, raw, i, at, l, ap) {
				s.Listen = append(s.Listen, ap)
			}
		}
		s.WorkersFrom = checkWorkers(p, path+".workers_from", r.WorkersFrom.scalar)
		out = append(out, s)
	}
	return out
}

// free notes the claim of service i on ap, or says who has it.
func free(p *problems, claims map[netip.AddrPort]claim, raw []rawService, i int, path string, l rawListen, ap netip.AddrPort) bool {
	if c, taken := claims[ap]; taken {
		problem, hint := fmt.Sprintf("%s %s is there twice, first on line %d", path, quote(l.Text), c.line), "keep one of them"
		if c.service != i {
			problem = fmt.Sprintf("%s %s belongs to the service %s already, on line %d", path, quote(l.Text), quote(raw[c.service].Name.Text), c.line)
			hint = "keep it in one of them"
		}
		p.add(l.At, path, l.Text, problem, hint)
		return false
	}
	// [::] claims IPv4 too, so 0.0.0.0 in another service would be counted
	// for whichever comes first.
	if ap.Addr().IsUnspecified() {
		other := netip.IPv4Unspecified()
		if ap.Addr().Is4() {
			other = netip.IPv6Unspecified()
		}
		if c, taken := claims[netip.AddrPortFrom(other, ap.Port())]; taken && c.service != i {
			p.add(l.At, path, l.Text,
				fmt.Sprintf("%s %s overlaps with the service %s on line %d, as \":%d\" is IPv4 and IPv6", path, quote(l.Text), quote(raw[c.service].Name.Text), c.line, ap.Port()),
				"name the addresses of one of them, or make them one service")
			return false
		}
	}
	claims[ap] = claim{i, l.At.Line}
	return true
}

// ParseListener reads where a service listens: ":80", which is every address,
// "192.0.2.1:80" or "[::1]:80".
func ParseListener(text string) (at netip.AddrPort, ok bool) {
	host, port, ok := cutPort(text)
	if host == "" {
		host = "[::]"
	}
	ap, err := netip.ParseAddrPort(host + ":" + port)
	if !ok || err != nil || ap.Port() == 0 || ap.Addr().Zone() != "" { // the kernel's rows carry no zone
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

func checkListener(p *problems, path string, s scalar) (netip.AddrPort, bool) {
	if at, ok := ParseListener(s.Text); ok {
		return at, true
	}
	p.add(s.At, path, s.Text, path+" "+quote(s.Text)+" is not an address and a port", `write it as ":80" for every address, "192.0.2.1:80" or "[::1]:80"`)
	return netip.AddrPort{}, false
}

// checkNamespaces understands which namespaces are to be read.
func checkNamespaces(p *problems, path string, s scalar) Namespaces {
	at := slices.Index(namespaceNames[:], s.Text)
	if at < 0 {
		p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is no choice", path, quote(s.Text)), "write all for every network namespace of this host, or host for its own only")
		return AllNamespaces
	}
	return Namespaces(at)
}
