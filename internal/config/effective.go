package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
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
	effectiveAccess(line, c)
	line("observe:")
	line("  cpu_budget: %s  # of one core", percent(c.Observe.CPUBudget))
	line("  namespaces: %s", c.Observe.Namespaces)
	effectiveServices(line, c.Services)
	effectiveBackends(line, c.Backends)
	effectiveRegions(line, c.Regions)
	line("baseline:")
	line("  learn: %s", daysText(c.Baseline.Learn))
	line("  factor: %s", strconv.FormatFloat(c.Baseline.Factor, 'f', -1, 64))
	line("  quantile: %s", strconv.FormatFloat(c.Baseline.Quantile, 'f', -1, 64))
	effectiveHistory(line, c)
	if c.PublicURL == "" {
		line("# public_url: none, so notices have no link")
	} else {
		line("public_url: %s", yamlText(c.PublicURL))
	}
	line("presets: [%s]", strings.Join(c.Presets, ", "))
	effectiveRules(line, c.Rules)
	effectiveHeartbeat(line, c.Heartbeat)
	effectiveChannels(line, c.Notify)
	effectiveMaintenance(line, c.Maintenance)
	effectiveRespond(line, c.Respond)
	effectiveDrains(line, c.Drain)
	if c.ASNDatabase.File == "" {
		line("# asn_database: none, so nobody knows whose the clients are")
	} else {
		line("asn_database: %s", yamlQuoted(c.ASNDatabase.File))
	}
	return b.String()
}

type writeLine func(format string, args ...any)

func effectiveServices(line writeLine, services []Service) {
	if len(services) == 0 {
		line("services: []  # found from the listening sockets")
		return
	}
	line("services:")
	for _, s := range services {
		line("  - name: %s", yamlText(s.Name))
		var listen []string
		for _, l := range s.Listen {
			listen = append(listen, ListenerText(l))
		}
		line("    listen: [%s]", yamlList(listen))
		switch w := s.WorkersFrom; {
		case w.Limit > 0:
			line("    workers_from: %d", w.Limit)
		case w.Learn:
			line("    workers_from: learn")
		default:
			line("    workers_from: auto")
		}
	}
}

func effectiveRules(line writeLine, rules []Rule) {
	if len(rules) == 0 {
		line("rules: []")
		return
	}
	line("rules:")
	for _, r := range rules {
		line("  - name: %s", yamlText(r.Name))
		line("    when: %s", yamlQuoted(r.When))
		line("    hold: %s", durationText(r.Hold))
		line("    severity: %s", r.Severity)
		if r.Advice != "" {
			line("    advice: %s", yamlText(r.Advice))
		}
	}
}

func effectiveChannels(line writeLine, channels []Channel) {
	if len(channels) == 0 {
		line("notify: []")
		return
	}
	line("notify:")
	for _, c := range channels {
		line("  - name: %s", yamlText(c.Name))
		line("    severities: [%s]", strings.Join(c.Severities, ", "))
		effectiveCalm(line, c)
		line("    give_up: %s", keepText(c.GiveUp))
		if c.MaxPerHour > 0 {
			line("    max_per_hour: %d", c.MaxPerHour)
		}
		switch {
		case c.Webhook != nil:
			line("    webhook:")
			line("      url: %s", yamlText(c.Webhook.URL))
			if !c.Webhook.Secret.IsZero() {
				line("      secret: %s", c.Webhook.Secret)
			}
		case c.Library != nil:
			line("    url: %s", c.Library.URL)
			effectiveTemplate(line, c.Library.Template)
		case c.Alertmanager != nil:
			line("    alertmanager: {urls: [%s]}", yamlList(c.Alertmanager.URLs))
		default:
			line("    log: true")
		}
	}
}

func effectiveTemplate(line writeLine, t Template) {
	if t.Title == "" && t.Body == "" {
		line("    # template: none, so it gets our own words")
		return
	}
	line("    template:")
	for _, part := range []struct{ key, text string }{{"title", t.Title}, {"body", t.Body}} {
		if part.text != "" {
			line("      %s: %s", part.key, yamlQuoted(part.text))
		}
	}
}

// yamlList writes the elements of a list, each in quotes.
func yamlList(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = yamlQuoted(s)
	}
	return strings.Join(out, ", ")
}

// yamlQuoted writes s in double quotes, with line breaks escaped.
func yamlQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// ListenerText writes a listener as people do: ":80" for every address.
func ListenerText(l netip.AddrPort) string {
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
	return yamlQuoted(s)
}
