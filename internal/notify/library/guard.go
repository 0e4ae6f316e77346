package library

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

const (
	maxHeaders = 64 << 10 // bytes of an answer's headers
	maxAnswer  = 64 << 10 // bytes of its body that a service gets to read
)

// errRedirect is why a redirect is not followed.
var errRedirect = errors.New("redirects are not followed")

// guard is a transport that follows no redirect, bounds what an answer may
// hold, and remembers how the last request went. Not safe for concurrent use.
type guard struct {
	next       http.RoundTripper
	asked      bool
	problem    error // why there was no answer
	status     int   // of the answer; 0 for none
	retryAfter string
	redirect   string // what to say of a redirect; empty for none
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := g.next.RoundTrip(r)
	g.asked, g.problem, g.status, g.retryAfter = true, err, 0, ""
	if err != nil {
		return nil, err
	}
	g.status, g.retryAfter = answer.StatusCode, answer.Header.Get("Retry-After")
	if answer.StatusCode/100 == 3 {
		_ = answer.Body.Close()
		to := ""
		if at, err := answer.Location(); err == nil && at.Host != "" { // the path may hold a secret
			to = ", and it leads to " + at.Scheme + "://" + at.Host
		}
		g.redirect = errRedirect.Error() + to
		return nil, errRedirect
	}
	answer.Body = bounded{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}

// denies says why a message was not sent of which the library says that it was:
// some of its services take no answer, or one that they do not understand, for a
// yes.
func (g *guard) denies(service string) error {
	switch {
	case service == "smtp": // no HTTP
		return nil
	case !g.asked:
		return errors.New("nobody was asked: the address names no receiver")
	case g.problem != nil:
		return g.problem
	case g.status/100 != 2:
		return fmt.Errorf("HTTP %d", g.status)
	}
	return nil
}

type bounded struct {
	io.Reader
	io.Closer
}
