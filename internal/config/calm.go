package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/silence"
)

// Calm is how a channel is kept from noise.
type Calm struct {
	// Wait is how long the first news of a quiet channel waits for more, Interval
	// how long what follows is gathered; both zero: each incident is told alone.
	Wait, Interval time.Duration
	// Recovery is how long a recovery must hold to be told.
	Recovery time.Duration
	// Cooldown is how long after its end something that opens again must be worse
	// to be told; zero: it need not, and flapping is not damped.
	Cooldown time.Duration
	// Remind is how often what is open and not acknowledged is told again; zero is
	// never.
	Remind time.Duration
}

// DefaultCalm is what holds for a channel that people read. Our own log and
// Alertmanager are told everything at once: the one is a record, the other does
// all this itself.
func DefaultCalm() Calm {
	return Calm{Wait: 2 * time.Second, Interval: time.Minute, Recovery: 30 * time.Second, Cooldown: 5 * time.Minute}
}

// The bounds: somebody must hear of what is critical within minutes.
const (
	MaxWait                = 5 * time.Minute
	MaxInterval            = time.Hour
	MaxRecovery            = time.Hour
	MaxCooldown            = day
	MinRemind, MaxRemind   = 10 * time.Minute, 7 * day
	neverReminds           = "off"
	alertmanagerDoesItself = "Alertmanager does that itself"
)

type rawGroup struct {
	section
	Wait     rawPause `yaml:"wait" jsonschema_description:"How long the first news waits for more, from 0s to 5m. Default: 2s."`
	Interval rawPause `yaml:"interval" jsonschema_description:"How long what follows is gathered into one notice, from 0s to 1h. Default: 1m."`
}

type rawMatcher struct {
	section
	Scope      rawPattern  `yaml:"scope" jsonschema_description:"The scope, as service/web or backend/shop*; * is any text."`
	Cause      rawPattern  `yaml:"cause" jsonschema_description:"The cause, as path_lost or peer_*."`
	Severity   rawSeverity `yaml:"severity" jsonschema_description:"This severity and milder ones."`
	Namespace  rawPattern  `yaml:"namespace" jsonschema_description:"The network namespace's name, as shop-*."`
	Rule       rawPattern  `yaml:"rule" jsonschema_description:"The name of a user's rule."`
	Everything rawBool     `yaml:"everything" jsonschema_description:"Every incident; with nothing else beside it."`
}

type (
	rawPause   struct{ scalar } // a duration from zero on
	rawRemind  struct{ scalar }
	rawPattern struct{ scalar }
)

func (rawPause) kind() kind {
	return kind{"a duration", "30s or 5m", text(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)}
}

func (rawRemind) kind() kind {
	return kind{"a duration or off", "4h or off", text(`^(off|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`)}
}

func (rawPattern) kind() kind {
	s := text("")
	s.Pattern, s.MinLength, s.MaxLength = "", new(uint64(1)), new(uint64(silence.MaxPattern))
	return kind{"text with * for anything", `"service/web*"`, s}
}

// checkCalm reads how a channel is kept from noise, on top of what its kind
// does.
func checkCalm(p *problems, path string, raw rawChannel, c *Channel) Calm {
	calm := DefaultCalm()
	if c.Log || c.Alertmanager != nil {
		calm = Calm{}
	}
	if c.Alertmanager != nil {
		for _, x := range []struct {
			key   string
			at    position
			given bool
			hint  string
		}{
			{"group", raw.Group.At, raw.Group.there() && !raw.Group.Spoiled, "route with group_by, group_wait and group_interval there"},
			{"remind", raw.Remind.At, raw.Remind.Given, "set repeat_interval there"},
		} {
			if x.given {
				p.add(x.at, path+"."+x.key, "", fmt.Sprintf("%s has %s, and %s", path, x.key, alertmanagerDoesItself), x.hint)
			}
		}
	}
	for _, x := range []struct {
		key  string
		raw  scalar
		most time.Duration
		into *time.Duration
	}{
		{"group.wait", raw.Group.Wait.scalar, MaxWait, &calm.Wait},
		{"group.interval", raw.Group.Interval.scalar, MaxInterval, &calm.Interval},
		{"recovery", raw.Recovery.scalar, MaxRecovery, &calm.Recovery},
		{"cooldown", raw.Cooldown.scalar, MaxCooldown, &calm.Cooldown},
	} {
		if x.raw.Good {
			*x.into = checkDuration(p, path+"."+x.key, x.raw, 0, x.most)
		}
	}
	if raw.Remind.Good && raw.Remind.Text != neverReminds {
		calm.Remind = checkDuration(p, path+".remind", raw.Remind.scalar, MinRemind, MaxRemind)
	}
	return calm
}

func checkOnly(p *problems, path string, raw []rawMatcher) []silence.Matcher {
	var out []silence.Matcher
	for i, r := range raw {
		if m, ok := checkMatcher(p, fmt.Sprintf("%s.only[%d]", path, i), r); ok {
			out = append(out, m)
		}
	}
	return out
}

// checkMatcher reads a matcher; ok is false where it is no good, which is said.
func checkMatcher(p *problems, path string, raw rawMatcher) (m silence.Matcher, ok bool) {
	if raw.Spoiled {
		return m, false
	}
	bad := len(p.found)
	everything := raw.Everything.Good && raw.Everything.Text == "true"
	if raw.Everything.Good && !everything {
		p.add(raw.Everything.At, path+".everything", raw.Everything.Text, path+".everything is false", "remove it, and say which incidents are meant")
	}
	leaves := map[string]scalar{"everything": raw.Everything.scalar}
	take := func(key string, s scalar) string {
		leaves[key] = s
		if s.Good && s.Text == "" {
			p.add(s.At, path+"."+key, "", path+"."+key+" is empty", "remove it, or write * for any")
		}
		if s.Given && !s.Good {
			bad = -1 // it was said
		}
		return s.Text
	}
	m = silence.Matcher{
		Scope: take("scope", raw.Scope.scalar), Cause: take("cause", raw.Cause.scalar), Namespace: take("namespace", raw.Namespace.scalar),
		Rule: take("rule", raw.Rule.scalar), Everything: everything,
	}
	if raw.Severity.Good {
		m.Severity = checkSeverity(p, path+".severity", raw.Severity.scalar)
	} else if raw.Severity.Given {
		bad = -1
	}
	if bad != len(p.found) {
		return m, false
	}
	if err := m.Check(Causes()); err != nil {
		refuse(p, path, raw.At, leaves, err)
		return m, false
	}
	return m, true
}

// refuse adds what package silence says, at the place of its key.
func refuse(p *problems, path string, at position, leaves map[string]scalar, err error) {
	problem, ok := errors.AsType[*silence.Problem](err)
	if !ok {
		problem = &silence.Problem{What: err.Error(), Hint: referenceHint}
	}
	if s, there := leaves[problem.Key]; there && s.Given {
		at, path = s.At, path+"."+problem.Key
	}
	p.add(at, path, problem.Text, path+": "+problem.What, problem.Hint)
}

func effectiveMatcher(m silence.Matcher) string {
	if m.Everything {
		return "{everything: true}"
	}
	var parts []string
	for _, x := range []struct{ key, text string }{{"scope", m.Scope}, {"cause", m.Cause}, {"severity", m.Severity}, {"namespace", m.Namespace}, {"rule", m.Rule}} {
		if x.text != "" {
			parts = append(parts, x.key+": "+yamlQuoted(x.text))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func effectiveCalm(line writeLine, c Channel) {
	if len(c.Only) > 0 {
		var only []string
		for _, m := range c.Only {
			only = append(only, effectiveMatcher(m))
		}
		line("    only: [%s]", strings.Join(only, ", "))
	}
	if c.Alertmanager == nil {
		line("    group: {wait: %s, interval: %s}", durationText(c.Calm.Wait), durationText(c.Calm.Interval))
	}
	line("    recovery: %s", durationText(c.Calm.Recovery))
	line("    cooldown: %s", durationText(c.Calm.Cooldown))
	if c.Alertmanager == nil {
		remind := neverReminds
		if c.Calm.Remind > 0 {
			remind = durationText(c.Calm.Remind)
		}
		line("    remind: %s", remind)
	}
}

// Causes returns the names of the causes that matchers may name.
func Causes() []string {
	return []string{
		"workers_filling", "workers_full", "clients_gave_up", "conn_limit", "slow_clients", "leak", "syn_flood", "traffic_missing", "stuck_closing",
		"path_lost", "peer_refusing", "peer_frozen", "peer_half_broken", "peer_resetting", "peer_slow", "peer_not_reading",
		"orderly_stop", "lazy_pool", "heavy_loss", "churn", "port_exhaustion", "pool_at_ceiling", "green_but_failing", "local_fault",
		"users_failing_on_old", "stale_dns", "old_connection",
		"user_rule", "agent_trouble",
	}
}
