package detect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Users are people with a browser: each keeps one connection and asks now and
// then. The zero value is nobody.
type Users struct {
	Count int
	// Every is the time between a user's requests.
	Every time.Duration
	// Over is the time in which they come, one after the other.
	Over time.Duration

	url string
}

// patience is how long a user waits for an answer.
const patience = 10 * time.Second

// ask lets the users ask for span, and returns what they saw.
func (u Users) ask(ctx context.Context, from *lab.Host, span time.Duration) []lab.Record {
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	var mu sync.Mutex
	var records []lab.Record
	var all sync.WaitGroup
	for i := range u.Count {
		all.Go(func() {
			if wait(ctx, time.Duration(i)*u.Over/time.Duration(u.Count)) != nil {
				return
			}
			var conn net.Conn
			for {
				r := lab.Begin()
				var err error
				conn, err = u.once(from, conn, &r)
				r.Finish(err)
				if ctx.Err() != nil {
					break
				}
				mu.Lock()
				records = append(records, r)
				mu.Unlock()
				if wait(ctx, u.Every) != nil {
					break
				}
			}
			if conn != nil {
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	return records
}

// once asks over conn, or over a new connection, and notes in r what is told of
// the answer; the connection comes back while the server keeps it. One that the server closed meanwhile is replaced,
// as browsers do.
func (u Users) once(from *lab.Host, conn net.Conn, r *lab.Record) (net.Conn, error) {
	target, err := url.Parse(u.url)
	if err != nil {
		return nil, err
	}
	r.Reused = conn != nil
	if !r.Reused {
		dialing, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if conn, err = from.Dial(dialing, "tcp4", target.Host); err != nil {
			return nil, err
		}
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target.RequestURI(), target.Host)
	reply, err := lab.Converse(conn, request, time.Now().Add(patience))
	r.Status = reply.Status
	if err == nil && reply.Keep {
		return conn, nil
	}
	_ = conn.Close()
	if err != nil && r.Reused && !errors.Is(err, os.ErrDeadlineExceeded) {
		return u.once(from, nil, r)
	}
	return nil, err
}
