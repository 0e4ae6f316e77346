package library

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"regexp"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// maxMessage is how large a message may be, in bytes.
const maxMessage = 1 << 20

// Serve reads one message, sends it, and writes how that went. It is for a
// process of its own: it sets the transport of all HTTP clients in it. The
// error is that of writing.
func Serve(in io.Reader, out io.Writer) error {
	giveUpRights()
	var m Message
	outcome := Outcome{Words: "the message cannot be read"}
	if err := json.NewDecoder(io.LimitReader(in, maxMessage)).Decode(&m); err == nil {
		g := guardClients()
		outcome = send(m, g)
	}
	return json.NewEncoder(out).Encode(outcome)
}

// send sends a message. What the library says of an error may quote the
// address; what is returned does not.
func send(m Message, g *guard) (out Outcome) {
	defer func() {
		if r := recover(); r != nil { // the library's, about an answer it did not expect
			words := fmt.Sprintf("the library failed: %v", r)
			if g.problem != nil {
				words = reason(g.problem)
			}
			out = Outcome{Answered: g.status != 0, Status: g.status, Words: redact(words, m.URL)}
		}
	}()
	name, known := Service(m.URL)
	if !known {
		return Outcome{Answered: true, Words: fmt.Sprintf("%.40q is no service that may be used", name)}
	}
	service, err := open(Canonical(m.URL))
	if err == nil {
		g.through(service, name)
		err = deliver(service, name, m)
	}
	if err == nil {
		err = g.denies(name)
	}
	if err == nil {
		return Outcome{Delivered: true, Answered: true, Status: g.status}
	}
	out = Outcome{Status: g.status, Answered: g.status != 0, RetryAfter: g.retryAfter, Words: redact(reason(err), m.URL)}
	if reply, is := errors.AsType[*textproto.Error](err); is {
		out.Answered, out.Status, out.Words = true, reply.Code, redact(reply.Msg, m.URL)
	}
	if g.redirect != "" {
		out.Words = redact(g.redirect, m.URL)
	}
	return out
}

// open makes a service of its address; some log in for that.
func open(address string) (types.Service, error) {
	r, err := router.New(log.New(io.Discard, "", 0))
	if err != nil {
		return nil, fmt.Errorf("open the library: %w", err)
	}
	return r.Locate(address)
}

func deliver(service types.Service, name string, m Message) error {
	if Follows(name) && len(m.Events) > 0 {
		for _, e := range m.Events {
			if err := service.Send(oneLine(e.Summary), params(pagerDuty(e))); err != nil {
				return err
			}
		}
		return nil
	}
	title, text := fit(name, oneLine(m.Title), m.Text)
	switch name {
	case "slack":
		title, text = slackText.Replace(title), slackText.Replace(emptyLines.ReplaceAllString(text, "\n"))
	case "smtp":
		text = wrap(text)
	}
	keys := keysOf(service)
	values := map[string]string{}
	switch {
	case name == "smtp":
		values["subject"] = mime.QEncoding.Encode("utf-8", title)
	case keys["title"]:
		values["title"] = title
	default:
		text = title + "\n\n" + text
	}
	if name == "slack" {
		values["color"] = color(m)
	}
	return service.Send(text, params(values))
}

// emptyLines would be attachments with nothing in them, to Slack.
var emptyLines = regexp.MustCompile(`\n(\s*\n)+`)

// slackText is how Slack wants text that is only text:
// https://api.slack.com/reference/surfaces/formatting#escaping
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func color(m Message) string {
	switch {
	case m.Over:
		return "good"
	case m.Severity == "critical":
		return "danger"
	}
	return "warning"
}

// pagerDuty is an event for the Events API v2:
// https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
func pagerDuty(e Event) map[string]string {
	severity := map[string]string{"critical": "critical", "warning": "warning"}[e.Severity]
	if severity == "" {
		severity = "info"
	}
	details, err := json.Marshal(e.Details)
	if err != nil {
		details = []byte("{}")
	}
	values := map[string]string{
		"severity": severity, "source": e.Source, "dedup_key": e.Key, "action": "trigger", "client": "Foreshock", "details": string(details),
	}
	if e.Over {
		values["action"] = "resolve"
	}
	if e.Link != "" {
		values["client_url"] = e.Link
	}
	return values
}

func params(values map[string]string) *types.Params {
	p := types.Params(values)
	return &p
}

// keysOf are the parameters that a service's configuration knows, in lower
// case. All of them have it in a field of that name.
func keysOf(service types.Service) map[string]bool {
	out := map[string]bool{}
	config := reflect.Indirect(reflect.ValueOf(service)).FieldByName("Config")
	if !config.IsValid() || config.Kind() != reflect.Pointer {
		return out
	}
	t := config.Type().Elem()
	for field := range t.Fields() {
		for key := range strings.SplitSeq(field.Tag.Get("key"), ",") {
			out[strings.ToLower(key)] = true
		}
	}
	return out
}

// oneLine makes text fit for a header or a title.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}

// reason is what the innermost error says that still means something: what
// wraps it names layers of the library.
func reason(err error) string {
	if wrapped, is := errors.AsType[*url.Error](err); is {
		if wrapped.Timeout() {
			return hostOf(wrapped.URL) + " did not answer in time"
		}
		return wrapped.Err.Error()
	}
	return err.Error()
}

// hostOf is the host of a request's address; some services have a secret in the
// rest.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return "the service"
}

// guardClients has the HTTP clients of this process go through a guard that have
// no transport of their own; for others see guard.through.
func guardClients() *guard {
	base, _ := http.DefaultTransport.(*http.Transport)
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	base = base.Clone()
	base.MaxResponseHeaderBytes = maxHeaders
	g := &guard{next: base}
	http.DefaultTransport = g
	return g
}
