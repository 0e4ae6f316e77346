package post

import (
	"context"
	"errors"
	"net"
	"regexp"
	"sync"
	"time"
)

// ours are the scopes of the servers. The host has others too.
var ours = regexp.MustCompile(`^service/lab\d+$`)

// connections is how many a server has while it is busy.
const connections = 3

// servers take connections and do nothing.
type servers struct{ listeners []net.Listener }

func startServers(many int) (*servers, error) {
	s := &servers{}
	for range many {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
		go serve(l)
	}
	return s, nil
}

// serve holds each connection until its client goes.
func serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}()
	}
}

func (s *servers) close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// play makes each server busy and idle in turn until ctx ends, one after the
// other, and leaves none busy.
func (s *servers) play(ctx context.Context) {
	var wg sync.WaitGroup
	for i, l := range s.listeners {
		wg.Go(func() {
			sleep(ctx, time.Duration(i)*(busy+idle)/time.Duration(len(s.listeners)))
			for ctx.Err() == nil {
				hold(ctx, l.Addr().String())
				sleep(ctx, idle)
			}
		})
	}
	wg.Wait()
}

// hold has a server busy for a while.
func hold(ctx context.Context, address string) {
	for range connections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer conn.Close()
	}
	sleep(ctx, busy)
}
