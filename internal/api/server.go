package api

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

//go:embed openapi.yaml
var openAPI []byte

// ErrNoIncident is what an Actor answers for an incident that is not there.
var ErrNoIncident = errors.New("no open incident of that number")

// Config is what New needs.
type Config struct {
	Source Source
	Actor  Actor
	// Learner answers for baselines; nil where there are none.
	Learner Learner
	// Silencer changes what is silenced; nil where nothing can be.
	Silencer Silencer
	// Drainer follows switches; nil where none can be.
	Drainer Drainer
	// Token is what changing calls must present; only its hash is kept. Empty:
	// there is none, and such calls are refused.
	Token string
	// ReadToken is what every call but health checks must present, as a bearer
	// token or the password of any user; only its hash is kept. Empty: there is none.
	ReadToken string
	// ClientCertificates says that a client certificate that TLS has verified lets
	// read; without a ReadToken nothing else does.
	ClientCertificates bool
	// Vouches reports whether the certificate that is served with is of a host, so
	// that a request may be addressed to it; nil without TLS. Any goroutine calls it.
	Vouches func(host string) bool
	// AllowedHosts are the names, besides localhost and any IP address, that a
	// request may be addressed to: a page elsewhere that points a name of its
	// own at loopback is refused.
	AllowedHosts []string
	Log          *slog.Logger
	// Recorder is what /api/v1/recording is taken from; nil serves none.
	Recorder Recorder
	// Outbox has the notices that were given up; nil answers that none are kept.
	Outbox Outbox
	// Past is the history; nil answers that there is none.
	Past Past
	// Player makes the series of incidents; nil serves none.
	Player Player
	// Evidences is what responses gathered; nil has none.
	Evidences Evidences
	// Web serves / and its files, Metrics /metrics; nil serves neither.
	Web, Metrics http.Handler
}

func (c *Config) validate() error {
	if c.Source == nil || c.Actor == nil || c.Log == nil {
		return errors.New("api: Source, Actor and Log are required")
	}
	return nil
}

const (
	maxBody       = 64 << 10 // bytes
	maxHeader     = 16 << 10 // bytes
	maxName       = 128      // characters
	maxStreams    = 32       // event streams at once: each encodes the picture each second
	headerTimeout = 5 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
)

// server is the handler's state; but for the counts of streams and refusals it
// never changes after New.
type server struct {
	source Source
	actor  Actor
	learns Learner  // nil when there is none
	quiets Silencer // the same
	drains Drainer  // the same
	past   Past
	outbox Outbox
	plays  Player // nil when there is none
	// evidences is nil where there are none.
	evidences Evidences
	log       *slog.Logger
	hosts     []string
	recorder  Recorder     // nil when there is none
	metrics   http.Handler // the same
	access    access
	vouches   func(string) bool // nil without TLS
	streams   atomic.Int32
	pictures  pictures
}

// route is one path of the mux, one method it takes (GET takes HEAD too), and the
// handler.
type route struct {
	method, path string
	handle       func(*server, http.ResponseWriter, *http.Request)
}

// routes are the API's own; the page comes beside them. A test holds them
// against openapi.yaml.
func routes() []route {
	return []route{
		{"GET", "/api/v1/status", (*server).status},
		{"GET", "/api/v1/scopes", (*server).scopes},
		{"GET", "/api/v1/scopes/{kind}/{name}", (*server).scope},
		{"GET", "/api/v1/backends", (*server).backends},
		{"GET", "/api/v1/regions", (*server).regions},
		{"GET", "/api/v1/incidents", (*server).incidents},
		{"GET", "/api/v1/incidents/{id}", (*server).incident},
		{"GET", "/api/v1/incidents/{id}/series", (*server).series},
		{"GET", "/api/v1/incidents/{id}/evidence", (*server).evidence},
		{"GET", "/api/v1/responses", (*server).responses},
		{"GET", "/api/v1/looks", (*server).looks},
		{"GET", "/api/v1/namespaces", (*server).namespaces},
		{"GET", "/api/v1/limits", (*server).limits},
		{"GET", "/api/v1/channels", (*server).channels},
		{"GET", "/api/v1/silences", (*server).silences},
		{"POST", "/api/v1/silences", (*server).addSilence},
		{"DELETE", "/api/v1/silences/{id}", (*server).removeSilence},
		{"GET", "/api/v1/channels/{channel}/undelivered", (*server).undelivered},
		{"POST", "/api/v1/channels/{channel}/retry", (*server).retry},
		{"GET", "/api/v1/drains", (*server).listDrains},
		{"POST", "/api/v1/drains", (*server).startDrain},
		{"GET", "/api/v1/drains/{drain}", (*server).oneDrain},
		{"DELETE", "/api/v1/drains/{drain}", (*server).stopDrain},
		{"POST", "/api/v1/drains/{drain}/close-stale", (*server).closeStale},
		{"GET", "/api/v1/route/{route}", (*server).route},
		{"GET", "/api/v1/recording", (*server).recording},
		{"GET", "/api/v1/events", (*server).events},
		{"GET", "/api/v1/baseline", (*server).baseline},
		{"GET", "/api/v1/baseline/export", (*server).exportBaseline},
		{"PUT", "/api/v1/baseline/import", (*server).importBaseline},
		{"POST", "/api/v1/baseline/leave-out", (*server).leaveOut},
		{"POST", "/api/v1/baseline/reset", (*server).resetBaseline},
		{"GET", "/api/v1/openapi.yaml", (*server).openAPI},
		{"GET", "/healthz", (*server).healthz},
		{"GET", "/readyz", (*server).readyz},
		{"GET", "/metrics", (*server).scrape},
		{"POST", "/api/v1/incidents/{id}/acknowledge", (*server).acknowledge},
		{"POST", "/api/v1/reload", (*server).reload},
	}
}

// New returns the handler of the whole port.
func New(c Config) (http.Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &server{source: c.Source, actor: c.Actor, past: c.Past, outbox: c.Outbox, plays: c.Player, evidences: c.Evidences, log: c.Log, hosts: c.AllowedHosts, recorder: c.Recorder, learns: c.Learner, quiets: c.Silencer, drains: c.Drainer, metrics: c.Metrics, vouches: c.Vouches}
	s.access.change, s.access.read, s.access.certificates = newSecret(c.Token), newSecret(c.ReadToken), c.ClientCertificates
	mux := http.NewServeMux()
	methods := map[string][]string{} // by path
	for _, r := range routes() {
		// A backend's name holds a slash, and people type it as it is.
		path := strings.Replace(r.path, "{name}", "{name...}", 1)
		mux.HandleFunc(r.method+" "+path, func(w http.ResponseWriter, req *http.Request) { r.handle(s, w, req) })
		methods[path] = append(methods[path], r.method)
	}
	for path, takes := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) { s.otherMethod(w, req, strings.Join(takes, ", ")) })
	}
	if c.Web != nil {
		mux.Handle("GET /{$}", c.Web)
		mux.Handle("GET /incidents/{id}", c.Web)
		for _, file := range []string{"page.css", "page.js", "words.js"} {
			mux.Handle("GET /"+file, c.Web)
		}
	}
	mux.HandleFunc("/", s.unknown)
	return s.guard(mux), nil
}

// NewHTTPServer returns a server with time-outs that no idle or slow client
// can outlast; the event stream sets its own.
func NewHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: writeTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// guard is in front of everything: who is addressed, from where, who may read,
// and the headers that every answer has.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if !s.addressed(r.Host) {
			s.problem(w, http.StatusMisdirectedRequest, fmt.Sprintf("this agent is not called %.200q", r.Host), "use an IP address, localhost, or the name in its configuration")
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && r.Method != http.MethodGet && !sameOrigin(origin, r.Host) {
			s.problem(w, http.StatusForbidden, "a page of another origin may not change anything here", "call from a program, or from this agent's own page")
			return
		}
		if !slices.Contains(open, r.URL.Path) && !s.mayRead(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// addressed reports whether a request for host is meant for us. HTTP/1.0 needs
// no Host, balancers' health checks speak it, and browsers do not.
func (s *server) addressed(host string) bool {
	if host == "" {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	if s.vouches != nil && s.vouches(name) {
		return true
	}
	return strings.EqualFold(name, "localhost") || slices.ContainsFunc(s.hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

func (s *server) json(w http.ResponseWriter, code int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		s.log.Error("api: encode answer", "error", err.Error())
		code, raw = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(raw, '\n')) // the client has gone: nobody is left to tell
}

func (s *server) problem(w http.ResponseWriter, code int, what, hint string) {
	s.json(w, code, Problem{Error: what, Hint: hint})
}

func (s *server) unknown(w http.ResponseWriter, r *http.Request) {
	s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no %.20s %.200q", r.Method, r.URL.Path), "GET /api/v1/openapi.yaml lists everything")
}

func (s *server) otherMethod(w http.ResponseWriter, r *http.Request, methods string) {
	w.Header().Set("Allow", methods)
	s.problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %.20q", r.URL.Path, r.Method), "it takes "+methods)
}

func (s *server) scrape(w http.ResponseWriter, r *http.Request) {
	if s.metrics == nil {
		s.unknown(w, r)
		return
	}
	s.metrics.ServeHTTP(w, r)
}

func (s *server) view() viewer { return viewer{s.source.Snapshot()} }

// report is a view for what does not show the scopes' signals.
func (s *server) report() viewer { return viewer{s.source.Status()} }
