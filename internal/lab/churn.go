//go:build linux

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Churn describes connections that come and go.
type Churn struct {
	// Target is an IPv4 listener that somebody accepts from, or whose
	// queue is long enough.
	Target netip.AddrPort
	// PerSecond is how many connections to make; zero is as fast as it goes.
	PerSecond float64
	// Connections is how many to make in all, at most.
	Connections int
	// Duration bounds the time. Zero is a minute.
	Duration time.Duration
	// Reset ends each by a reset; else the client closes first and leaves a
	// TIME_WAIT.
	Reset bool
}

// Run makes and closes connections one by one on the calling goroutine, and so
// in a host's namespace when it is called inside Host.Do. It returns how many
// it made; a ctx that is done ends it without an error.
func (c Churn) Run(ctx context.Context) (made int, err error) {
	if !c.Target.Addr().Is4() || c.Connections < 0 || !(c.PerSecond >= 0) {
		return 0, fmt.Errorf("churn connections: %+v needs an IPv4 target and no negative number", c)
	}
	if c.Duration <= 0 {
		c.Duration = time.Minute
	}
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for made < c.Connections {
		wait := time.Duration(0)
		if c.PerSecond > 0 {
			wait = time.Until(begin.Add(time.Duration(float64(made) / c.PerSecond * float64(time.Second))))
		}
		if time.Since(begin)+max(wait, 0) >= c.Duration {
			return made, nil
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return made, nil
		case <-timer.C:
		}
		if err := c.once(); err != nil {
			return made, fmt.Errorf("churn connections: %w", err)
		}
		made++
	}
	return made, nil
}

// churnSendTimeout bounds one connect: a listener with a full queue does not
// answer. Kernel: SO_SNDTIMEO bounds connect too, socket(7).
const churnSendTimeout = 5 * time.Second

func (c Churn) once() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	limit := unix.NsecToTimeval(churnSendTimeout.Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	if err == nil && c.Reset {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err == nil {
		err = retry(func() error { return unix.Connect(fd, sockaddr(c.Target)) })
	}
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("connect to %v: %w", c.Target, err)
	}
	return unix.Close(fd)
}
