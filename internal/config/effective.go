package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Effective writes c as a file that Parse reads back to the same Config, with
// every default spelled out. A secret shows as the place it comes from.
func Effective(c Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if c.Name == "" {
		line(`name: ""  # the host's own name`)
	} else {
		line("name: %s", yamlText(c.Name))
	}
	if len(c.Labels) == 0 {
		line("labels: {}")
	} else {
		line("labels:")
		for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
			line("  %s: %s", yamlText(k), yamlText(c.Labels[k]))
		}
	}
	line("listen: %s", yamlText(c.Listen.String()))
	if c.Token.IsZero() {
		line("# token: none, so calls that change something are refused")
	} else {
		line("token: %s", c.Token)
	}
	line("observe:")
	line("  cpu_budget: %s  # of one core", percent(c.Observe.CPUBudget))
	if len(c.Services) == 0 {
		line("services: []  # found from the listening sockets")
		return b.String()
	}
	line("services:")
	for _, s := range c.Services {
		listen := make([]string, len(s.Listen))
		for i, l := range s.Listen {
			listen[i] = `"` + listenText(l) + `"`
		}
		line("  - name: %s", yamlText(s.Name))
		line("    listen: [%s]", strings.Join(listen, ", "))
	}
	return b.String()
}

// listenText writes a listener as people do: ":80" for every address.
func listenText(l netip.AddrPort) string {
	if l.Addr() == netip.IPv6Unspecified() {
		return fmt.Sprintf(":%d", l.Port())
	}
	return l.String()
}

// obvious is text that no reader of YAML takes for anything else, unless it is
// a reserved word.
var obvious = regexp.MustCompile(`^[A-Za-z0-9/_][A-Za-z0-9/_.:-]*[A-Za-z0-9/_]$`)

// yamlText writes s, which must be printable, plainly where that is safe and
// in quotes elsewhere.
func yamlText(s string) string {
	if obvious.MatchString(s) && !token.IsNeedQuoted(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
