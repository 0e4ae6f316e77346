package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// maxWords is how much of what somebody else wrote is repeated, in bytes.
const maxWords = 120

// connectWords says why there is no TCP connection.
func connectWords(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.Canceled):
		return "given up"
	case timedOut(err):
		return fmt.Sprintf("no answer to a connection within %v", connectTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused: nothing listens there"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "this host has no route there"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return printable(err.Error())
}

// broken says how a connection broke off; empty: it did not.
func broken(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "given up"
	case timedOut(err):
		return fmt.Sprintf("the %v for the whole were over", wholeTimeout)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server reset the connection"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	}
	return ""
}

func timedOut(err error) bool {
	var timed net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timed) && timed.Timeout()
}

// printable is the beginning of what somebody else wrote, in ASCII.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxWords)]
}
