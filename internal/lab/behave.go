package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// healthPath is answered at once whatever an App does to other requests: its
// health is green.
const healthPath = "/health"

// Behaviour is how an App treats requests from some moment on. Health checks,
// requests for /health, are always answered. The zero value is well again.
type Behaviour struct {
	Manner Manner
	// Share is the part of requests treated so, drawn at random, above 0 to
	// 1. Zero is all.
	Share float64
	// Service is how long a request takes with SlowRequests, up to ten
	// minutes.
	Service time.Duration
}

// Manner is one way to treat a request.
type Manner string

// The manners.
const (
	// AnswerRequests is as it should be.
	AnswerRequests Manner = ""
	// HangRequests reads the request and never answers.
	HangRequests Manner = "hang"
	// ResetRequests reads the request and resets the connection.
	ResetRequests Manner = "reset"
	// SlowRequests takes Behaviour.Service for each.
	SlowRequests Manner = "slow"
	// CloseHalf sends FIN instead of an answer, at once also on every idle
	// connection, and never closes its own half.
	CloseHalf Manner = "close half"
	// CloseEach answers with Connection: close.
	CloseEach Manner = "close each"
	// StopReading reads the head of a request and nothing of its body, until
	// the next order.
	StopReading Manner = "stop reading"
)

func (b Behaviour) validate() error {
	switch b.Manner {
	case AnswerRequests, HangRequests, ResetRequests, SlowRequests, CloseHalf, CloseEach, StopReading:
	default:
		return fmt.Errorf("unknown manner %q", b.Manner)
	}
	if !(b.Share >= 0 && b.Share <= 1) {
		return fmt.Errorf("share %v is not within 0 to 1", b.Share)
	}
	if b.Service < 0 || b.Service > maxService {
		return fmt.Errorf("service time %v is not within 0 to %v", b.Service, maxService)
	}
	return nil
}

// Behave makes an App treat requests so from now on; when it returns the App
// does. Requests it has already go on as they were. It is an error for other
// software.
func (s *Server) Behave(ctx context.Context, b Behaviour) error {
	err := b.validate()
	if _, isApp := s.plan.config.(App); err == nil && !isApp {
		err = errors.New("it is no App")
	}
	if err == nil {
		s.orders.Lock()
		defer s.orders.Unlock()
		err = s.role.order(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("make the server at %v behave: %w", s.Addr(), err)
	}
	return nil
}

// follow takes each order and says so.
func (s *serving) follow(ctx context.Context, orders <-chan json.RawMessage, ready func(any) error) {
	for {
		var b Behaviour
		select {
		case <-ctx.Done():
			return
		case order := <-orders:
			if json.Unmarshal(order, &b) != nil {
				return // the parent waits in vain and says so
			}
		}
		s.mu.Lock()
		s.behaviour = b
		close(s.lifted)
		s.lifted = make(chan struct{})
		var closing []net.Conn
		if b.Manner == CloseHalf {
			for conn := range s.open {
				closing = append(closing, conn)
			}
		}
		s.mu.Unlock()
		for _, conn := range closing {
			closeHalf(conn)
		}
		if ready(struct{}{}) != nil {
			return
		}
	}
}

// note keeps the connections that the server has.
func (s *serving) note(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(s.open, conn)
	case http.StateActive, http.StateIdle:
	}
}

// misbehave treats the request as ordered and reports whether it is done with:
// service is how long it takes where it is not.
func (s *serving) misbehave(w http.ResponseWriter, r *http.Request, service *time.Duration) bool {
	s.mu.Lock()
	b, lifted := s.behaviour, s.lifted
	s.mu.Unlock()
	if b.Share > 0 && rand.Float64() >= b.Share {
		return false
	}
	switch b.Manner {
	case HangRequests:
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	case StopReading:
		// net/http sees that the client gave up only once the body is read.
		<-lifted
		return true
	case ResetRequests, CloseHalf:
		_, _ = io.Copy(io.Discard, r.Body)
		s.breakOff(w, b.Manner)
		return true
	case CloseEach:
		w.Header().Set("Connection", "close")
	case SlowRequests:
		*service = b.Service
	case AnswerRequests:
	}
	return false
}

// breakOff ends the connection of a request without an answer.
func (s *serving) breakOff(w http.ResponseWriter, how Manner) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if how == CloseHalf {
		closeHalf(conn)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaked = append(s.leaked, conn)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that closing sends RST, tcp(7)
	}
	_ = conn.Close()
}

func closeHalf(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
