package owner

import (
	"path"
	"slices"
	"strings"
)

// balancer is how the program of a known balancer is called.
type balancer struct {
	software string
	names    []string
}

// balancers are those that are recognised without being told. Master and
// workers of each have the same program and short name: nginx and HAProxy
// change their title only, Envoy names only its threads.
var balancers = []balancer{
	{"traefik", []string{"traefik"}},
	{"haproxy", []string{"haproxy"}},
	{"nginx", []string{"nginx"}},
	{"apache", []string{"apache2", "httpd"}}, // Debian's name and everybody else's
	{"envoy", []string{"envoy"}},
	{"caddy", []string{"caddy"}},
}

// Balancers returns a selector for each balancer that is recognised without
// being told, in the order of their names.
func Balancers() []Selector {
	var out []Selector
	for _, b := range balancers {
		out = append(out, Selector{Software: b.software})
	}
	slices.SortFunc(out, func(a, b Selector) int { return strings.Compare(a.Software, b.Software) })
	return out
}

// Balancer says which known balancer a process is: "traefik", "haproxy",
// "nginx", "apache", "envoy" or "caddy"; empty when it is none. The program's
// path decides; the short name does where exe is empty, as it may not be read,
// since a process chooses its name freely.
func Balancer(name, exe string) string {
	program := name
	if exe != "" {
		program = path.Base(exe)
	}
	for _, b := range balancers {
		for _, n := range b.names {
			if rest, ok := strings.CutPrefix(program, n); ok && variant(rest) {
				return b.software
			}
		}
	}
	return ""
}

// variant reports whether what follows a program's name says no more than
// which build it is: "", "-2.8", "_linux-amd64", "-prefork". Other programs
// have such names too, and are not it: nginx-ingress-controller,
// haproxy_exporter.
func variant(rest string) bool {
	if rest == "" {
		return true
	}
	if c := rest[0]; c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') {
		return false
	}
	for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		version := strings.TrimPrefix(word, "v")
		switch {
		case version != "" && version[0] >= '0' && version[0] <= '9':
		case slices.Contains([]string{"linux", "amd64", "arm64", "armv7", "x86", "static", "debug", "contrib", "prefork", "worker", "event"}, word):
		default:
			return false
		}
	}
	return true
}
