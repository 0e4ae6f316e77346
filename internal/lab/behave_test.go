package lab

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// behaving serves an App's requests on loopback and orders a behaviour.
func behaving(t *testing.T, b Behaviour) (*serving, *httptest.Server) {
	t.Helper()
	s := newServing(App{Service: time.Millisecond})
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.Config.ConnState = s.note
	server.Start()
	t.Cleanup(func() {
		order(t, s, Behaviour{})
		server.CloseClientConnections()
		server.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, conn := range s.leaked {
			_ = conn.Close()
		}
	})
	order(t, s, b)
	return s, server
}

// order lets s follow one order, and waits for its word.
func order(t *testing.T, s *serving, b Behaviour) {
	t.Helper()
	line, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	orders := make(chan json.RawMessage, 1)
	orders <- line
	stop := errors.New("once is enough")
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		s.follow(context.WithoutCancel(t.Context()), orders, func(any) error { return stop })
	}()
	<-followed
}

func TestBehave(t *testing.T) {
	patience := 200 * time.Millisecond // of a client that must wait in vain
	for _, test := range []struct {
		behaviour Behaviour
		want      func(answer *http.Response, err error) bool
	}{
		{Behaviour{}, func(a *http.Response, err error) bool { return err == nil && a.StatusCode == 200 && !a.Close }},
		{Behaviour{Manner: HangRequests}, func(_ *http.Response, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{Behaviour{Manner: StopReading}, func(_ *http.Response, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{Behaviour{Manner: SlowRequests, Service: time.Minute}, func(_ *http.Response, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{Behaviour{Manner: ResetRequests}, func(_ *http.Response, err error) bool { return errors.Is(err, unix.ECONNRESET) }},
		{Behaviour{Manner: CloseHalf}, func(_ *http.Response, err error) bool { return errors.Is(err, io.EOF) }},
		{Behaviour{Manner: CloseEach}, func(a *http.Response, err error) bool { return err == nil && a.StatusCode == 200 && a.Close }},
	} {
		_, server := behaving(t, test.behaviour)
		ask := func(path string) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			switch test.behaviour.Manner {
			case HangRequests, StopReading, SlowRequests:
				if path != healthPath {
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), patience)
				}
			}
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := server.Client().Do(request)
			if err == nil {
				_, err = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
			return answer, err
		}
		if answer, err := ask("/"); !test.want(answer, err) {
			t.Errorf("%q: %+v, %v", test.behaviour.Manner, answer, err)
		}
		if answer, err := ask(healthPath); err != nil || answer.StatusCode != 200 {
			t.Errorf("%q: health: %+v, %v", test.behaviour.Manner, answer, err)
		}
	}
}

// TestBehaveShare: a share of the requests is treated so, and none is once the
// App is well again.
func TestBehaveShare(t *testing.T) {
	s, server := behaving(t, Behaviour{Manner: ResetRequests, Share: 0.2})
	count := func() (failed int) {
		for range 200 {
			answer, err := server.Client().Post(server.URL, "", strings.NewReader("body"))
			if err != nil {
				failed++
				continue
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
		return failed
	}
	// Fewer than 10 or more than 80 of 200 at 0.2 are less likely than 1e-8.
	if failed := count(); failed < 10 || failed > 80 {
		t.Errorf("%d of 200 requests were reset, at a share of 0.2", failed)
	}
	order(t, s, Behaviour{})
	if failed := count(); failed > 0 {
		t.Errorf("%d of 200 requests failed after it was well again", failed)
	}
}

// TestCloseHalfIdle: an idle connection gets its FIN with the order.
func TestCloseHalfIdle(t *testing.T) {
	s, server := behaving(t, Behaviour{})
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	for read := ""; !strings.HasSuffix(read, "ok\n"); {
		n, err := conn.Read(answer)
		if err != nil {
			t.Fatalf("after %q: %v", read, err)
		}
		read += string(answer[:n])
	}
	order(t, s, Behaviour{Manner: CloseHalf})
	if n, err := conn.Read(answer); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the order: %d bytes, %v; want the end", n, err)
	}
}

func TestBehaviourRefused(t *testing.T) {
	for name, b := range map[string]Behaviour{
		"an unknown manner":       {Manner: "sulk"},
		"a share above one":       {Manner: HangRequests, Share: 1.1},
		"a negative share":        {Manner: HangRequests, Share: -0.1},
		"an endless service time": {Manner: SlowRequests, Service: maxService + 1},
	} {
		if b.validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
