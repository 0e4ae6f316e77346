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
// hold, and remembers the last answer's status. Not safe for concurrent use.
type guard struct {
	next       http.RoundTripper
	status     int
	retryAfter string
	redirect   string // what to say of a redirect; empty for none
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	g.status, g.retryAfter = answer.StatusCode, answer.Header.Get("Retry-After")
	if answer.StatusCode/100 == 3 {
		_ = answer.Body.Close()
		to := ""
		if at, err := answer.Location(); err == nil && at.Host != "" { // the path may hold a secret
			to = " to " + at.Scheme + "://" + at.Host
		}
		g.redirect = fmt.Sprintf("%s answered %d%s: redirects are not followed", r.URL.Host, answer.StatusCode, to)
		return nil, errRedirect
	}
	answer.Body = bounded{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}

type bounded struct {
	io.Reader
	io.Closer
}
