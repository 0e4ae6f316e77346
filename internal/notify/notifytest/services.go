package notifytest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// The addresses, as a user would configure them. Their tokens are made up.
const (
	SlackURL     = "slack://hook:T00FORESH-B00FORESH-abcdefghijklmnopqrstuvwx@webhook"
	PagerDutyURL = "pagerduty://0123456789abcdef0123456789abcdef"
)

// Services stand in for Slack and PagerDuty, under their own names: a proxy that
// answers for them with certificates of an authority of its own.
type Services struct {
	proxy *httptest.Server
	roots string
	key   *ecdsa.PrivateKey
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey

	mu       sync.Mutex
	failing  func(http.ResponseWriter) // instead of an answer; nil: none
	slack    []SlackMessage
	duty     []Event
	refusals []string // what was refused, and why
}

// SlackMessage is what an incoming webhook took.
type SlackMessage struct {
	Text  string   // the message's own, above its attachments
	Lines []string // the attachments' texts
	Color string   // of the first
}

// Event is what PagerDuty took.
type Event struct {
	Action, DedupKey, Summary, Source, Severity string
	Link                                        string // client_url
	Text                                        string // payload.custom_details.text
}

// StartServices starts them. dir is where the authority's certificate is kept.
func StartServices(dir string) (*Services, error) {
	s := &Services{roots: filepath.Join(dir, "roots.pem")}
	if err := s.authority(); err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	s.proxy = httptest.NewServer(http.HandlerFunc(s.connect))
	return s, nil
}

// Env is what a process needs to reach them, as NAME=value.
func (s *Services) Env() []string {
	return []string{"HTTPS_PROXY=" + s.proxy.URL, "SSL_CERT_FILE=" + s.roots}
}

// Stop ends them. Until Start the proxy is not there: connections to it are
// refused.
func (s *Services) Stop() { s.proxy.CloseClientConnections(); s.proxy.Close() }

// Start starts them again behind Stop, with the same address, and with what they
// took.
func (s *Services) Start() error {
	listener, err := net.Listen("tcp", s.proxy.Listener.Addr().String())
	if err != nil {
		return fmt.Errorf("start the proxy again: %w", err)
	}
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(s.connect))
	_ = proxy.Listener.Close() // one of its own
	proxy.Listener = listener
	proxy.Start()
	s.proxy = proxy
	return nil
}

// Fail has every call answered by do, until it is nil again.
func (s *Services) Fail(do func(http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = do
}

// Slack is what Slack took, in order.
func (s *Services) Slack() []SlackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.slack)
}

// PagerDuty is what PagerDuty took, in order.
func (s *Services) PagerDuty() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.duty)
}

// Refused says what was refused, and why.
func (s *Services) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// connect is the proxy: it takes CONNECT, ends the TLS itself, and answers.
func (s *Services) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	secure := tls.Server(conn, &tls.Config{GetCertificate: s.certificate, NextProtos: []string{"http/1.1"}})
	defer secure.Close()
	reader := bufio.NewReader(secure)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		recorder := httptest.NewRecorder()
		s.answer(recorder, request)
		answer := recorder.Result()
		answer.ContentLength = int64(recorder.Body.Len())
		if err := answer.Write(secure); err != nil {
			return
		}
	}
}

func (s *Services) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		s.failing(w)
		return
	}
	if err != nil {
		return
	}
	refuse := func(status int, text, why string) {
		s.refusals = append(s.refusals, r.Host+": "+why)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	switch r.Host {
	case "hooks.slack.com":
		s.toSlack(w, r, body, refuse)
	case "events.pagerduty.com", "events.pagerduty.com:443":
		s.toPagerDuty(w, r, body, refuse)
	default:
		refuse(http.StatusBadGateway, "", "nobody here is called so")
	}
}

// slackPath is that of an incoming webhook.
var slackPath = regexp.MustCompile(`^/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{24,}$`)

func (s *Services) toSlack(w http.ResponseWriter, r *http.Request, body []byte, refuse func(int, string, string)) {
	var m struct {
		Text        string
		Attachments []struct{ Text, Color string }
	}
	switch {
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed, "method_not_allowed", r.Method)
	case !slackPath.MatchString(r.URL.Path):
		refuse(http.StatusNotFound, "no_service", "the path")
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		refuse(http.StatusBadRequest, "invalid_payload", "the content's type")
	case json.Unmarshal(body, &m) != nil:
		refuse(http.StatusBadRequest, "invalid_payload", "no JSON")
	case m.Text == "" && len(m.Attachments) == 0:
		refuse(http.StatusBadRequest, "no_text", "it says nothing")
	case len(m.Attachments) > 100:
		refuse(http.StatusBadRequest, "too_many_attachments", "too many attachments")
	default:
		out := SlackMessage{Text: m.Text}
		for i, a := range m.Attachments {
			if a.Text == "" {
				refuse(http.StatusBadRequest, "no_text", "an attachment that says nothing")
				return
			}
			if i == 0 {
				out.Color = a.Color
			}
			out.Lines = append(out.Lines, a.Text)
		}
		s.slack = append(s.slack, out)
		_, _ = io.WriteString(w, "ok")
	}
}

func (s *Services) toPagerDuty(w http.ResponseWriter, r *http.Request, body []byte, refuse func(int, string, string)) {
	var e struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		ClientURL   string `json:"client_url"`
		Details     any    `json:"details"`
		Payload     struct {
			Summary, Source, Severity string
			CustomDetails             struct{ Text string } `json:"custom_details"`
		}
	}
	err := json.Unmarshal(body, &e)
	var wrong []string
	check := func(good bool, what string) {
		if !good {
			wrong = append(wrong, what)
		}
	}
	check(err == nil, "the body is no JSON")
	check(r.Method == http.MethodPost && r.URL.Path == "/v2/enqueue", "the address")
	check(strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"), "the content's type")
	check(len(e.RoutingKey) == 32, "'routing_key' is missing or invalid")
	check(slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.EventAction), "'event_action' is invalid")
	check(len(e.DedupKey) <= 255 && (e.DedupKey != "" || e.EventAction == "trigger"), "'dedup_key' is missing or too long")
	check(e.Details == nil, "'details' is no key of an event")
	if e.EventAction == "trigger" {
		check(e.Payload.Summary != "" && len([]rune(e.Payload.Summary)) <= 1024, "'payload.summary' is missing or too long")
		check(e.Payload.Source != "", "'payload.source' is missing")
		check(slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity), "'payload.severity' is invalid")
	}
	if wrong != nil {
		answer, _ := json.Marshal(map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": wrong})
		refuse(http.StatusBadRequest, string(answer), strings.Join(wrong, "; "))
		return
	}
	s.duty = append(s.duty, Event{e.EventAction, e.DedupKey, e.Payload.Summary, e.Payload.Source, e.Payload.Severity, e.ClientURL, e.Payload.CustomDetails.Text})
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"status":"success","message":"Event processed","dedup_key":%q}`, e.DedupKey)
}

// authority makes an authority and writes its certificate.
func (s *Services) authority() (err error) {
	if s.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	s.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test's authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, s.ca, s.ca, &s.caKey.PublicKey, s.caKey)
	if err != nil {
		return err
	}
	return os.WriteFile(s.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644) //nolint:gosec // a certificate, for everybody
}

func (s *Services) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host, _, err := net.SplitHostPort(hello.ServerName)
	if err != nil {
		host = hello.ServerName
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: s.ca.NotBefore, NotAfter: s.ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.ca, &s.key.PublicKey, s.caKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: s.key}, nil
}
