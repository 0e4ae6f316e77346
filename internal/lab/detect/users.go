package detect

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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
	r.Reused = conn != nil
	if !r.Reused {
		target, err := url.Parse(u.url)
		if err != nil {
			return nil, err
		}
		err = from.Do(func() (err error) {
			conn, err = net.DialTimeout("tcp4", target.Host, patience)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	keep, err := u.exchange(conn, r)
	if err == nil && keep {
		return conn, nil
	}
	_ = conn.Close()
	if err != nil && r.Reused && !errors.Is(err, os.ErrDeadlineExceeded) {
		return u.once(from, nil, r)
	}
	return nil, err
}

func (u Users) exchange(conn net.Conn, r *lab.Record) (keep bool, err error) {
	req, err := http.NewRequest(http.MethodGet, u.url, nil)
	if err != nil {
		return false, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if err := req.Write(conn); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	r.Status = resp.StatusCode
	return !resp.Close, nil
}
