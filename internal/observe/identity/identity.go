// Package identity connects to the addresses of a name as a user would, and says
// whether the right application answers there: TCP, TLS for the name, HTTP, and
// then a status, a header or a part of the body that only that application has.
//
//	expect, err := identity.NewExpect("https://shop.example/healthz", 200, "", "X-Site: shop")
//	prober := &identity.Prober{Dial: dialer.DialContext, Now: clock.Now}
//	probe := prober.Probe(ctx, identity.Target{Name: "shop.example", Address: address, Expect: expect})
//
// What an address answers is bounded in time and size, redirects are answers and
// not followed, and no part of a body, of a header's value or of a redirect's
// path is repeated. [Wanted] and [Schedule] say which addresses are probed and
// when; they are pure.
package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

const (
	connectTimeout = 3 * time.Second // a SYN, and one sent again after 1 s
	wholeTimeout   = 10 * time.Second
	maxHeaders     = 64 << 10
	maxBody        = 64 << 10
	maxPorts       = 8 // tried of a target without Expect
)

// Target is one address of a name.
type Target struct {
	Name    string
	Address netip.Addr
	// Ports are those of the switch; none: 443, then 80. With Expect its URL's
	// port counts alone.
	Ports []uint16
	// Expect is what the right application answers; nil: a connection is enough.
	Expect *Expect
}

// Expect tells the right application from another one.
type Expect struct {
	url    url.URL
	port   uint16
	status int    // zero: any below 400
	body   string // contained in the first 64 KiB; empty: any
	header string // the canonical name; empty: any
	value  string // of that header
}

// NewExpect checks what is expected: an http or https URL, whose host is the name
// for TLS and HTTP; a status, zero for any below 400; a text that the first 64
// KiB of the body contain, and a header "Name: value", both empty for any.
func NewExpect(rawURL string, status int, bodyContains, header string) (*Expect, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil: // whose words may repeat a password
		return nil, errors.New("identity URL cannot be read: it is of the form https://shop.example/healthz")
	case u.User != nil, !strings.Contains(rawURL, "://") && strings.Contains(rawURL, "@"):
		return nil, errors.New("identity URL has a user or password: leave it out, a probe only asks what everybody may see")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("identity URL %q is not of the form https://shop.example/healthz", rawURL)
	}
	e := &Expect{url: *u, port: 443, status: status, body: bodyContains}
	if u.Scheme == "http" {
		e.port = 80
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("identity URL %q: the port is from 1 to 65535", rawURL)
		}
		e.port = uint16(port)
	}
	if status != 0 && (status < 200 || status > 599) {
		return nil, fmt.Errorf("expected status %d is none: it is from 200 to 599, or 0 for any below 400", status)
	}
	if len(bodyContains) > maxBody {
		return nil, fmt.Errorf("the expected text has %d bytes, and %d of a body are read", len(bodyContains), maxBody)
	}
	if header != "" {
		name, value, found := strings.Cut(header, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || !isToken(name) || value == "" {
			return nil, fmt.Errorf("expected header %q is not of the form %q", header, "X-Site: shop")
		}
		e.header, e.value = textproto.CanonicalMIMEHeaderKey(name), value
	}
	return e, nil
}

// isToken reports whether a text may be a header's name: RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// Prober connects to addresses. It is safe for concurrent use as long as its
// fields are not changed.
type Prober struct {
	// Dial makes a TCP connection, as dial.Dialer's DialContext does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the agent's steady clock.
	Now func() time.Time
	// Roots are whom certificates are trusted from; nil: the system's.
	Roots *x509.CertPool
}

// Probe connects to one address, and says how far it came. It takes 10 s at most.
func (p *Prober) Probe(ctx context.Context, t Target) reply.Probe {
	began := p.Now()
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	out := p.probe(ctx, t)
	out.Name = t.Name
	out.At = p.Now()
	out.Took = out.At.Sub(began)
	return out
}

func (p *Prober) probe(ctx context.Context, t Target) reply.Probe {
	if t.Expect == nil {
		return p.anyPort(ctx, t)
	}
	out := reply.Probe{Address: netip.AddrPortFrom(t.Address, t.Expect.port)}
	conn, err := p.connect(ctx, out.Address)
	if err != nil {
		out.Failed, out.Words = reply.Connect, connectWords(err)
		return out
	}
	defer conn.Close()
	if t.Expect.url.Scheme == "https" {
		secure, f := p.handshake(ctx, conn, t.Expect.url.Hostname())
		if f != nil {
			f.fill(&out)
			return out
		}
		conn = secure
	}
	ask(ctx, conn, t.Expect).fill(&out)
	return out
}

// anyPort connects to the first port that takes connections.
func (p *Prober) anyPort(ctx context.Context, t Target) reply.Probe {
	ports := t.Ports
	if len(ports) == 0 {
		ports = []uint16{443, 80}
	}
	ports = ports[:min(len(ports), maxPorts)]
	var refused []string
	for _, port := range ports {
		address := netip.AddrPortFrom(t.Address, port)
		conn, err := p.connect(ctx, address)
		if err == nil {
			_ = conn.Close()
			words := fmt.Sprintf("port %d takes connections; which application answers was not asked", port)
			return reply.Probe{Address: address, Failed: reply.Done, Words: words}
		}
		if words := connectWords(err); !slices.Contains(refused, words) {
			refused = append(refused, words)
		}
	}
	words := strings.Join(refused, "; ")
	if len(ports) > 1 {
		words = fmt.Sprintf("none of the ports %s takes connections: %s", joined(ports), words)
	}
	return reply.Probe{Address: netip.AddrPortFrom(t.Address, ports[0]), Failed: reply.Connect, Words: words}
}

func (p *Prober) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return p.Dial(ctx, "tcp", to.String())
}

func joined(ports []uint16) string {
	var b strings.Builder
	for i, port := range ports {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d", port)
	}
	return b.String()
}

// finding is what one stage, or all, came to.
type finding struct {
	stage  reply.Stage
	wrong  bool
	words  string
	status int
}

func (f *finding) fill(p *reply.Probe) {
	p.Failed, p.Wrong, p.Words, p.Status = f.stage, f.wrong, f.words, f.status
}
