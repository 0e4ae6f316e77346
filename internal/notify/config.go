package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Config is what a [Planner] needs.
type Config struct {
	// Host is what notices call this host.
	Host string
	// Labels are in every notice; may be nil.
	Labels map[string]string
	// PublicURL is where people reach our page, without a slash at its end.
	// Empty: notices have no link.
	PublicURL string
	Channels  []Channel
}

// Channel is one place where notices go. Exactly one of Log, Webhook and
// Alertmanager is set.
type Channel struct {
	// Name is unique among the channels.
	Name string
	// Severities are those that are sent. None: warning and critical.
	Severities   []judge.Severity
	Log          *slog.Logger
	Webhook      *Webhook
	Alertmanager *Alertmanager
}

// Dial connects as net.Dialer's DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Webhook is one URL that takes the JSON of notices by POST.
type Webhook struct {
	URL string // http or https
	// Key signs the requests; empty sends them unsigned.
	Key []byte
	// RootCAs verify the receiver's certificate. Nil: the system's.
	RootCAs *x509.CertPool
	// Dial connects; nil: the network's own way.
	Dial Dial
}

// Alertmanager is the members of one cluster. Each gets every alert, as
// Alertmanager asks of its clients: members do not pass alerts on.
type Alertmanager struct {
	// URLs are the members' base addresses, with the path prefix if there is
	// one: http://10.0.0.7:9093. At least one, each once.
	URLs []string
	// RootCAs verify the members' certificates. Nil: the system's.
	RootCAs *x509.CertPool
	// Dial connects; nil: the network's own way.
	Dial Dial
}

// Kind is what sort of channel it is: "log", "webhook" or "alertmanager".
func (c *Channel) Kind() string {
	switch {
	case c.Webhook != nil:
		return "webhook"
	case c.Alertmanager != nil:
		return "alertmanager"
	}
	return "log"
}

// wants reports whether incidents of that severity are sent.
func (c *Channel) wants(s judge.Severity) bool {
	if len(c.Severities) == 0 {
		return s >= judge.Warning
	}
	return slices.Contains(c.Severities, s)
}

// repeat is how often an open incident is told again; zero is never.
// Alertmanager forgets what is not repeated.
func (c *Channel) repeat() time.Duration {
	if c.Alertmanager != nil {
		return RepeatEvery
	}
	return 0
}

// identity tells a channel from every other: with another kind it is another
// one, whom nobody has told anything.
type identity struct{ kind, name string }

func (c *Channel) id() identity { return identity{c.Kind(), c.Name} }

// Check says what is wrong with the channels. No error has a URL in it.
func (cfg *Config) Check() error {
	seen := make(map[string]bool, len(cfg.Channels))
	for i := range cfg.Channels {
		c := &cfg.Channels[i]
		if c.Name == "" {
			return fmt.Errorf("channel %d has no name; give it one", i+1)
		}
		if seen[c.Name] {
			return fmt.Errorf("channel %s is there twice; give each its own name", c.Name)
		}
		seen[c.Name] = true
		if err := c.check(); err != nil {
			return fmt.Errorf("channel %s: %w", c.Name, err)
		}
	}
	return nil
}

func (c *Channel) check() error {
	kinds := 0
	for _, set := range []bool{c.Log != nil, c.Webhook != nil, c.Alertmanager != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("has %d kinds; set exactly one of log, webhook and alertmanager", kinds)
	}
	for _, s := range c.Severities {
		if s < judge.Watch || s > judge.Critical {
			return fmt.Errorf("severity %s cannot be sent; use watch, warning or critical", s)
		}
	}
	switch {
	case c.Webhook != nil:
		_, err := parseURL(c.Webhook.URL)
		return err
	case c.Alertmanager != nil:
		urls := c.Alertmanager.URLs
		if len(urls) == 0 {
			return errors.New("has no member; give at least one address under urls")
		}
		for i, text := range urls {
			u, err := parseURL(text)
			if err != nil {
				return fmt.Errorf("member %d: %w", i+1, err)
			}
			if slices.Contains(urls[:i], text) {
				return fmt.Errorf("member %s is there twice; name each once", u.Host)
			}
		}
	}
	return nil
}

// parseURL reads a receiver's address. The text may hold a secret, in its path
// too, so that no error repeats it.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("the address is not a URL; write one like https://host/path")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the address has scheme %q; use http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("the address has no host; write one like https://host/path")
	}
	return u, nil
}
