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
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// client is the load's own HTTP client. Go's would retry a request on a kept
// connection that was reset, and so hide what the log is there to show.
type client struct {
	network, addr string
	request, last []byte // last asks the server to close after it
	timeout       time.Duration
	keepAlive     bool
	inTurn        bool // the connection that rested longest is used first
	freshEvery    int

	mu    sync.Mutex
	idle  []net.Conn
	begun int

	logMu sync.Mutex
	log   *json.Encoder
	err   error // the first that writing the log met
	done  int
}

// idleConnections bounds what is kept.
const idleConnections = 1000

// runLoad is the child that sends load.
func runLoad(ctx context.Context, load loadConfig, _ <-chan json.RawMessage, ready func(any) error) error {
	rate, err := newRamp(load.Rate)
	if err != nil {
		return err
	}
	inFlight, err := descriptorRoom()
	if err != nil {
		return err
	}
	c, err := newClient(load.Load)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(load.Log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer file.Close()
	c.log = json.NewEncoder(file)
	var rng *rand.Rand
	if load.Poisson {
		rng = rand.New(rand.NewPCG(load.Seed, 0))
	}
	due := rate.arrivals(load.Duration, maxRequests, rng)
	if err := c.open(load.Connections); err != nil {
		return fmt.Errorf("open connections: %w", err)
	}
	if err := ready(struct{}{}); err != nil {
		return err
	}

	var all sync.WaitGroup
	slots := make(chan struct{}, max(inFlight-idleConnections, 1)) // full: the request is skipped
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, at := range due {
		timer.Reset(time.Until(begin.Add(at)))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		select {
		case slots <- struct{}{}:
			all.Go(func() {
				c.write(c.do())
				<-slots
			})
		default:
			r := Begin()
			r.Outcome = Skipped
			c.write(r)
		}
	}
	// The load lasts as long as it was asked to, and a ramp may end in
	// silence.
	timer.Reset(time.Until(begin.Add(load.Duration)))
	select {
	case <-ctx.Done():
		return nil
	case <-timer.C:
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
	}
	if c.err != nil {
		return fmt.Errorf("write log: %w", c.err)
	}
	return ready(loadEnded{Requests: c.done})
}

func newClient(load Load) (*client, error) {
	u, err := url.Parse(load.URL)
	if err != nil {
		return nil, err
	}
	addr, err := addrOf(u)
	if err != nil {
		return nil, err
	}
	method, length := http.MethodGet, ""
	if load.Body > 0 {
		method, length = http.MethodPost, fmt.Sprintf("Content-Length: %d\r\n", load.Body)
	}
	request := func(connection string) []byte {
		head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: foreshock-lab\r\nConnection: %s\r\n%s\r\n", method, u.RequestURI(), u.Host, connection, length)
		return append(head, make([]byte, load.Body)...)
	}
	c := &client{
		network: network(addr.Addr()), addr: addr.String(), timeout: load.Timeout,
		last: request("close"), keepAlive: load.KeepAlive, inTurn: load.Connections > 0, freshEvery: load.FreshEvery,
	}
	if c.request = c.last; c.keepAlive {
		c.request = request("keep-alive")
	}
	return c, nil
}

// open opens so many connections and keeps them.
func (c *client) open(n int) error {
	for range n {
		conn, err := c.dial(time.Now().Add(c.timeout))
		if err != nil {
			return err
		}
		c.keep(conn)
	}
	return nil
}

func (c *client) dial(deadline time.Time) (net.Conn, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	return dialer.Dial(c.network, c.addr)
}

func (c *client) write(r Record) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if err := c.log.Encode(r); err != nil && c.err == nil {
		c.err = err
	}
	c.done++
}

// do makes one request.
func (c *client) do() Record {
	r := Begin()
	r.Finish(c.exchange(&r))
	return r
}

// Begin returns the record of a request that begins now. Start carries the
// runtime's monotonic reading until [Record.Finish].
func Begin() Record {
	var mono unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) // cannot fail for this clock
	return Record{Start: time.Now(), Mono: mono.Nano()}
}

// Finish fills in how long a request took until now and how it ended: by its
// Status when err is nil, else by err.
func (r *Record) Finish(err error) {
	r.TotalMS = milliseconds(time.Since(r.Start))
	r.Start = r.Start.Round(0)
	switch {
	case err != nil:
		r.Outcome = outcomeOf(err)
		r.Error = err.Error()
	case r.Status >= 200 && r.Status < 300:
		r.Outcome = OK
	default:
		r.Outcome = Status
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func outcomeOf(err error) Outcome {
	var netErr net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Reset
	case errors.As(err, &netErr) && netErr.Timeout():
		return Timeout
	}
	return Other
}

// exchange asks on a kept connection, or a fresh one. A kept one that the server
// closes as it is asked, before any answer, is no failure: clients try again on
// another (RFC 9112, section 9.3.1).
func (c *client) exchange(r *Record) error {
	deadline := r.Start.Add(c.timeout)
	request, conn := c.next()
	if conn != nil {
		r.Reused = true
		answered, err := c.ask(conn, request, deadline, r)
		if answered || err == nil || outcomeOf(err) != Reset {
			return err
		}
		r.Reused = false
	}
	began := time.Now()
	conn, err := c.dial(deadline)
	if err != nil {
		return err
	}
	r.ConnectMS = milliseconds(time.Since(began))
	_, err = c.ask(conn, request, deadline, r)
	return err
}

// ask sends the request on conn, takes the answer, and keeps or closes conn.
// answered says whether any of the answer came.
func (c *client) ask(conn net.Conn, request []byte, deadline time.Time, r *Record) (answered bool, err error) {
	keep := false
	defer func() {
		if !keep || !c.keep(conn) {
			_ = conn.Close()
		}
	}()
	reply, err := Converse(conn, request, deadline)
	r.Status = reply.Status
	keep = err == nil && c.keepAlive && reply.Keep
	return reply.Begun, err
}

// Reply is what a request on a connection was answered with.
type Reply struct {
	Begun  bool // any of the answer came
	Status int  // zero: no whole head came
	Keep   bool // the server keeps the connection, and the answer was all
}

// Converse sends a request, as its bytes, and reads the whole answer.
func Converse(conn net.Conn, request []byte, deadline time.Time) (reply Reply, err error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return reply, err
	}
	if _, err := conn.Write(request); err != nil {
		return reply, err
	}
	in := bufio.NewReader(conn)
	if _, err := in.Peek(1); err != nil {
		return reply, err
	}
	reply.Begun = true
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return reply, err
	}
	reply.Status = answer.StatusCode
	_, err = io.Copy(io.Discard, answer.Body)
	reply.Keep = !answer.Close && in.Buffered() == 0
	return reply, err
}

// next returns the next request and the kept connection that it goes over; nil
// where it wants a fresh one.
func (c *client) next() (request []byte, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun++; c.freshEvery > 0 && c.begun%c.freshEvery == 0 {
		return c.last, nil
	}
	n := len(c.idle)
	if n == 0 {
		return c.request, nil
	}
	taken := n - 1
	if c.inTurn {
		taken = 0
	}
	conn = c.idle[taken]
	c.idle = slices.Delete(c.idle, taken, taken+1)
	return c.request, conn
}

// keep keeps a connection for the next request, while there is room.
func (c *client) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == idleConnections {
		return false
	}
	c.idle = append(c.idle, conn)
	return true
}
