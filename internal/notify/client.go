package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// AttemptTimeout bounds one attempt: the connection, the request and the
	// whole answer.
	AttemptTimeout = 10 * time.Second
	// maxRetryAfter is the longest that a receiver may ask us to wait.
	maxRetryAfter = time.Hour
	maxAnswer     = 4 << 10
	maxHeaders    = 64 << 10
	maxWords      = 200
)

// Refusal is an answer that is not a yes. Its words have the receiver's host,
// never its address: that may hold a secret.
type Refusal struct {
	Words string
	// RetryAfter is what the receiver asked for; zero when it asked nothing.
	RetryAfter time.Duration
	// Outage: the receiver is out of order, for this notice as for any other.
	Outage bool
	// ForGood: the same notice would be refused again.
	ForGood bool
}

func (r *Refusal) Error() string { return r.Words }

// client posts JSON to one address, or asks it. Proxies are those of the environment
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), as in other programs; loopback never
// has one. A value there that is no URL is passed over (net/http).
type client struct {
	address string
	host    string
	http    *http.Client
}

func newClient(u *url.URL, roots *x509.CertPool, dial Dial) *client {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeaders,
		IdleConnTimeout:        2 * RepeatEvery,
	}
	return &client{
		address: u.String(), host: u.Host,
		http: &http.Client{
			Transport: transport,
			Timeout:   AttemptTimeout,
			// A redirect may lead to another host: what we say is for this one.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// answer is how a receiver's answers are read.
type answer struct {
	// says words a refusal by the answer's body; nil says nothing of it.
	says func(body []byte) string
	// denies reports whether the body of a 2xx answer is a no; nil does not read
	// it.
	denies func(body []byte) bool
}

// post sends body and returns nil when it was taken.
func (c *client) post(ctx context.Context, now time.Time, header http.Header, body []byte, read answer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: the address cannot be used for a request", c.host)
	}
	request.Header = header
	request.Header.Set("Content-Type", "application/json")
	return c.do(request, now, read)
}

// get asks the address and returns nil when the answer is a yes.
func (c *client) get(ctx context.Context, now time.Time) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address, nil)
	if err != nil {
		return fmt.Errorf("%s: the address cannot be used for a request", c.host)
	}
	return c.do(request, now, answer{})
}

// do makes a request.
func (c *client) do(request *http.Request, now time.Time, read answer) error {
	request.Header.Set("User-Agent", "foreshock")
	answer, err := c.http.Do(request)
	if err != nil {
		return c.failure(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		// A body that is long, or breaks off, is no clear no.
		if read.denies != nil && read.denies(readUpTo(answer.Body)) {
			return &Refusal{Words: fmt.Sprintf("%s answered %d, and an error in the body", c.host, answer.StatusCode)}
		}
		return nil
	}
	refusal := refuse(c.host, answer, now)
	if read.says != nil {
		if words := read.says(readUpTo(answer.Body)); words != "" {
			refusal.Words += ": " + plain(words)
		}
	}
	return refusal
}

// readUpTo reads the first maxAnswer of a body. What arrives before the
// connection breaks is better than nothing.
func readUpTo(body io.Reader) []byte {
	text, _ := io.ReadAll(io.LimitReader(body, maxAnswer))
	return text
}

// failure words an error of the connection. The error of package http quotes
// the address; what it wraps does not.
func (c *client) failure(err error) error {
	wrapped, ok := errors.AsType[*url.Error](err)
	if !ok {
		return fmt.Errorf("%s: no answer", c.host)
	}
	if wrapped.Timeout() {
		return fmt.Errorf("%s did not answer within %s", c.host, c.http.Timeout)
	}
	if strings.Contains(wrapped.Err.Error(), "Location header") { // quoted, and it may repeat the address
		return &unreached{c.host, errors.New("a redirect that cannot be read")}
	}
	return &unreached{c.host, wrapped.Err}
}

// unreached is a receiver that no answer came from.
type unreached struct {
	host string
	err  error
}

func (u *unreached) Error() string { return u.host + ": " + plain(u.err.Error()) }
func (u *unreached) Unwrap() error { return u.err }

// outages are the answers by which a receiver, or a proxy before it, says that it
// takes nothing at the moment: RFC 9110 and, of 425 and 429, RFC 8470 and 6585.
var outages = []int{
	http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// refuse reads an answer that is not a yes.
func refuse(host string, answer *http.Response, now time.Time) *Refusal {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode)))
	switch code := answer.StatusCode; {
	case code/100 == 3:
		return &Refusal{Words: fmt.Sprintf("%s answered %d%s: redirects are not followed, give that address itself", host, code, towards(answer))}
	case code == http.StatusBadRequest, code == http.StatusMethodNotAllowed, code == http.StatusRequestEntityTooLarge,
		code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return &Refusal{Words: fmt.Sprintf("%s answered %s", host, status), ForGood: true}
	default:
		// Also 401, 403, 404: the operator may put them right within the hour.
		return &Refusal{Words: fmt.Sprintf("%s answered %s", host, status), Outage: slices.Contains(outages, code), RetryAfter: retryAfter(answer.Header.Get("Retry-After"), now)}
	}
}

// towards says where a redirect leads, without what may be a secret.
func towards(answer *http.Response) string {
	to, err := answer.Location()
	if err != nil || to.Host == "" {
		return ""
	}
	rest := ""
	if strings.Trim(to.Path, "/") != "" {
		rest = "/…"
	}
	return " to " + plain(to.Scheme+"://"+to.Host+rest)
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110,
// section 10.2.3). The answer is between zero and maxRetryAfter; zero for
// what is neither, or past.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

// plain makes a stranger's words fit for one line of ours.
func plain(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if runes := []rune(text); len(runes) > maxWords {
		return string(runes[:maxWords]) + "…"
	}
	return text
}
