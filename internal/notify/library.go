package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/notify/library"
)

// Library is a service of the notification library.
type Library struct {
	// URL is the service's address, with its secrets: slack://…, smtp://…
	URL string
	// Program and its arguments send, see package library.
	Program []string
	// Template says it in the user's words; nil: in ours.
	Template *Template
	// Log hears when a template fails on a notice. Required.
	Log *slog.Logger
}

// Name is the service: "slack".
func (l *Library) Name() string {
	name, _ := library.Service(l.URL)
	return name
}

// follows reports whether the service keeps incidents itself.
func (l *Library) follows() bool { return library.Follows(l.Name()) }

// CheckService says what is wrong with a service's address; no error quotes any
// of it but its scheme.
func CheckService(address string) error {
	name, known := library.Service(address)
	switch {
	case name == "":
		return fmt.Errorf("the address does not begin with a service, as slack://, smtp:// or pagerduty://: docs/NOTICES.md says how to write it")
	case name == "http" || name == "https":
		return fmt.Errorf("the address is a plain %s:// one: give it as webhook: {url: …}, or write the service's own, as slack://, which docs/NOTICES.md shows", name)
	case !known:
		return fmt.Errorf("%.20q is no service that may be used: the services are %s", name, strings.Join(library.Services(), ", "))
	}
	return nil
}

// child sends through the library, in a child process.
type child struct{ config Library }

func (c *child) send(ctx context.Context, now time.Time, n *Notice) error {
	text, err := c.config.Template.Words(n)
	if err != nil {
		c.config.Log.Warn("a template failed on a notice, which goes out in our own words", "channel", n.Channel, "error", plain(err.Error()))
	}
	m := library.Message{URL: c.config.URL, Title: text.Title, Text: text.Body, Severity: n.Severity, Over: n.Over(), Events: []library.Event{}}
	if c.config.follows() {
		m.Events = events(n, text)
	}
	return outcomeError(c.config.Name(), library.Call(ctx, c.config.Program, m), now)
}

func (c *child) close() {}

// outcomeError is the outcome as the queue understands it.
func outcomeError(service string, out library.Outcome, now time.Time) error {
	switch {
	case out.Delivered:
		return nil
	case !out.Answered:
		return &unreached{service, errors.New(out.Words)}
	}
	// SMTP's replies above 500 are no HTTP statuses: a mailbox that is not there
	// today may be tomorrow, and a password is put right.
	refusal := &Refusal{Words: fmt.Sprintf("%s answered %d: %s", service, out.Status, out.Words), RetryAfter: retryAfter(out.RetryAfter, now)}
	switch out.Status {
	case 400, 405, 413, 415, 422:
		refusal.ForGood = true
	case 421, 450, 451, 452, 454: // not now: RFC 5321, section 4.2.3; 454: RFC 4954
		refusal.Outage = true
	default:
		refusal.Outage = slices.Contains(outages, out.Status)
	}
	return refusal
}

// events are the notice's incidents one by one; the planner leaves none of them
// to a count here.
func events(n *Notice, text Text) []library.Event {
	if len(n.Incidents) == 0 {
		// Nothing would ever end one that a follow-up begins.
		return []library.Event{{Key: n.Key, Over: n.Reason == FollowUp, Severity: n.Severity, Summary: text.Title, Source: n.Host, Link: n.Link, Details: map[string]string{"text": text.Body}}}
	}
	out := make([]library.Event, 0, len(n.Incidents))
	for k := range n.Incidents {
		i := &n.Incidents[k]
		one := *n
		one.Incidents, one.More, one.Severity = []Item{*i}, nil, i.Severity
		if len(n.Incidents) > 1 {
			one.Says = "" // it is about all of them
		}
		words := one.Words()
		out = append(out, library.Event{
			Key: eventKey(n.Host, i.Scope, i.Cause, i.Rule), Over: i.Step == Resolved, Severity: i.Severity,
			Summary: words.Title, Source: n.Host, Link: i.Link, Details: map[string]string{"text": words.Body},
		})
	}
	return out
}

// maxEventKey is PagerDuty's limit of a dedup_key, in bytes.
const maxEventKey = 255

// eventKey is the same for all that is said of one thing of a host, also over
// restarts, where incidents get new numbers.
func eventKey(parts ...string) string {
	text := strings.Join(parts, "|")
	if len(text) <= maxEventKey {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
