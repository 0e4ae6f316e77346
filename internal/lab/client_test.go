package lab

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKeptConnectionIsClosed: a server that closes a kept connection as it is
// asked fails nobody's request; one that closes a fresh one does.
func TestKeptConnectionIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers int // on each connection, before it is closed
		second  Outcome
	}{
		{"after one answer", 1, OK},
		{"before any", 0, Reset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					in := bufio.NewReader(conn)
					for range tt.answers {
						if _, err := http.ReadRequest(in); err == nil {
							_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						}
					}
					_ = conn.Close()
				}
			}()
			t.Cleanup(func() { _ = listener.Close(); <-ended })
			c, err := newClient(Load{URL: "http://" + listener.Addr().String() + "/", KeepAlive: true, Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				r := Record{Start: time.Now(), Outcome: OK}
				if err := c.exchange(&r); err != nil {
					r.Outcome = outcomeOf(err)
				}
				if r.Outcome != tt.second || r.Reused {
					t.Errorf("outcome %v, on a kept connection: %v; want %v on a fresh one", r.Outcome, r.Reused, tt.second)
				}
			}
		})
	}
}

// TestConnectionsInTurn: those of a pool of fixed size are used one after the
// other, and each Nth request has one of its own beside them.
func TestConnectionsInTurn(t *testing.T) {
	var mu sync.Mutex
	var askedBy []string // the client's end of each request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		askedBy = append(askedBy, r.RemoteAddr)
	}))
	t.Cleanup(server.Close)
	c, err := newClient(Load{URL: server.URL + "/", KeepAlive: true, Connections: 3, FreshEvery: 4, Timeout: 10 * time.Second})
	if err == nil {
		err = c.open(3)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		r := Begin()
		if err := c.exchange(&r); err != nil {
			t.Fatal(err)
		}
	}
	named := map[string]string{}
	var got strings.Builder
	for _, end := range askedBy {
		if named[end] == "" {
			named[end] = string(rune('a' + len(named)))
		}
		got.WriteString(named[end])
	}
	if want := "abcdabce"; got.String() != want {
		t.Errorf("connections %s, want %s", got.String(), want)
	}
	for _, conn := range c.idle {
		_ = conn.Close()
	}
}
