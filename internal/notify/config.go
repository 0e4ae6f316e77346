package notify

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/silence"
)

// Config is what a [Planner] needs. Whoever makes one has checked it, as
// internal/config checks the user's file: nothing here is checked again.
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

// Channel is one place where notices go. Exactly one of Log, Webhook,
// Alertmanager and Library is set.
type Channel struct {
	// Name is unique among the channels.
	Name string
	// Severities are those that are sent. None: warning and critical.
	Severities []judge.Severity
	// Only are those that are sent, where any is given: one must match.
	Only []silence.Matcher
	Calm Calm
	// GiveUp is for how long a notice is tried while the receiver is out of
	// order. Zero: GiveUpAfter.
	GiveUp time.Duration
	// MaxPerHour is how many notices are delivered within an hour; what is more
	// waits. Zero: any number.
	MaxPerHour   int
	Log          *slog.Logger
	Webhook      *Webhook
	Alertmanager *Alertmanager
	Library      *Library
}

// Calm is how a channel is kept from noise. The zero value tells everything at
// once, each incident alone.
type Calm struct {
	// Wait is how long the first news of a quiet channel waits for more, Interval
	// how long what follows is gathered into one notice. Both zero: each incident
	// has a notice of its own.
	Wait, Interval time.Duration
	// Recovery is for how long something must have recovered before that is told.
	Recovery time.Duration
	// Cooldown is for how long after its end something that opens again is told
	// only when it is worse. Zero: at once, and flapping is not damped either.
	Cooldown time.Duration
	// Remind is how often what is open and not acknowledged is told again; zero is
	// never.
	Remind time.Duration
}

// grouped reports whether several incidents share a notice.
func (c *Calm) grouped() bool { return c.Wait > 0 || c.Interval > 0 }

// Dial connects as net.Dialer's DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Webhook is one URL that takes the JSON of notices by POST.
type Webhook struct {
	URL string // http or https, with a host
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

// Kind is what sort of channel it is: "log", "webhook", "alertmanager", or the
// name of a service, as "slack".
func (c *Channel) Kind() string {
	switch {
	case c.Webhook != nil:
		return "webhook"
	case c.Alertmanager != nil:
		return "alertmanager"
	case c.Library != nil:
		return c.Library.Name()
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
