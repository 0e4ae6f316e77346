package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"

	"github.com/foreshock/foreshock/internal/reply"
)

// How long is waited for one answer, and how much is read of it. 1,232 bytes
// of UDP pass where anything passes: the DNS flag day of 2020 (IPv6's least
// MTU of 1,280 less 48 of headers). A server that sends more by UDP is read all
// the same.
const (
	wait     = 2 * time.Second
	udpTries = 2
	udpSize  = 1232
	udpRoom  = 4096
)

// problem is why a server gave no message to go by.
type problem struct {
	failure reply.Failure
	words   string
}

// exchange asks one server one question: by UDP, twice when nothing comes, and
// by TCP when nothing came or the answer is cut off. A server too old for EDNS
// is asked without it.
func (c *Client) exchange(ctx context.Context, to netip.AddrPort, question *dns.Msg) (*dns.Msg, *problem) {
	m, bad := c.ask(ctx, to, question)
	if bad != nil || question.IsEdns0() == nil {
		return m, bad
	}
	switch m.Rcode {
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers: // RFC 6891, 7
		without := question.Copy()
		without.Extra = nil
		without.Id = dns.Id()
		return c.ask(ctx, to, without)
	}
	return m, nil
}

func (c *Client) ask(ctx context.Context, to netip.AddrPort, question *dns.Msg) (*dns.Msg, *problem) {
	raw, err := question.Pack()
	if err != nil {
		return nil, &problem{reply.Malformed, fmt.Sprintf("%q cannot be asked for (%v); correct the name", question.Question[0].Name, err)}
	}
	strays := 0
	for range udpTries {
		m, met, err := c.byUDP(ctx, to, raw, question)
		strays += met
		switch {
		case err == nil && !m.Truncated:
			return m, nil
		case err == nil, timedOut(err):
		case errors.Is(err, errGarbled):
			return nil, garbled(to, err)
		default:
			return nil, unreachable(to, err)
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	m, err := c.byTCP(ctx, to, raw, question)
	switch {
	case err == nil && !m.Truncated:
		return m, nil
	case err == nil:
		return nil, garbled(to, errors.New("an answer that is cut off by TCP too"))
	case strays > 0:
		return nil, &problem{reply.Malformed, fmt.Sprintf("%s was asked and sent %d messages that answer something else; is it a DNS server, or does something on the way answer for it?", to, strays)}
	case errors.Is(err, errGarbled), errors.Is(err, errStray):
		return nil, garbled(to, err)
	case timedOut(err), ctx.Err() != nil:
		return nil, &problem{reply.TimedOut, fmt.Sprintf("%s does not answer within %v, neither by UDP nor by TCP; is it running, and may this host ask it?", to, c.patience())}
	}
	return nil, &problem{reply.TimedOut, fmt.Sprintf("%s does not answer by UDP within %v, and by TCP: %v; is it running, and may this host ask it?", to, c.patience(), err)}
}

// byUDP asks once. What does not answer the question is passed over, as
// anybody who guesses the port can send it; strays counts it.
func (c *Client) byUDP(ctx context.Context, to netip.AddrPort, raw []byte, question *dns.Msg) (m *dns.Msg, strays int, err error) {
	conn, err := c.dial(ctx, "udp", to)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	if _, err := conn.Write(raw); err != nil {
		return nil, 0, err
	}
	buffer := make([]byte, udpRoom)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, strays, err
		}
		m, err := open(buffer[:n], question)
		if errors.Is(err, errStray) {
			strays++
			continue
		}
		return m, strays, err
	}
}

// byTCP asks once; each message has its length before it: RFC 1035, 4.2.2.
func (c *Client) byTCP(ctx context.Context, to netip.AddrPort, raw []byte, question *dns.Msg) (*dns.Msg, error) {
	conn, err := c.dial(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	return open(answer, question)
}

// dial connects, and bounds all that the connection is used for.
func (c *Client) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	until := time.Now().Add(c.patience())
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	conn, err := c.Dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(until); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// patience is how long is waited for one answer.
func (c *Client) patience() time.Duration {
	if c.wait > 0 {
		return c.wait
	}
	return wait
}

func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func garbled(to netip.AddrPort, err error) *problem {
	return &problem{reply.Malformed, fmt.Sprintf("%s: %v; is it a DNS server?", to, err)}
}

func unreachable(to netip.AddrPort, err error) *problem {
	return &problem{reply.Unreachable, fmt.Sprintf("%s cannot be reached (%v); is the DNS server running there, and is there a way to it?", to, err)}
}
