package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Software is a server that a host can run: ApachePrefork, ApacheEvent,
// ApacheBalancer, Nginx, HAProxy, Traefik or App.
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
	reloadSignal syscall.Signal // takes the files up anew
	watches      bool           // takes them up by itself
}

// Server is a running server. It ends with Stop, or with its world.
type Server struct {
	host    *Host
	plan    plan
	dir     string
	program *Program
	role    *child  // the program, where it is this binary again
	app     *Server // started for this server

	orders sync.Mutex // held while the role follows one
}

// startWait bounds the wait for a server to answer. The slowest of them, the
// HAProxy, listens after 75 ms on an idle machine.
const startWait = 15 * time.Second

// Serve starts a server on the host and returns when it accepts connections.
// ctx bounds the start only. Where its package is not installed the error is a
// *ErrMissing.
func (h *Host) Serve(ctx context.Context, software Software) (*Server, error) {
	s := &Server{host: h}
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
	s.plan, err = software.plan(s.place(ctx))
	if err != nil {
		return err
	}
	if err := s.writeFiles(s.plan.files); err != nil {
		return err
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
	cmd := s.host.Command(context.WithoutCancel(ctx), path, s.plan.args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to kill its workers with it
	cmd.WaitDelay = time.Second                           // a worker may hold the pipe open
	if s.program, err = cmd.Launch(); err != nil {
		return fmt.Errorf("start %s: %w", s.plan.program, err)
	}
	if err := s.awaitAnswer(ctx); err != nil {
		return fmt.Errorf("%w%s", err, s.quoteLog())
	}
	return nil
}

func (s *Server) place(ctx context.Context) place {
	return place{dir: s.dir, addr: s.host.Addr(), app: func(given netip.AddrPort) (netip.AddrPort, error) {
		if given.IsValid() {
			return given, nil
		}
		if s.app == nil {
			app, err := s.host.Serve(ctx, App{})
			if err != nil {
				return netip.AddrPort{}, err
			}
			s.app = app
		}
		return s.app.Addr(), nil
	}}
}

// writeFiles puts each of a plan's files in its place at once, so that nobody
// reads half of one.
func (s *Server) writeFiles(files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(s.dir, name)
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return nil
}

// Reload lets a running server take up another configuration as its operator
// would: by a signal, or by its own watch on its files. It does not wait until
// the server has done so.
func (s *Server) Reload(ctx context.Context, software Software) error {
	next, err := software.plan(s.place(ctx))
	switch {
	case err != nil:
	case next.program != s.plan.program:
		err = fmt.Errorf("%s cannot become %s", s.plan.program, next.program)
	case next.reloadSignal == 0 && !next.watches:
		err = errors.New("it does not reload")
	default:
		err = s.writeFiles(next.files)
	}
	if err == nil && next.reloadSignal != 0 {
		err = s.Signal(next.reloadSignal)
	}
	if err != nil {
		return fmt.Errorf("reload %T on %s: %w", software, s.host.name, err)
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
	s.program = s.role.Program
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
		if waitFor(s.program.ended, pause) {
			return fmt.Errorf("%s ended at once: %w", s.plan.program, cmp.Or(s.program.result, errors.New("exit status 0")))
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
func (s *Server) PID() int { return s.program.PID() }

// ContainerID returns the identity that an agent reads from the cgroup of the
// server's processes, 64 hexadecimal digits; "" where its host is not contained.
func (s *Server) ContainerID() string { return s.program.container.id }

// Dir returns the directory with the server's configuration and logs.
func (s *Server) Dir() string { return s.dir }

// StatsSocket returns the path of HAProxy's admin socket, "" for others.
func (s *Server) StatsSocket() string { return s.plan.statsSocket }

// Log returns the end of what the server wrote to its error output and logs.
func (s *Server) Log() string {
	parts := []string{s.program.Said()}
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

// Signal sends a signal to the server's main process; where that has ended the
// error is os.ErrProcessDone.
func (s *Server) Signal(signal syscall.Signal) error {
	if err := s.program.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %v to the server at %v: %w", signal, s.Addr(), err)
	}
	return nil
}

// Kill ends the server's main process by SIGKILL and waits until it is gone.
func (s *Server) Kill() error {
	if err := s.program.End(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the server at %v: %w", s.Addr(), err)
	}
	return nil
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
	switch {
	case s.role != nil:
		errs = append(errs, s.role.halt())
	case s.program != nil:
		errs = append(errs, s.program.End(s.plan.stopSignal))
	}
	if s.app != nil {
		errs = append(errs, s.app.Stop())
	}
	return errors.Join(errs...)
}
