package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Pool is a client program that talks to servers beside a balancer, such as a
// program to its database. Its process is called lab-pool.
type Pool struct {
	// Servers are asked in turn, one each 200 ms; at least one.
	Servers []netip.AddrPort
	// Leak closes no connection that its server has closed: a fresh
	// connection for each request, after whose answer the server closes.
	Leak bool
}

const (
	poolEvery    = 200 * time.Millisecond
	poolPatience = 10 * time.Second // the time-out of one request
)

// StartPool starts a pool on the host, which ends with Stop or with the world.
// ctx bounds the start only.
func (h *Host) StartPool(ctx context.Context, p Pool) (*Running, error) {
	if len(p.Servers) == 0 {
		return nil, errors.New("start pool: no servers")
	}
	return h.run(ctx, "pool", p)
}

// runPool is the child that is a pool: one connection to each server, or with
// Leak one more for each request.
func runPool(ctx context.Context, p Pool, _ <-chan json.RawMessage, ready func(any) error) error {
	if err := ready(struct{}{}); err != nil {
		return err
	}
	conns := make([]net.Conn, len(p.Servers))
	var leaked []net.Conn // kept in reach, or the garbage collector would close them
	ticker := time.NewTicker(poolEvery)
	defer ticker.Stop()
	for i := 0; ; i = (i + 1) % len(conns) {
		select {
		case <-ctx.Done():
			for _, conn := range slices.Concat(conns, leaked) {
				if conn != nil {
					_ = conn.Close()
				}
			}
			return nil
		case <-ticker.C:
		}
		conn, err := ask(ctx, p.Servers[i], conns[i], p.Leak)
		switch {
		case p.Leak && conn != nil:
			leaked = append(leaked, conn)
		case err != nil && conn != nil:
			_ = conn.Close()
			conns[i] = nil
		default:
			conns[i] = conn
		}
	}
}

// ask sends one request on conn, or on a new connection without one, and
// returns the connection, nil when there is none.
func ask(ctx context.Context, server netip.AddrPort, conn net.Conn, last bool) (net.Conn, error) {
	if conn == nil {
		var err error
		dialer := net.Dialer{Timeout: poolPatience, KeepAlive: -1}
		if conn, err = dialer.DialContext(ctx, "tcp4", server.String()); err != nil {
			return nil, err
		}
	}
	connection := "keep-alive"
	if last {
		connection = "close"
	}
	request := fmt.Appendf(nil, "GET /sleep?ms=20 HTTP/1.1\r\nHost: %v\r\nConnection: %s\r\n\r\n", server, connection)
	_, err := Converse(conn, request, time.Now().Add(poolPatience))
	return conn, err
}
