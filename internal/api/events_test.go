package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/judge"
)

// pipes is a listener whose connections live in memory, so that a stream runs
// on the test's own clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// served runs f with a real server over pipes, in a bubble of fake time.
func served(t *testing.T, f func(t *testing.T, source *fake, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		source := newFake(sample(now))
		h, err := New(Config{Source: source, Actor: source, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		p := newPipes()
		server := NewHTTPServer(h, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		server.BaseContext = func(net.Listener) context.Context { return ctx }
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(p) }()
		f(t, source, p)
		stop()
		if err := server.Shutdown(t.Context()); err != nil { // waits for the streams
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
}

// follow asks for the events over c and returns a function that says what came
// since it was last called, as "event id", without waiting. What each event
// carries must be of its kind.
func follow(t *testing.T, c net.Conn) func() []string {
	t.Helper()
	if _, err := fmt.Fprint(c, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	go func() {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
			t.Errorf("content type %q", kind)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		id, event := "", ""
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				id = value
			case "event":
				event = value
				mu.Lock()
				got = append(got, event+" "+id)
				mu.Unlock()
			case "data":
				var said struct {
					Picture
					ID uint64    `json:"id"` // of an incident
					At time.Time `json:"at"` // of a heartbeat
				}
				err := json.Unmarshal([]byte(value), &said)
				if is := map[string]bool{"snapshot": said.Status.Host == "web03", "incident": said.ID > 0, "heartbeat": !said.At.IsZero()}; err != nil || !is[event] {
					t.Errorf("%s %s carries %s: %v", event, id, value, err)
				}
			}
		}
	}()
	return func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		out := got
		got = nil
		return out
	}
}

func nth(n uint64, at time.Duration, change func(*Snapshot)) *Snapshot {
	s := sample(now.Add(at))
	s.Sequence = n
	if change != nil {
		change(s)
	}
	return s
}

func TestEventsInOrderAndInMeasure(t *testing.T) {
	blind := func(s *Snapshot) { s.Incidents[0].BlindSince = now }
	suspected := func(s *Snapshot) {
		blind(s)
		s.Incidents = append([]judge.Incident{{ID: 8, State: judge.Suspected, Finding: judge.Finding{Scope: webID, Cause: judge.ClientsGaveUp}}}, s.Incidents...)
	}
	taken := func(s *Snapshot) { blind(s); s.Incidents[0].AcknowledgedBy = "ann" }
	words := func(s *Snapshot) { blind(s); s.Incidents[0].Finding.Sentence = "Other words." }
	served(t, func(t *testing.T, source *fake, p *pipes) {
		conn := p.dial()
		defer conn.Close()
		got := follow(t, conn)
		expect := func(what string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, got()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		expect("at once the whole picture", "snapshot 3")
		source.publish(nth(4, 300*time.Millisecond, blind))
		expect("an incident at once, the picture not yet", "incident 4")
		source.publish(nth(5, 600*time.Millisecond, suspected))
		expect("a new suspicion at once", "incident 5")
		source.publish(nth(6, 900*time.Millisecond, words))
		expect("words alone wait, and a suspicion that passed leaves with the picture")
		source.publish(nth(7, 1200*time.Millisecond, words))
		expect("a picture once a second", "snapshot 7")
		source.publish(nth(8, 1300*time.Millisecond, taken))
		expect("somebody takes an incident", "incident 8")
		time.Sleep(heartbeatEvery)
		expect("nothing happens", "heartbeat 8")
		// Longer than the server gives an answer: a stream is none.
		time.Sleep(10 * writeTimeout)
		if n := len(got()); n != int(10*writeTimeout/heartbeatEvery) {
			t.Errorf("%d heartbeats in %v", n, 10*writeTimeout)
		}
	})
}

func TestEventsEndWithTheServer(t *testing.T) {
	served(t, func(t *testing.T, _ *fake, p *pipes) {
		conn := p.dial()
		defer conn.Close()
		if got := follow(t, conn)(); len(got) != 1 {
			t.Fatalf("got %q", got)
		}
		// served stops the server, whose Shutdown waits for this stream: in the
		// bubble a stream that stayed would be a deadlock.
	})
}

// TestSlowClientIsDropped: a client that does not read is let go, and another
// one never waits for it.
func TestSlowClientIsDropped(t *testing.T) {
	served(t, func(t *testing.T, source *fake, p *pipes) {
		slow, quick := p.dial(), p.dial()
		defer slow.Close()
		defer quick.Close()
		if _, err := fmt.Fprint(slow, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		got := follow(t, quick)
		for n := range uint64(3) {
			source.publish(nth(n+4, time.Duration(n+1)*time.Second, nil))
			if events := got(); len(events) == 0 || events[len(events)-1] != fmt.Sprintf("snapshot %d", n+4) {
				t.Errorf("the quick client waits: %q", events)
			}
		}
		time.Sleep(eventDeadline + time.Second)
		// The server has closed the slow one's connection: what the pipe still
		// gives is its end.
		if _, err := bufio.NewReader(slow).ReadString(0); err == nil {
			t.Error("the slow client is still served")
		}
	})
}

func TestTooManyStreams(t *testing.T) {
	served(t, func(t *testing.T, _ *fake, p *pipes) {
		var last func() []string
		for range maxStreams {
			conn := p.dial()
			defer conn.Close()
			last = follow(t, conn)
			last()
		}
		conn := p.dial()
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var problem Problem
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || resp.StatusCode != http.StatusServiceUnavailable || problem.Hint == "" {
			t.Errorf("code %d, %+v, %v", resp.StatusCode, problem, err)
		}
	})
}

// TestEventsHead: HEAD asks for the headers of a stream, not for one.
func TestEventsHead(t *testing.T) {
	rec := httptest.NewRecorder()
	handler(t, newFake(sample(now)), "").ServeHTTP(rec, httptest.NewRequest(http.MethodHead, "http://localhost/api/v1/events", nil))
	if rec.Code != http.StatusOK || rec.Body.Len() > 0 {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

// TestEventsKeepTheContract: the data of each kind of event is what
// openapi.yaml says it is.
func TestEventsKeepTheContract(t *testing.T) {
	doc, _ := contract(t)
	v := viewer{sample(now)}
	for name, value := range map[string]any{"Picture": v.picture(), "Incident": v.incident(&v.s.Incidents[0])} {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var data any
		if err := json.Unmarshal(raw, &data); err != nil {
			t.Fatal(err)
		}
		if err := doc.Components.Schemas[name].Value.VisitJSON(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
