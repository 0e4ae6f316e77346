package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/spelling"
)

// checkWorkers reads "auto", "learn" or a number.
func checkWorkers(p *problems, path string, s scalar) WorkersFrom {
	if !s.Good || s.Text == "auto" {
		return WorkersFrom{}
	}
	if s.Text == "learn" {
		return WorkersFrom{Learn: true}
	}
	n, err := strconv.Atoi(s.Text)
	if err == nil && n >= 1 && n <= MaxWorkers {
		return WorkersFrom{Limit: n}
	}
	problem, hint := path+" "+quote(s.Text)+" is neither auto, learn nor a number of workers", "write auto to read it from the server's configuration, learn to wait for the first saturation, or the number"
	if err == nil {
		problem, hint = fmt.Sprintf("%s %s is not from 1 to %d", path, quote(s.Text), MaxWorkers), "write how many the server can serve at once"
	} else {
		hint = didYouMean(s.Text, []string{"auto", "learn"}, hint)
	}
	p.add(s.At, path, s.Text, problem, hint)
	return WorkersFrom{}
}

// uniqueNames checks the names in a list, each of which must be there once.
type uniqueNames struct {
	what, example string // "service", "web"
	twice         string // what to do about a name that is there twice
	lines         map[string]int
}

// ownName is what to do about two of a name where nothing else helps.
const ownName = "give each its own name"

// check checks the name s of the element of that path.
func (u *uniqueNames) check(p *problems, path string, at position, s rawText) string {
	switch {
	case !s.Given:
		p.add(at, path+".name", "", path+" has no name", "add name: "+u.example)
	case !s.Good || !checkName(p, path+".name", s.scalar):
	case s.Text == "":
		p.add(s.At, path+".name", "", path+".name is empty", "give it a name")
	case u.lines[s.Text] != 0:
		p.add(s.At, path+".name", s.Text, fmt.Sprintf("the %s %s is there twice, first on line %d", u.what, quote(s.Text), u.lines[s.Text]), u.twice)
	default:
		u.lines[s.Text] = s.At.Line
	}
	return s.Text
}

// didYouMean is what to do about a word that is not among the known ones.
func didYouMean(word string, known []string, otherwise string) string {
	if near, ok := spelling.Nearest(word, known); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return otherwise
}

func checkPresets(p *problems, raw []rawPreset) []string {
	var out []string
	for i, r := range raw {
		path := fmt.Sprintf("presets[%d]", i)
		switch known := Presets(); {
		case !r.Good:
		case slices.Contains(out, r.Text):
			p.add(r.At, path, r.Text, fmt.Sprintf("%s %s is there twice", path, quote(r.Text)), "keep one of them")
		case slices.Contains(known, r.Text):
			out = append(out, r.Text)
		default:
			hint := didYouMean(r.Text, known, "the presets are "+strings.Join(known, ", "))
			p.add(r.At, path, r.Text, fmt.Sprintf("%s %s is no preset", path, quote(r.Text)), hint)
		}
	}
	return out
}

func checkRules(p *problems, raw []rawRule) []Rule {
	var out []Rule
	names := uniqueNames{what: "rule", example: "web-waits", twice: ownName, lines: map[string]int{}}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		path := fmt.Sprintf("rules[%d]", i)
		rule := Rule{
			Name: names.check(p, path, r.At, r.Name), When: r.When.Text, Hold: DefaultHold, Severity: "warning",
			Line: r.When.At.Line,
		}
		if r.When.Exact {
			rule.Column = r.When.At.Column + r.When.Lead
		}
		switch text := strings.TrimSpace(r.When.Text); {
		case !r.When.Given:
			p.add(r.At, path+".when", rule.Name, fmt.Sprintf("%s %s has no when", path, quote(rule.Name)), "add when: service.queue_wait_seconds > 0.5")
		case !r.When.Good:
		case text == "":
			p.add(r.When.At, path+".when", "", path+".when is empty", "write an expression over signals, as service.queue_wait_seconds > 0.5")
		case len(r.When.Text) > MaxExpression:
			p.add(r.When.At, path+".when", r.When.Text, fmt.Sprintf("%s.when is longer than %d bytes", path, MaxExpression), "make it several rules")
		}
		if r.Hold.Good {
			rule.Hold = checkDuration(p, path+".hold", r.Hold.scalar, 0, MaxHold)
		}
		if r.Severity.Good {
			rule.Severity = checkSeverity(p, path+".severity", r.Severity.scalar)
		}
		if r.Advice.Good && printable(r.Advice.Text) {
			rule.Advice = r.Advice.Text
		} else if r.Advice.Good {
			p.add(r.Advice.At, path+".advice", "", path+".advice has a character that cannot be printed", "write it on one line, in printable characters")
		}
		out = append(out, rule)
	}
	return out
}

// checkDuration reads "250ms", "30s", "2m30s".
func checkDuration(p *problems, path string, s scalar, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(s.Text)
	switch {
	case err != nil:
		hint := "write a number with its unit, as 250ms, 10s or 2m30s"
		if plainNumber.MatchString(s.Text) {
			hint = "add the unit: " + s.Text + "s is seconds"
		}
		p.add(s.At, path, s.Text, path+" "+quote(s.Text)+" is not a duration", hint)
	case d < least || d > most:
		p.add(s.At, path, s.Text, fmt.Sprintf("%s %s is not within %s to %s", path, quote(s.Text), durationText(least), durationText(most)), "choose one within")
	default:
		return d
	}
	return 0
}

// durationText writes a duration without the units that are zero: "1h", not
// "1h0m0s".
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func checkSeverity(p *problems, path string, s scalar) string {
	known := Severities()
	if slices.Contains(known, s.Text) {
		return s.Text
	}
	hint := didYouMean(s.Text, known, "write one of "+strings.Join(known, ", "))
	p.add(s.At, path, s.Text, path+" "+quote(s.Text)+" is no severity", hint)
	return ""
}

func checkChannels(p *problems, raw []rawChannel) []Channel {
	var out []Channel
	names := uniqueNames{what: "channel", example: "ops", twice: ownName, lines: map[string]int{}}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		path := fmt.Sprintf("notify[%d]", i)
		c := Channel{Name: names.check(p, path, r.At, r.Name), Severities: checkSeverities(p, path, r.Severities)}
		c.GiveUp, c.MaxPerHour = checkDelivery(p, path, r)
		kinds := 0
		if r.Log.Given {
			kinds++
			c.Log = r.Log.Text == "true"
			if r.Log.Good && !c.Log {
				p.add(r.Log.At, path+".log", r.Log.Text, path+".log is false, so the channel goes nowhere", "write log: true, or remove the channel")
			}
		}
		if r.Webhook.there() {
			kinds++
			c.Webhook = checkWebhook(p, path+".webhook", r.Webhook)
		}
		if r.Alertmanager.there() {
			kinds++
			c.Alertmanager = checkAlertmanager(p, path+".alertmanager", r.Alertmanager)
		}
		if r.URL.tried {
			kinds++
			c.Library = &Library{URL: checkSecret(p, path+".url", r.URL), Template: checkTemplate(p, path+".template", r.Template)}
		} else if r.Template.there() && !r.Template.Spoiled {
			p.add(r.Template.At, path+".template", "", path+".template is only for a channel with a url", "remove it: webhooks get JSON, Alertmanager alerts, and the log lines of its own")
		}
		const one = "give it exactly one of url: {file: …}, webhook: {url: …}, alertmanager: {urls: […]} and log: true"
		switch {
		case kinds == 0:
			p.add(r.At, path, c.Name, fmt.Sprintf("%s %s does not say where notices go", path, quote(c.Name)), one)
		case kinds > 1:
			p.add(r.At, path, c.Name, fmt.Sprintf("%s %s goes to %d places", path, quote(c.Name), kinds), one)
		}
		c.Only, c.Calm = checkOnly(p, path, r.Only), checkCalm(p, path, r, &c)
		out = append(out, c)
	}
	return out
}

func checkTemplate(p *problems, path string, raw rawTemplate) Template {
	read := func(key string, s scalar) (text string, line int) {
		switch {
		case !s.Good:
		case strings.TrimSpace(s.Text) == "":
			p.add(s.At, path+"."+key, "", path+"."+key+" is empty", "write a template, as \"{{.Title}}\", or remove the key for our own words")
		case len(s.Text) > MaxTemplate:
			p.add(s.At, path+"."+key, s.Text, fmt.Sprintf("%s.%s is longer than %d bytes", path, key, MaxTemplate), "make it shorter")
		default:
			line = s.At.Line
			if !s.Exact && strings.Contains(s.Text, "\n") { // a block begins below its key
				line++
			}
			return s.Text, line
		}
		return "", 0
	}
	var t Template
	t.Title, t.TitleLine = read("title", raw.Title.scalar)
	t.Body, t.BodyLine = read("body", raw.Body.scalar)
	return t
}

func checkSeverities(p *problems, path string, raw []rawSent) []string {
	var out []string
	if len(raw) == 1 && raw[0].Text == NoSeverity {
		return []string{NoSeverity}
	}
	for j, s := range raw {
		at := fmt.Sprintf("%s.severities[%d]", path, j)
		if s.Good && s.Text == NoSeverity {
			p.add(s.At, at, s.Text, at+" is none, and there are others", "write none alone for a channel that only a response names, or leave it out")
			continue
		}
		if !s.Good {
			continue
		}
		switch severity := checkSeverity(p, at, s.scalar); {
		case severity == "":
		case slices.Contains(out, severity):
			p.add(s.At, at, s.Text, at+" "+quote(s.Text)+" is there twice", "keep one of them")
		default:
			out = append(out, severity)
		}
	}
	if out == nil {
		return DefaultSeverities()
	}
	return out
}

func checkWebhook(p *problems, path string, raw rawWebhook) *Webhook {
	w := Webhook{Secret: checkSecret(p, path+".secret", raw.Secret)}
	switch {
	case !raw.URL.Given && !raw.Spoiled:
		p.add(raw.At, path+".url", "", path+" has no url", "add url: https://ops.example/hook")
	case raw.URL.Good:
		w.URL = checkURL(p, path+".url", raw.URL.scalar, "https://ops.example/hook")
	}
	return &w
}

func checkAlertmanager(p *problems, path string, raw rawAlertmanager) *Alertmanager {
	var a Alertmanager
	if len(raw.URLs) == 0 && !raw.Spoiled {
		p.add(raw.At, path+".urls", "", path+" has no urls", `add urls: ["http://127.0.0.1:9093"]`)
	}
	for i, u := range raw.URLs {
		at := fmt.Sprintf("%s.urls[%d]", path, i)
		if !u.Good {
			continue
		}
		text := strings.TrimRight(checkURL(p, at, u.scalar, "http://127.0.0.1:9093"), "/")
		switch {
		case text == "":
		case slices.Contains(a.URLs, text):
			p.add(u.At, at, "", at+" is there twice", "name each member once")
		case strings.Contains(text, "/api/"):
			p.add(u.At, at, "", at+" names the API itself", "write the base address, as http://127.0.0.1:9093")
		default:
			a.URLs = append(a.URLs, text)
		}
	}
	return &a
}

func checkPublicURL(p *problems, raw rawURL) string {
	if !raw.Good {
		return ""
	}
	text := checkURL(p, "public_url", raw.scalar, "https://web03.example:9748")
	if strings.Contains(text, "?") {
		p.add(raw.At, "public_url", "", "public_url has a query", "write the address of the page alone")
		return ""
	}
	return strings.TrimRight(text, "/")
}

// userHint says what to do instead of writing a password into an address.
func userHint(path string) string {
	switch {
	case strings.HasSuffix(path, ".webhook.url"):
		return "remove them; a webhook is signed with secret: {file: …}"
	case strings.HasSuffix(path, ".traefik.api"):
		return "remove them; name an entry point of Traefik's API that needs none, on loopback"
	}
	return "remove them"
}

// PortInRange reports whether the port of a URL is one; none is the scheme's.
func PortInRange(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}

// checkURL checks an address that requests or people go to. It quotes nothing:
// paths and queries of webhooks are often secrets.
func checkURL(p *problems, path string, s scalar, example string) string {
	problem, hint := "", "write it as "+example
	switch u, err := url.Parse(s.Text); {
	case err != nil || !printable(s.Text) || strings.Contains(s.Text, " "):
		problem = path + " is not a URL"
	case u.Scheme == "" || u.Scheme != "http" && u.Scheme != "https":
		problem = path + " does not begin with http:// or https://"
	case u.Hostname() == "":
		problem = path + " has no host"
	case !PortInRange(u):
		problem = path + " has a port that is not from 1 to 65535"
	case u.User != nil:
		problem, hint = path+" has a user or a password in it, where everybody who reads the file sees it", userHint(path)
	case u.Fragment != "":
		problem, hint = path+" has a fragment, which no server gets", "remove # and what follows"
	default:
		return s.Text
	}
	p.add(s.At, path, "", problem, hint)
	return ""
}
