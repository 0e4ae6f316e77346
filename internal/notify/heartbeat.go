package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/url"
	"time"
)

// Switch is a dead man's switch elsewhere: somebody is told when nothing has
// been heard for a while. It is asked by GET, which every such service takes; a
// body would say more of this host than that it is alive. It is safe for
// concurrent use.
type Switch struct{ client *client }

// NewSwitch reads the address of a switch, which is a secret: no error quotes
// it. roots may be nil for the system's.
func NewSwitch(address string, roots *x509.CertPool, dial Dial) (*Switch, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the address is no http or https URL; write it as https://HOST/PATH, alone in its file")
	}
	return &Switch{newClient(u, roots, dial)}, nil
}

// Tell asks once, within AttemptTimeout; now is the wall's time. An error names
// the host at most, and may be a Refusal.
func (s *Switch) Tell(ctx context.Context, now time.Time) error { return s.client.get(ctx, now) }

// Close lets go of the connection.
func (s *Switch) Close() { s.client.http.CloseIdleConnections() }

// NextBeat is when a switch is told next that was tried at tried, with that
// error, failures on end ago, and is told each every: after an error sooner, but
// for one that asked to wait.
func NextBeat(tried, now time.Time, every time.Duration, err error, failures int, random *rand.Rand) time.Time {
	due := tried.Add(every)
	if err == nil {
		return due
	}
	again := now.Add(backOff(failures, random))
	if again.After(due) {
		again = due
	}
	if refusal, _ := errors.AsType[*Refusal](err); refusal != nil && refusal.RetryAfter > 0 {
		if asked := now.Add(refusal.RetryAfter); asked.After(again) {
			again = asked
		}
	}
	if again.Before(now) {
		return now.Add(firstRetry) // the attempt took longer than it may
	}
	return again
}
