package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/certificate"
	"github.com/foreshock/foreshock/internal/config"
)

// defaultAgent is where the agent answers unless it was told otherwise.
const defaultAgent = "http://127.0.0.1:9748"

// maxAnswer bounds what is read of an agent's answer, in bytes.
const maxAnswer = 64 << 20

// callerFlags is what agents are called with, by flags or else the environment.
type callerFlags struct{ ca, cert, key, readToken *string }

// addCallerFlags adds them.
func addCallerFlags(cmd *cobra.Command) callerFlags {
	add := func(name, what, variable string) *string {
		value := cmd.Flags().String(name, "", what+" (default $"+variable+")")
		_ = cmd.MarkFlagFilename(name)
		return value
	}
	return callerFlags{
		ca:        add("ca", "file with the authorities that agents' certificates are of, in place of the system's", "FORESHOCK_CA"),
		cert:      add("client-cert", "file with a client certificate", "FORESHOCK_CLIENT_CERT"),
		key:       add("client-key", "file with its key", "FORESHOCK_CLIENT_KEY"),
		readToken: add("read-token-file", "file with the agent's read token", "FORESHOCK_READ_TOKEN_FILE, or the configuration's"),
	}
}

// connection is one agent as a command calls it. Its owner closes it.
type connection struct {
	address string // without a slash at its end
	own     bool   // of this host, which is called without leaving it
	client  *http.Client
	// read is presented with each call that changes nothing; empty: nothing is.
	read string
}

// configBeside is the configuration of this host, for what flags leave open. One
// that nobody named and that is no good is no reason not to ask an agent that
// somebody did name.
func configBeside(address, file string) (config.Config, error) {
	cfg, _, err := loadConfig(file)
	if err != nil && address != "" && file == "" {
		return config.Config{}, nil
	}
	return cfg, err
}

// connect makes a connection to the agent at an address, or without one to that
// of this host, where its configuration says that it listens. token is the source
// of the token for changes where a flag named one: it lets read too.
func (f callerFlags) connect(address string, cfg config.Config, token config.Secret) (connection, error) {
	c := connection{address: strings.TrimSuffix(address, "/"), own: address == "", client: &http.Client{CheckRedirect: stay}}
	caller := certificate.Caller{
		CA:   cmp.Or(*f.ca, os.Getenv("FORESHOCK_CA")),
		Cert: cmp.Or(*f.cert, os.Getenv("FORESHOCK_CLIENT_CERT")),
		Key:  cmp.Or(*f.key, os.Getenv("FORESHOCK_CLIENT_KEY")),
	}
	if c.own {
		c.address, caller.Own = agentAt(cfg), cfg.TLS.Cert
	}
	var err error
	if c.read, err = f.readTokenFor(c, cfg, token, caller.Cert != ""); err != nil {
		return connection{}, err
	}
	if !strings.HasPrefix(strings.ToLower(c.address), "https:") {
		return c, nil
	}
	settings, err := caller.Client()
	if err != nil {
		return connection{}, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.ForceAttemptHTTP2 = settings, false
	c.client.Transport = transport
	return c, nil
}

// readTokenFor is the token to read with. One that was named must be good, and is
// never sent in clear; the configuration's is left out where it cannot be used and
// the agent is not this host's own, or a client certificate is in its place.
func (f callerFlags) readTokenFor(c connection, cfg config.Config, token config.Secret, certified bool) (string, error) {
	named := cmp.Or(*f.readToken, os.Getenv("FORESHOCK_READ_TOKEN_FILE"))
	source := cmp.Or(config.Secret{File: named}, token, cfg.ReadToken)
	given := named != "" || !token.IsZero()
	switch {
	case source.IsZero(), !given && certified:
		return "", nil
	case c.inClear() && given:
		return "", c.errInClear()
	case c.inClear():
		return "", nil
	}
	read, err := source.Read()
	switch {
	case err == nil:
		return read, nil
	case given:
		return "", err
	case c.own:
		return "", fmt.Errorf("%w; or name a file with the read token by --read-token-file, or run as a user that may read it", err)
	}
	return "", nil
}

// inClear reports whether what is sent to it may be read on the way.
func (c connection) inClear() bool {
	u, err := url.Parse(c.address)
	if c.own || err != nil || !strings.EqualFold(u.Scheme, "http") {
		return false
	}
	at, err := netip.ParseAddr(u.Hostname())
	return !strings.EqualFold(u.Hostname(), "localhost") && (err != nil || !at.Unmap().IsLoopback())
}

func (c connection) errInClear() error {
	return fmt.Errorf("the token would go to %s in clear: use https://, or a tunnel from this host's loopback", c.address)
}

// stay follows no redirect: agents send none, and a token is for the agent that
// was named.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// agentAt is the address of an agent of this host by where it listens.
func agentAt(cfg config.Config) string {
	at, scheme := cfg.Listen.Addr(), "http://"
	switch {
	case at == netip.IPv4Unspecified():
		at = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case at.IsUnspecified():
		at = netip.IPv6Loopback()
	}
	if !cfg.TLS.IsZero() {
		scheme = "https://"
	}
	return scheme + netip.AddrPortFrom(at, cfg.Listen.Port()).String()
}

func (c connection) close() {
	if c.client.Transport != nil { // else it is everybody's
		c.client.CloseIdleConnections()
	}
}

// send makes one call, with a token unless it is empty. Its errors say what to do;
// whoever calls closes the body.
func (c connection) send(ctx context.Context, method, path, token string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("--agent %q is no address: %w; use one as %s", c.address, err, defaultAgent)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, unanswered(err)
	}
	return resp, nil
}

// unanswered says why an agent did not answer, and what to do about it.
func unanswered(err error) error {
	var untrusted *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("the agent's certificate is not to be trusted: %w; name its authority with --ca, and the agent as its certificate does", err)
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert
		return fmt.Errorf("the agent ends the connection: %w; see --client-cert and --client-key, and tls: in its configuration", err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("the agent does not speak TLS: %w; use http://", err)
	}
	return fmt.Errorf("the agent does not answer: %w; is `foreshock agent` running there?", err)
}

// refusal is what an answer that is not what was asked for says.
func (c connection) refusal(method, path string, resp *http.Response, answer []byte) error {
	var p api.Problem
	switch {
	case json.Unmarshal(answer, &p) == nil && p.Error != "":
		return refused(p)
	case resp.StatusCode == http.StatusBadRequest && resp.TLS == nil && bytes.Contains(answer, []byte("HTTPS server")): // net/http's own words
		return fmt.Errorf("the agent at %s speaks TLS: use https://", c.address)
	case resp.Header.Get("Location") != "":
		return fmt.Errorf("%s sends elsewhere, to %.200q: use the agent's own address", c.address, resp.Header.Get("Location"))
	}
	return fmt.Errorf("what answers is no foreshock agent: %s %s: %s; use another --agent", method, c.address+path, resp.Status)
}

// get gets one JSON answer of the agent.
func (c connection) get(ctx context.Context, path string, into any) (http.Header, error) {
	return c.ask(ctx, http.MethodGet, path, c.read, nil, into)
}

// change makes one call that changes something. into, where it is not nil, is
// read from the answer.
func (c connection) change(ctx context.Context, method, path, token string, body, into any) error {
	if c.inClear() {
		return c.errInClear()
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write what to change: %w", err)
	}
	_, err = c.ask(ctx, method, path, token, raw, into)
	return err
}

func (c connection) ask(ctx context.Context, method, path, token string, body []byte, into any) (http.Header, error) {
	resp, err := c.send(ctx, method, path, token, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the agent does not answer to the end: %s %s: %w", method, c.address+path, err)
	}
	if resp.StatusCode != http.StatusOK && (body == nil || resp.StatusCode != http.StatusNoContent) {
		return nil, c.refusal(method, path, resp, answer)
	}
	if into == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return nil, fmt.Errorf("what answers is no foreshock agent: %s %s: %w; use another --agent", method, c.address+path, err)
	}
	return resp.Header, nil
}

// download begins to get what the agent streams.
func (c connection) download(ctx context.Context, path string) (io.ReadCloser, error) {
	resp, err := c.send(ctx, http.MethodGet, path, c.read, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the agent does not answer to the end: GET %s: %w", c.address+path, err)
	}
	return nil, c.refusal(http.MethodGet, path, resp, answer)
}
