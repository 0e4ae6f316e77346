package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// App is the lab's own application: /sleep?ms=N answers "ok" after N
// milliseconds, /health at once, any other path after Service. A worker of a
// server in front waits as long, which is what occupies it. [Server.Behave]
// makes it fail while it runs.
type App struct {
	// Listen is where it answers; the zero value is a free port of
	// 127.0.0.1.
	Listen netip.AddrPort
	// Service is how long a request without a time of its own takes.
	Service time.Duration
	// Ramp, when there is any, is how long such a request takes instead, by
	// time since the first one; in straight lines between the points.
	Ramp []ServicePoint
	// LeakEvery is the N of a leak: the connection of each Nth request is
	// answered and then never closed, though its client has. Zero leaks none.
	LeakEvery int
	// Site is its name, which each answer says in the header X-Site; at most 64 of
	// a-z, 0-9, dot and dash. Empty says none.
	Site string
	// Descriptors is how many the process may open, at least 64; past them it
	// accepts nobody. Zero is all the machine allows.
	Descriptors int
}

// ServicePoint is a service time at a time since the first request.
type ServicePoint struct{ At, Service time.Duration }

const (
	// maxService bounds what a request may ask for.
	maxService = 10 * time.Minute
	// fewestDescriptors leaves room for what the runtime has open itself.
	fewestDescriptors = 64
)

// siteHeader is where an App says its name.
const siteHeader = "X-Site"

var siteName = regexp.MustCompile(`^[a-z0-9.-]{0,64}$`)

type appReport struct{ Listen netip.AddrPort }

func (a App) plan(place) (plan, error) {
	for i, p := range append([]ServicePoint{{Service: a.Service}}, a.Ramp...) {
		if p.Service < 0 || p.Service > maxService {
			return plan{}, fmt.Errorf("service time %v is not within 0 to %v", p.Service, maxService)
		}
		if i > 1 && p.At <= a.Ramp[i-2].At {
			return plan{}, fmt.Errorf("service point at %v must come after the one before it", p.At)
		}
	}
	if a.LeakEvery < 0 {
		return plan{}, fmt.Errorf("leaking every %d connections is negative", a.LeakEvery)
	}
	if !siteName.MatchString(a.Site) {
		return plan{}, fmt.Errorf("site %q is not at most 64 of a-z, 0-9, dot and dash", a.Site)
	}
	if a.Descriptors < 0 || a.Descriptors > 0 && a.Descriptors < fewestDescriptors {
		return plan{}, fmt.Errorf("%d descriptors are not enough to serve; at least %d", a.Descriptors, fewestDescriptors)
	}
	if !a.Listen.IsValid() {
		a.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	return plan{role: "app", config: a, listen: a.Listen}, nil
}

// runApp is the child that serves.
func runApp(ctx context.Context, app App, orders <-chan json.RawMessage, ready func(any) error) error {
	if err := app.limitDescriptors(); err != nil {
		return err
	}
	listener, err := net.Listen(network(app.Listen.Addr()), app.Listen.String())
	if err != nil {
		return err
	}
	serving := newServing(app)
	server := &http.Server{Handler: http.HandlerFunc(serving.serve), ConnState: serving.note, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := ready(appReport{Listen: listener.Addr().(*net.TCPAddr).AddrPort()}); err != nil {
		return err
	}
	go serving.follow(ctx, orders, ready)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serviceAt is how long a request without a time of its own takes, at a time
// since the first one. Before the first point of a ramp it is Service, after
// the last one it stays.
func (a App) serviceAt(since time.Duration) time.Duration {
	service := a.Service
	for i, p := range a.Ramp {
		if since < p.At {
			if i > 0 {
				before := a.Ramp[i-1]
				service += time.Duration(float64(p.Service-before.Service) * float64(since-before.At) / float64(p.At-before.At))
			}
			break
		}
		service = p.Service
	}
	return service
}

// limitDescriptors lowers the limit to what was asked for.
func (a App) limitDescriptors() error {
	if a.Descriptors == 0 {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read descriptor limit: %w", err)
	}
	limit.Cur = min(uint64(a.Descriptors), limit.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("set descriptor limit to %d: %w", limit.Cur, err)
	}
	return nil
}

// serving is an App at work.
type serving struct {
	App
	mu        sync.Mutex
	since     time.Time // the first request of any kind
	first     time.Time // the first that takes time
	requests  int
	behaviour Behaviour
	lifted    chan struct{}     // closed when the behaviour changes
	open      map[net.Conn]bool // those the server has
	leaked    []net.Conn        // kept in reach, or the garbage collector would close them
}

func newServing(app App) *serving {
	return &serving{App: app, lifted: make(chan struct{}), open: map[net.Conn]bool{}}
}

// begin counts a request and returns how long it takes, and whether its
// connection is one that is never closed.
func (s *serving) begin() (service time.Duration, leak bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests++; s.requests == 1 {
		s.first = time.Now()
	}
	return s.serviceAt(time.Since(s.first)), s.LeakEvery > 0 && s.requests%s.LeakEvery == 0
}

func (s *serving) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == sincePath {
		s.saySince(w)
		return
	}
	s.asked()
	if s.Site != "" {
		w.Header().Set(siteHeader, s.Site)
	}
	if r.URL.Path == healthPath {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	service, leak := s.begin()
	if r.URL.Path == "/sleep" {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		service = time.Duration(ms) * time.Millisecond
		if err != nil || service < 0 || service > maxService {
			http.Error(w, fmt.Sprintf("ms=%q is not a number of milliseconds up to %v", r.URL.Query().Get("ms"), maxService), http.StatusBadRequest)
			return
		}
	}
	if s.misbehave(w, r, &service) {
		return
	}
	// What is left of the body would be read after the answer, and only some
	// of it: net/http closes the connection of a larger one.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	timer := time.NewTimer(service)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done(): // the client gave up
		return
	}
	if leak {
		s.leak(w)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// sincePath tells when an App got its first request.
const sincePath = "/since"

// asked notes when the first request came.
func (s *serving) asked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

func (s *serving) saySince(w http.ResponseWriter) {
	s.mu.Lock()
	since := s.since
	s.mu.Unlock()
	if since.IsZero() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_, _ = io.WriteString(w, since.Format(time.RFC3339Nano))
}

// FirstAsked returns when an App got its first request, health checks included;
// zero when it had none yet.
func (s *Server) FirstAsked(ctx context.Context) (time.Time, error) {
	at, err := s.firstAsked(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the application at %v for its first request: %w", s.Addr(), err)
	}
	return at, nil
}

func (s *Server) firstAsked(ctx context.Context) (at time.Time, err error) {
	client := s.host.Client()
	defer client.CloseIdleConnections()
	answer, err := Get(ctx, client, s.URL(sincePath))
	if err != nil || len(answer) == 0 {
		return at, err
	}
	return time.Parse(time.RFC3339Nano, string(answer))
}

// Dial connects from inside the host's namespace, as net.Dialer's DialContext.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Client returns a client whose connections begin in the host's namespace. An
// answer must be there within 10 s.
func (h *Host) Client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: h.Dial}}
}

// maxAnswer bounds an answer.
const maxAnswer = 64 << 20

// Get returns the body of an answer whose status is 200 to 299.
func Get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("GET %s: %s: %.200s", url, answer.Status, body)
	}
	return body, err
}

// leak answers and forgets the connection.
func (s *serving) leak(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaked = append(s.leaked, conn)
}
