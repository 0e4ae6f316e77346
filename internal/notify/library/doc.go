// Package library sends notices through the notification library, in a child
// process of its own.
//
// A child, because the library's services take no context and some have no
// time-out: a receiver that hangs is left behind by killing who waits for it,
// and one that answers something hostile has no rights and no secrets to find
// but its own. The agent starts itself again:
//
//	outcome := library.Call(ctx, []string{"/proc/self/exe", "notify", "deliver"}, message)
//
// and the child does
//
//	library.Serve(os.Stdin, os.Stdout)
package library

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Message is what one service is to be sent. It crosses to the child as JSON.
type Message struct {
	// URL is the service's address as the library spells it, with its secrets:
	// slack://…, smtp://…, pagerduty://…
	URL string `json:"url"`
	// Title is one line, Text the rest.
	Title string `json:"title"`
	Text  string `json:"text"`
	// Severity is "watch", "warning" or "critical"; Over is true where nothing
	// of it lasts.
	Severity string `json:"severity"`
	Over     bool   `json:"over"`
	// Events are the incidents one by one, for services that follow each
	// (see [Follows]); others get Title and Text.
	Events []Event `json:"events"`
}

// Event is one incident for a service that follows incidents itself.
type Event struct {
	// Key is the same for all that is said of the incident, at most 255 bytes.
	Key      string            `json:"key"`
	Over     bool              `json:"over"`
	Severity string            `json:"severity"`
	Summary  string            `json:"summary"`
	Source   string            `json:"source"` // the host
	Link     string            `json:"link"`
	Details  map[string]string `json:"details"`
}

// Outcome is how sending went. The zero value is an attempt that nothing is
// known of.
type Outcome struct {
	Delivered bool `json:"delivered"`
	// Answered: the service said no, as against not being reached.
	Answered bool `json:"answered"`
	// Status is its answer's HTTP status, or SMTP reply code; 0 for neither.
	Status int `json:"status"`
	// RetryAfter is that header of an HTTP answer.
	RetryAfter string `json:"retry_after"`
	// Words says what went wrong, without anything of the address but its host.
	Words string `json:"words"`
}

// services are those of the library that may be configured, in order. Left out
// are generic (our own webhook signs what it sends), logger (our own log is
// better) and xmpp (not built in).
var services = []string{
	"bark", "discord", "gotify", "googlechat", "ifttt", "join", "lark", "matrix", "mattermost", "notifiarr", "ntfy", "opsgenie", "pagerduty",
	"pushbullet", "pushover", "rocketchat", "signal", "slack", "smtp", "teams", "telegram", "wecom", "zulip",
}

// Services are the schemes of the services that may be used.
func Services() []string { return slices.Clone(services) }

// Follows reports whether a service keeps incidents itself, so that each is
// sent by itself and resolved by its key.
func Follows(service string) bool { return service == "pagerduty" }

// Service is the service of an address, in lower case; false where it is none
// of those that may be used. The address of a Slack webhook as Slack shows it is
// one too.
func Service(address string) (string, bool) {
	scheme, _, found := strings.Cut(Canonical(address), "://")
	scheme = strings.ToLower(scheme)
	// mattermost+http is a service's variant.
	base, _, _ := strings.Cut(scheme, "+")
	if !found || base == "" {
		return "", false
	}
	return base, slices.Contains(services, base)
}

// slackHook is how the address of a Slack webhook begins; pagerDutyHost is where
// the library does not fill it in itself.
const (
	slackHook     = "https://hooks.slack.com/services/"
	pagerDutyHost = "events.pagerduty.com:443"
)

// pagerDutyKey is an integration's key.
var pagerDutyKey = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// Canonical is the address as the library spells it. That of a Slack webhook may
// also be given as Slack shows it, that of PagerDuty as pagerduty://KEY.
func Canonical(address string) string {
	address = strings.TrimSpace(address)
	if rest, is := strings.CutPrefix(address, slackHook); is {
		return "slack://hook:" + strings.ReplaceAll(strings.Trim(rest, "/"), "/", "-") + "@webhook"
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "pagerduty" {
		return address
	}
	switch {
	case pagerDutyKey.MatchString(u.Host):
		u.Host, u.Path = pagerDutyHost, "/"+u.Host
	case u.Host == "":
		u.Host = pagerDutyHost
	}
	return u.String()
}
