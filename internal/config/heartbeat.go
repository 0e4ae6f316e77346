package config

import "time"

// Heartbeat is a dead man's switch elsewhere that is told again and again that
// the agent is alive.
type Heartbeat struct {
	// URL is where the secret is that is the address: who knows it can call a
	// dead agent alive.
	URL Secret
	// Every is how often, between MinHeartbeat and MaxHeartbeat.
	Every time.Duration
}

// The bounds of a heartbeat. Oftener than that services refuse it; an hour
// without is too late to be told.
const (
	MinHeartbeat, MaxHeartbeat = 10 * time.Second, time.Hour
	defaultHeartbeat           = time.Minute
)

type rawHeartbeat struct {
	section
	URL   rawSecret `yaml:"url" jsonschema:"required" jsonschema_description:"Where the address is that is asked by GET, http or https. It is a secret."`
	Every rawEvery  `yaml:"every" jsonschema_description:"How often, from 10s to 1h."`
}

type rawEvery struct{ scalar }

func (rawEvery) kind() kind {
	s := text(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	s.Default = durationText(defaultHeartbeat)
	return kind{"a duration", "1m or 5m", s}
}

func checkHeartbeat(p *problems, raw rawHeartbeat) *Heartbeat {
	if !raw.there() {
		return nil
	}
	h := Heartbeat{URL: checkSecret(p, "heartbeat.url", raw.URL), Every: defaultHeartbeat}
	if !raw.Spoiled && !raw.URL.tried {
		p.add(raw.At, "heartbeat.url", "", "heartbeat has no url", "add url: {file: /etc/foreshock/heartbeat.url}, or remove heartbeat")
	}
	if raw.Every.Good {
		h.Every = checkDuration(p, "heartbeat.every", raw.Every.scalar, MinHeartbeat, MaxHeartbeat)
	}
	return &h
}

func effectiveHeartbeat(line writeLine, h *Heartbeat) {
	if h == nil {
		line("# heartbeat: none, so nobody hears when this agent dies")
		return
	}
	line("heartbeat:")
	line("  url: %s", h.URL)
	line("  every: %s", durationText(h.Every))
}
