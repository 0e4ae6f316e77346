package identity

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

// ask sends one GET on a connection and holds the answer to what is expected.
// Something that answers otherwise is another application; one that says that it
// fails (5xx) may be the right one. It reads the answer itself: http.Transport
// writes what a server says unasked into the program's log.
func ask(ctx context.Context, conn net.Conn, e *Expect) *finding {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	in := &io.LimitedReader{R: conn, N: maxHeaders}
	response, err := exchange(conn, in, e)
	switch {
	case err == nil:
		in.N = 8 * maxBody // a chunk of one byte takes six
		return e.hold(ctx, response)
	case in.N == 0:
		return &finding{stage: reply.HTTP, words: fmt.Sprintf("the answer has more than %d KiB of headers", maxHeaders>>10)}
	}
	f := &finding{stage: reply.HTTP}
	f.wrong, f.words = answerWords(ctx, err)
	return f
}

// exchange sends the request and reads the answer up to its body, from in.
func exchange(conn net.Conn, in io.Reader, e *Expect) (*http.Response, error) {
	request := &http.Request{
		Method: http.MethodGet, URL: &e.url, Host: e.url.Host, Close: true,
		Header: http.Header{"User-Agent": {"foreshock"}},
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(in)
	for {
		response, err := http.ReadResponse(reader, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
}

// hold compares an answer with what is expected.
func (e *Expect) hold(ctx context.Context, response *http.Response) *finding {
	f := &finding{stage: reply.Identity, wrong: true, status: response.StatusCode}
	said := fmt.Sprintf("status %d", response.StatusCode)
	if to := redirect(response); to != "" {
		said += ", a redirect to " + to
	}
	switch {
	case e.status == 0 && response.StatusCode >= 200 && response.StatusCode < 400, e.status == response.StatusCode:
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
			f.wrong, f.words = answerWords(ctx, err)
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

// answerWords says why no HTTP answer could be read, and whether that is because
// something else answers. The words of net/http repeat what came.
func answerWords(ctx context.Context, err error) (wrong bool, words string) {
	if ctx.Err() != nil { // whatever it broke off at
		err = ctx.Err()
	}
	if broken(err) != "" {
		return false, broken(err) + " before the answer was complete"
	}
	return true, "what answers does not speak HTTP/1.1"
}
