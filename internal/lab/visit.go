package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"
)

// visitors are a population inside its own process.
type visitors struct {
	Visitors
	resolver *net.Resolver
	cached   netip.Addr // of Cached ones, after the first answer
	origin   time.Time  // all times are told from it

	mu   sync.Mutex
	held map[int]Visit // by client, those that are not over
	log  *json.Encoder
	err  error // the first that writing the log met
}

// retryAfter is for how long a client waits after a failure on average: half as
// long to half as long again, so that they do not try in step for ever.
const retryAfter = time.Second

// runVisitors is the child that visits.
func runVisitors(ctx context.Context, config visitsConfig, _ <-chan json.RawMessage, ready func(any) error) error {
	_ = os.WriteFile("/proc/self/comm", []byte("lab-"+config.Name), 0)
	file, err := os.OpenFile(config.Log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	p := &visitors{Visitors: config.Visitors, origin: time.Now(), held: map[int]Visit{}, log: json.NewEncoder(out)}
	p.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(p.Resolver, dnsPort).String())
	}}
	if p.Habit == Cached {
		if p.cached, err = p.resolve(ctx); err != nil {
			return fmt.Errorf("resolve %s for good: %w", p.Site, err)
		}
	}
	if err := ready(struct{}{}); err != nil {
		return err
	}
	var all sync.WaitGroup
	for client := range p.Clients {
		all.Go(func() { p.live(ctx, client) })
	}
	all.Wait()
	for _, v := range p.held {
		p.write(v)
	}
	return errors.Join(p.err, out.Flush())
}

// live is one client: visit after visit. The first come spread over a second, as
// people do.
func (p *visitors) live(ctx context.Context, client int) {
	pause := time.Second * time.Duration(client) / time.Duration(p.Clients)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		v := Visit{Client: client, Began: p.now()}
		err := p.visit(ctx, &v)
		if ctx.Err() != nil {
			return // what was held to the end is in held
		}
		v.Closed, pause = p.now(), 0
		if err != nil {
			v.Error, pause = err.Error(), retryAfter/2+rand.N(retryAfter)
		}
		p.mu.Lock()
		delete(p.held, client)
		p.write(v)
		p.mu.Unlock()
	}
}

// now is the time, on the wall clock that never jumps.
func (p *visitors) now() time.Time { return p.origin.Add(time.Since(p.origin)).Round(0) }

// note keeps what is to be said of a visit that is not over at the end.
func (p *visitors) note(v Visit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[v.Client] = v
}

// write is called with mu held, or when all is over.
func (p *visitors) write(v Visit) {
	if err := p.log.Encode(v); err != nil && p.err == nil {
		p.err = fmt.Errorf("write log: %w", err)
	}
}

// visit resolves, connects and asks until the visit is over.
func (p *visitors) visit(ctx context.Context, v *Visit) error {
	address := p.Address
	var err error
	switch p.Habit {
	case Cached:
		address = p.cached
	case Honest, Pooled:
		address, err = p.resolve(ctx)
	case Fixed:
	}
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	v.Remote, v.Dialed = netip.AddrPortFrom(address, p.Port), p.now()
	p.note(*v)
	dialer := net.Dialer{Timeout: p.Patience, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", v.Remote.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	v.Opened = p.now()
	v.Local = conn.LocalAddr().(*net.TCPAddr).AddrPort()
	p.note(*v)
	// The end of all must not close what stands: the truth goes on until then.
	defer conn.Close()
	return p.stay(ctx, conn, v)
}

// stay asks again and again: for a while, or for as long as it is answered.
func (p *visitors) stay(ctx context.Context, conn net.Conn, v *Visit) error {
	request := fmt.Appendf(nil, "GET /visit HTTP/1.1\r\nHost: %s\r\nUser-Agent: foreshock-lab\r\n\r\n", p.Site)
	in := bufio.NewReader(conn)
	// Not all at once, nor all in step.
	hold := p.Hold/2 + rand.N(p.Hold)
	for {
		site, err := p.askSite(conn, in, request)
		if err != nil {
			return fmt.Errorf("ask: %w", err)
		}
		v.Requests, v.Site = v.Requests+1, site
		p.note(*v)
		every := p.Every
		if p.Habit != Pooled {
			left := hold - p.now().Sub(v.Opened)
			if left <= 0 {
				return nil
			}
			every = min(every, left)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// askSite asks once and returns who answered.
func (p *visitors) askSite(conn net.Conn, in *bufio.Reader, request []byte) (site string, err error) {
	if err := conn.SetDeadline(time.Now().Add(p.Patience)); err != nil {
		return "", err
	}
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode >= 400 {
		err = errors.New(answer.Status)
	}
	return answer.Header.Get(siteHeader), err
}

// resolve asks the resolver for the first address of the site.
func (p *visitors) resolve(ctx context.Context) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	family := "ip4"
	if p.IPv6 {
		family = "ip6"
	}
	found, err := p.resolver.LookupNetIP(ctx, family, p.Site+".")
	if err != nil {
		return netip.Addr{}, err
	}
	return found[0].Unmap(), nil
}
