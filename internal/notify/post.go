package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// MaxPostAnswer is how much of an answer to a [Post] is kept, in bytes.
const MaxPostAnswer = 64 << 10

// Post sends other JSON than notices as a webhook's channel sends them: signed,
// with an idempotency key, redirects refused, and without the address in any
// error.
type Post struct {
	client *client
	key    []byte
}

// NewPost returns a Post to a webhook. timeout bounds each request.
func NewPost(w Webhook, timeout time.Duration) (*Post, error) {
	u, err := url.Parse(w.URL)
	if err != nil {
		return nil, fmt.Errorf("the webhook's address cannot be used for a request")
	}
	p := &Post{client: newClient(u, w.RootCAs, w.Dial), key: w.Key}
	p.client.http.Timeout = timeout
	// What has an idempotency key package http sends again by itself where a kept
	// connection breaks; a new one's request it does not. A Post goes once.
	if transport, ok := p.client.http.Transport.(*http.Transport); ok {
		transport.DisableKeepAlives = true
	}
	return p, nil
}

// Send posts body once and returns what was answered, MaxPostAnswer at most.
// Any answer but a 2xx is an error. now is the wall's time.
func (p *Post) Send(ctx context.Context, now time.Time, key string, body []byte) (answer []byte, err error) {
	header := http.Header{}
	header.Set(idempotencyHeader, key)
	if len(p.key) > 0 {
		header.Set(signatureHeader, signature(p.key, now, body))
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "foreshock")
	c := p.client
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: the address cannot be used for a request", c.host)
	}
	request.Header = header
	got, err := c.http.Do(request)
	if err != nil {
		return nil, c.failure(err)
	}
	defer got.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(got.Body, MaxPostAnswer))
	if got.StatusCode/100 != 2 {
		return answer, refuse(c.host, got, now)
	}
	if err != nil {
		return answer, fmt.Errorf("%s: its answer broke off", c.host)
	}
	return answer, nil
}

// Host is whom it posts to, with the port where one is named.
func (p *Post) Host() string { return p.client.host }

// Close lets go of its connections.
func (p *Post) Close() { p.client.http.CloseIdleConnections() }
