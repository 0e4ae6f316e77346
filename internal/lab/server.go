//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Software is a server that a host can run: ApachePrefork, ApacheEvent, Nginx,
// HAProxy or App.
type Software interface {
	// plan says what to run; it does nothing yet.
	plan(at place) (plan, error)
}

// place is where a server is to run.
type place struct {
	dir  string     // a directory of its own
	addr netip.Addr // the host's
	// app returns the address of an application behind the server: the one
	// given, or when that is not valid, of one started for it.
	app func(given netip.AddrPort) (netip.AddrPort, error)
}

// plan is how a server is started.
type plan struct {
	program, pkg string            // a program and its Debian package; or
	role         string            // a role of this binary, and
	config       any               // its configuration
	args         []string          //
	files        map[string]string // to write into the directory first
	logs         []string          // files in the directory that it writes
	listen       netip.AddrPort    // where it answers
	statsSocket  string
	stopSignal   syscall.Signal
}

// Server is a running server. It ends with Stop, or with its world.
type Server struct {
	host  *Host
	plan  plan
	dir   string
	cmd   *Cmd
	role  *child // instead of cmd
	said  *tail
	app   *Server // started for this server
	ended chan struct{}
	err   error // of the wait; read after ended
}

// startWait bounds the wait for a server to answer. The slowest of them, the
// HAProxy, listens after 75 ms on an idle machine.
const startWait = 15 * time.Second

// Serve starts a server on the host and returns when it accepts connections.
// ctx bounds the start only. Where its package is not installed the error is a
// *ErrMissing.
func (h *Host) Serve(ctx context.Context, software Software) (*Server, error) {
	s := &Server{host: h, said: &tail{}, ended: make(chan struct{})}
	if err := s.start(ctx, software); err != nil {
		return nil, errors.Join(fmt.Errorf("serve %T on %s: %w", software, h.name, err), s.Stop())
	}
	if err := h.world.adopt(s); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, software Software) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var err error
	kind := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", software), "lab."))
	if s.dir, err = s.host.world.subdir(s.host.name + "-" + kind); err != nil {
		return err
	}
	s.plan, err = software.plan(place{dir: s.dir, addr: s.host.Addr(), app: func(given netip.AddrPort) (netip.AddrPort, error) {
		if given.IsValid() {
			return given, nil
		}
		app, err := s.host.Serve(ctx, App{})
		if err != nil {
			return netip.AddrPort{}, err
		}
		s.app = app
		return app.Addr(), nil
	}})
	if err != nil {
		return err
	}
	for name, text := range s.plan.files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	if s.plan.role != "" {
		return s.startRole(ctx)
	}
	path, err := program(s.plan.program, s.plan.pkg)
	if err != nil {
		return err
	}
	if s.dial() == nil {
		return fmt.Errorf("something else answers at %v", s.plan.listen)
	}
	s.cmd = s.host.Command(context.WithoutCancel(ctx), path, s.plan.args...)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to kill its workers with it
	s.cmd.WaitDelay = time.Second                           // a worker may hold the pipe open
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("start %s: %w", s.plan.program, err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	if err := s.awaitAnswer(ctx); err != nil {
		return fmt.Errorf("%w%s", err, s.quoteLog())
	}
	return nil
}

// startRole starts a server that is this binary again and reports its address.
func (s *Server) startRole(ctx context.Context) error {
	var report appReport
	var err error
	if s.role, err = s.host.startChild(ctx, s.plan.role, s.plan.config, &report); err != nil {
		return err
	}
	s.said = s.role.said
	s.plan.listen = report.Listen
	return nil
}

// awaitAnswer connects until it is let in, at ever longer intervals.
func (s *Server) awaitAnswer(ctx context.Context) error {
	pause := 5 * time.Millisecond
	for {
		err := s.dial()
		if err == nil {
			return nil
		}
		if waitFor(s.ended, pause) {
			return fmt.Errorf("%s ended at once: %w", s.plan.program, cmpError(s.err, errors.New("exit status 0")))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s does not answer at %v: %w", s.plan.program, s.plan.listen, err)
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// dial connects to where the server answers and closes again.
func (s *Server) dial() error {
	return s.host.Do(func() error {
		conn, err := net.DialTimeout("tcp", s.plan.listen.String(), time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// Addr returns where the server answers.
func (s *Server) Addr() netip.AddrPort { return s.plan.listen }

// URL returns "http://ADDR" followed by path.
func (s *Server) URL(path string) string { return "http://" + s.plan.listen.String() + path }

// PID returns the server's main process.
func (s *Server) PID() int {
	if s.role != nil {
		return s.role.cmd.Process.Pid
	}
	return s.cmd.Process.Pid
}

// Dir returns the directory with the server's configuration and logs.
func (s *Server) Dir() string { return s.dir }

// StatsSocket returns the path of HAProxy's admin socket, "" for others.
func (s *Server) StatsSocket() string { return s.plan.statsSocket }

// App returns the application that was started behind the server, or nil.
func (s *Server) App() *Server { return s.app }

// Log returns the end of what the server wrote to its error output and logs.
func (s *Server) Log() string {
	parts := []string{s.said.String()}
	for _, name := range s.plan.logs {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			continue
		}
		if over := len(text) - tailBytes; over > 0 {
			text = text[over:]
		}
		parts = append(parts, strings.TrimSpace(string(text)))
	}
	return strings.TrimSpace(strings.Join(parts, "\n"))
}

func (s *Server) quoteLog() string {
	if log := s.Log(); log != "" {
		return "; it said:\n" + log
	}
	return ""
}

// Stop ends the server as its own stop command would, kills it and its workers
// when that takes too long, and stops the application started for it. Stopping
// twice is no error.
func (s *Server) Stop() error {
	s.host.world.disown(s)
	return s.halt()
}

func (s *Server) halt() error {
	var errs []error
	if s.role != nil {
		errs = append(errs, s.role.halt())
	}
	if s.cmd != nil {
		errs = append(errs, s.haltProgram())
	}
	if s.app != nil {
		errs = append(errs, s.app.Stop())
	}
	return errors.Join(errs...)
}

func (s *Server) haltProgram() error {
	select {
	case <-s.ended:
		return nil
	default:
	}
	_ = s.cmd.Process.Signal(s.plan.stopSignal)
	if waitFor(s.ended, stopWait) {
		return nil
	}
	// The main process is there, so its group cannot be another's.
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	if !waitFor(s.ended, killWait) {
		return fmt.Errorf("%s %d did not end within %v of SIGKILL", s.plan.program, s.cmd.Process.Pid, killWait)
	}
	return nil
}
