package notifytest

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// server is a real program that listens on loopback.
type server struct {
	port int
	cmd  *exec.Cmd
	said bytes.Buffer
}

// start starts a program that is to listen on a port, and waits until it does.
func start(name string, port int, program string, arguments ...string) (*server, error) {
	s := &server{port: port, cmd: exec.Command(program, arguments...)}
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	for range 400 {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			_ = conn.Close()
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Stop()
	return nil, fmt.Errorf("start %s: it does not listen: %s", name, s.said.String())
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Stop ends it, and what it started. It returns what it said. A second time it
// does nothing: the number may be another's by then.
func (s *server) Stop() string {
	if s.cmd.ProcessState != nil {
		return s.said.String()
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	return s.said.String()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
