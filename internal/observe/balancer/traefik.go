package balancer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// maxPages is how many pages are asked for. One holds MaxMembers services, so
// that a second one only comes from something between us and Traefik.
const maxPages = 20

// Traefik asks the API below base ("http://127.0.0.1:8080") for the servers of
// its HTTP and TCP services. Weighted, mirroring and failover services have
// none of their own: they are made of others. It waits until ctx ends, goes
// through no proxy and follows no redirect. dial connects as net.Dialer's
// DialContext does, which nil stands for.
//
// Traefik calls a server UP that nobody checks; here it is NoCheck.
// Traefik v3.6: doc.traefik.io/traefik/operations/api/, pkg/api/criterion.go
// for the pages, pkg/server/service/service.go for what is up by default.
func Traefik(ctx context.Context, base string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (Answer, error) {
	transport := &http.Transport{
		DialContext:            dial,
		DisableCompression:     true, // bytes read are bytes sent
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        1,
	}
	defer transport.CloseIdleConnections()
	a := &api{
		base: strings.TrimRight(base, "/"), left: MaxAnswer, gathering: newGathering(),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	fail := func(err error) (Answer, error) {
		return Answer{}, fmt.Errorf("ask Traefik at %s: %w", a.base, err)
	}
	if err := a.services(ctx, "/api/http/services"); err != nil {
		return fail(err)
	}
	if err := a.services(ctx, "/api/tcp/services"); err != nil {
		a.missing("TCP services are missing: %v", err)
	}
	return a.done(), nil
}

// api is one conversation.
type api struct {
	*gathering
	client *http.Client
	base   string
	left   int64 // bytes that may still be read
}

// services reads all pages of a list. The error is that there is no first
// page; what breaks off later is noted.
func (a *api) services(ctx context.Context, path string) error {
	for page := 1; page <= maxPages && !a.full(); page++ {
		body, header, err := a.get(ctx, fmt.Sprintf("%s?page=%d&per_page=%d", path, page, MaxMembers))
		if err == nil {
			err = a.list(body)
			_ = body.Close() // only read from
		}
		if err != nil && page == 1 {
			return err
		} else if err != nil {
			a.missing("page %d of %s is missing: %v", page, path, err)
			return nil
		}
		// On the last page the next one is the first.
		if next, err := strconv.Atoi(header.Get("X-Next-Page")); err != nil || next != page+1 {
			return nil
		}
	}
	a.missing("%s has more pages than are read", path)
	return nil
}

// get asks for one document. The caller closes the body, which ends where the
// bytes that may be read end.
func (a *api) get(ctx context.Context, path string) (io.ReadCloser, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; write the address as http://127.0.0.1:8080", err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, nil, a.reason(err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // nothing of it is read
		return nil, nil, refused(resp, path)
	}
	return &counted{resp.Body, &a.left}, resp.Header, nil
}

// reason adds the way out to what went wrong with a request.
func (a *api) reason(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the address, which is told already
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("no whole answer in time (%w); Traefik is stopped or very busy, or something else listens there", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; nobody listens there: is Traefik running, and its API switched on?", err)
	case errors.Is(err, errTooLarge):
		return err
	}
	if text := err.Error(); len(text) > MaxName { // it may quote what came, 64 KiB of it
		err = errors.New(word(text))
	}
	return fmt.Errorf("%w; is this the address of Traefik's API?", err)
}

// refused says what a status other than 200 means.
func refused(resp *http.Response, path string) error {
	path, _, _ = strings.Cut(path, "?")
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return fmt.Errorf("%s is redirected to %s, which is not followed; name the address of the API itself", path, quote(resp.Header.Get("Location")))
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%s: %s; let this host read the API without a password, on an entry point of loopback", path, quote(resp.Status))
	case code == http.StatusNotFound:
		return fmt.Errorf("%s: %s; switch Traefik's API on (api: {insecure: true} on an entry point of loopback), or add its basePath to the address", path, quote(resp.Status))
	}
	return fmt.Errorf("%s: %s; is this the address of Traefik's API?", path, quote(resp.Status))
}

var errTooLarge = fmt.Errorf("it is larger than %d bytes", MaxAnswer)

// counted is a body of which no more is read than there is left.
type counted struct {
	io.ReadCloser
	left *int64
}

func (c *counted) Read(p []byte) (int, error) {
	if *c.left <= 0 {
		return 0, errTooLarge
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), *c.left)])
	*c.left -= int64(n)
	return n, err
}

// service is what we read of one service. HTTP servers have a URL, TCP servers
// an address.
type service struct {
	Name         string `json:"name"`
	Status       string `json:"status"`
	LoadBalancer *struct {
		Servers []struct {
			URL     string `json:"url"`
			Address string `json:"address"`
			Fenced  bool   `json:"fenced"`
		} `json:"servers"`
		HealthCheck json.RawMessage `json:"healthCheck"`
	} `json:"loadBalancer"`
	ServerStatus map[string]string `json:"serverStatus"`
}

// list reads a list of services, one at a time, so that a list that breaks off
// leaves those before. The error is that it is no list.
func (a *api) list(body io.Reader) error {
	d := json.NewDecoder(body)
	if t, err := d.Token(); err != nil {
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("the answer is not JSON (%w); is this the address of Traefik's API, without /dashboard?", err)
		}
		return a.reason(err)
	} else if t != json.Delim('[') {
		return errors.New("the answer is not a list of services; is this the address of Traefik's API?")
	}
	for d.More() {
		var s service
		err := d.Decode(&s)
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			a.missing("the service %s has a wrong type, %s, in %s", quote(s.Name), quote(e.Value), quote(e.Field))
		} else if err != nil {
			a.missing("the list breaks off: %v", a.reason(err))
			return nil
		}
		a.service(s)
	}
	if _, err := d.Token(); err != nil {
		a.missing("the list breaks off: %v", a.reason(err))
	}
	return nil
}

// service adds the servers of one service.
func (g *gathering) service(s service) {
	if s.LoadBalancer == nil {
		return
	}
	checked := len(s.LoadBalancer.HealthCheck) > 0 && string(s.LoadBalancer.HealthCheck) != "null"
	for _, server := range s.LoadBalancer.Servers {
		written := server.URL
		if written == "" {
			written = server.Address
		}
		host, port, key, err := target(server.URL, server.Address)
		if err != nil {
			g.missing("a server of %s is left out: %v", quote(s.Name), err)
			continue
		}
		said, known := s.ServerStatus[key]
		if !known {
			said, known = s.ServerStatus[written]
		}
		m := Member{Group: s.Name, Name: net.JoinHostPort(host, port), Says: said}
		switch {
		case !known:
			m.Says = s.Status // "disabled": Traefik could not build the service
		case server.Fenced:
			m.Status, m.Says = Draining, said+", fenced"
		case said == "DOWN":
			m.Status = Down
		case said == "UP" && checked:
			m.Status = Up
		case said == "UP":
			m.Status, m.Says = NoCheck, "UP, no health check"
		}
		g.add(m, host, port)
	}
}

// target parts an HTTP server's URL or a TCP server's address. key is what the
// server's status is filed under: the URL as Go writes it.
func target(link, address string) (host, port, key string, err error) {
	if link == "" {
		host, port, err = net.SplitHostPort(address)
		if err != nil {
			return "", "", "", fmt.Errorf("its address %s has no host and port", quote(address))
		}
		return host, port, address, nil
	}
	u, err := url.Parse(link)
	if err != nil || u.Hostname() == "" {
		return "", "", "", fmt.Errorf("its address %s is not a URL with a host", shown(link))
	}
	if port = u.Port(); port == "" {
		switch u.Scheme {
		case "http", "h2c":
			port = "80"
		case "https":
			port = "443"
		default:
			return "", "", "", fmt.Errorf("its address %s has no port", shown(link))
		}
	}
	return u.Hostname(), port, u.String(), nil
}

// shown quotes a URL, unless there may be a password in it.
func shown(link string) string {
	if strings.Contains(link, "@") {
		return "(not shown, as it has a user)"
	}
	return quote(link)
}
