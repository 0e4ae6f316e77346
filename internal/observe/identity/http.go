package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/reply"
)

// ask sends one GET on a connection and holds the answer to what is expected.
// Something that answers otherwise is another application; one that says that it
// fails (5xx) may be the right one.
func ask(ctx context.Context, conn net.Conn, e *Expect) *finding {
	transport := &http.Transport{
		// The connection is there; of TLS the request need not know.
		DialContext:            once(conn),
		DisableKeepAlives:      true,
		DisableCompression:     true, // a text is looked for as it is sent
		MaxResponseHeaderBytes: maxHeaders,
	}
	at := e.url
	at.Scheme = "http"
	request := &http.Request{Method: http.MethodGet, URL: &at, Host: at.Host, Header: http.Header{"User-Agent": {"foreshock"}}}
	// RoundTrip follows no redirect and keeps no cookie.
	response, err := transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		f := &finding{stage: reply.HTTP}
		f.wrong, f.words = answerWords(err)
		return f
	}
	defer response.Body.Close()
	return e.hold(response)
}

// hold compares an answer with what is expected.
func (e *Expect) hold(response *http.Response) *finding {
	f := &finding{stage: reply.Identity, wrong: true, status: response.StatusCode}
	said := fmt.Sprintf("status %d", response.StatusCode)
	if to := redirect(response); to != "" {
		said += ", a redirect to " + to
	}
	switch {
	case e.status == 0 && response.StatusCode < 400, e.status == response.StatusCode:
	case response.StatusCode >= 500:
		f.stage, f.wrong, f.words = reply.HTTP, false, said+": it answers, and fails"
		return f
	case e.status == 0:
		f.words = said + ", and one below 400 is expected"
		return f
	default:
		f.words = fmt.Sprintf("%s, and %d is expected", said, e.status)
		return f
	}
	if e.header != "" {
		values := response.Header.Values(e.header)
		switch {
		case len(values) == 0:
			f.words = said + " without the header " + e.header
			return f
		case !slices.Contains(values, e.value):
			f.words = said + " with another value of the header " + e.header
			return f
		}
	}
	if e.body != "" {
		body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
		switch {
		case bytes.Contains(body, []byte(e.body)):
		case err != nil:
			f.stage = reply.HTTP
			f.wrong, f.words = answerWords(err)
			return f
		case len(body) == maxBody:
			f.words = fmt.Sprintf("%s, and the first %d KiB of the body do not contain what is expected", said, maxBody>>10)
			return f
		default:
			f.words = said + ", and the body does not contain what is expected"
			return f
		}
	}
	return &finding{stage: reply.Done, words: said + ", as expected", status: response.StatusCode}
}

// redirect says where a redirect leads to, without what may be secret in it.
func redirect(response *http.Response) string {
	if response.StatusCode < 300 || response.StatusCode > 399 {
		return ""
	}
	to, err := url.Parse(response.Header.Get("Location"))
	if err != nil || to.Host == "" {
		return ""
	}
	return printable(to.Scheme + "://" + to.Host)
}

// once hands out a connection that is there, one time.
func once(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		if conn == nil {
			return nil, errors.New("the connection was used already")
		}
		c := conn
		conn = nil
		return c, nil
	}
}

// answerWords says why no HTTP answer could be read, and whether that is because
// something else answers. net/http's own words repeat what came.
func answerWords(err error) (wrong bool, words string) {
	switch {
	case broken(err) != "":
		return false, broken(err) + " before the answer was complete"
	case strings.Contains(err.Error(), "response headers exceeded"):
		return false, fmt.Sprintf("the answer has more than %d KiB of headers", maxHeaders>>10)
	}
	return true, "what answers does not speak HTTP/1.1"
}
