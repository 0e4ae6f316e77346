package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Nginx is nginx in front of one or more upstreams. It listens on IPv4 only.
type Nginx struct {
	// Workers is worker_processes. Zero is 1.
	Workers int
	// Connections is worker_connections. Zero is nginx's own 512.
	Connections int
	// KeepAlive keeps clients' connections for five seconds after an answer.
	KeepAlive bool
	// Kept is `keepalive`: how many idle connections to upstreams it keeps.
	// Zero keeps none, as by default, and asks in HTTP/1.0.
	Kept int
	// OpenEach asks in HTTP/1.1 and closes each connection to an upstream
	// itself: what `proxy_http_version 1.1` makes without `keepalive`, and
	// the reason for TIME_WAIT on the balancer.
	OpenEach bool
	// Upstreams are the applications it spreads requests over. None starts
	// an App on the same host.
	Upstreams []netip.AddrPort
}

func (n Nginx) plan(at place) (plan, error) {
	workers, err := countOr(n.Workers, 1, 64, "workers")
	if err != nil {
		return plan{}, err
	}
	connections, err := countOr(n.Connections, 512, 20_000, "connections")
	if err != nil {
		return plan{}, err
	}
	upstreams, err := at.apps(n.Upstreams)
	if err != nil {
		return plan{}, err
	}
	if n.Kept < 0 || n.Kept > 0 && n.OpenEach {
		return plan{}, fmt.Errorf("%d kept connections: none or more, and none where each is closed", n.Kept)
	}
	keepAlive := 0
	if n.KeepAlive {
		keepAlive = 5
	}
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off;
user www-data;
worker_processes %d;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log warn;
events { worker_connections %[3]d; }
http {
  access_log off;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  keepalive_timeout %[4]d;
  upstream app {
`, workers, at.dir, connections, keepAlive)
	for _, u := range upstreams {
		fmt.Fprintf(&b, "    server %v;\n", u)
	}
	if n.Kept > 0 {
		fmt.Fprintf(&b, "    keepalive %d;\n", n.Kept)
	}
	version := ""
	if n.Kept > 0 || n.OpenEach {
		version = ` proxy_http_version 1.1; proxy_set_header Connection "";`
	}
	fmt.Fprintf(&b, `  }
  server {
    listen 0.0.0.0:%d;
    location / { proxy_pass http://app;%s }
  }
}
`, webPort, version)
	return plan{
		program: "nginx", pkg: "nginx-light",
		args:         []string{"-c", at.dir + "/nginx.conf", "-e", at.dir + "/error.log"},
		files:        map[string]string{"nginx.conf": b.String()},
		logs:         []string{"error.log"},
		listen:       at.web(),
		stopSignal:   syscall.SIGTERM,
		reloadSignal: syscall.SIGHUP,
	}, nil
}

// HAProxy is HAProxy with one HTTP frontend, on IPv4 only, and one backend,
// called "app".
type HAProxy struct {
	// Check is the interval of the health checks; three failures mark a
	// server down, as by default. Zero makes none.
	Check time.Duration
	// Health is the path the checks ask for. None only connects, as by
	// default.
	Health string
	// Reloads makes a master process that takes SIGUSR2 for a reload.
	Reloads bool
	// Backends are the servers s1, s2, … None starts an App on the same
	// host.
	Backends []netip.AddrPort
}

func (p HAProxy) plan(at place) (plan, error) {
	if p.Check < 0 {
		return plan{}, fmt.Errorf("check interval %v is negative", p.Check)
	}
	backends, err := at.apps(p.Backends)
	if err != nil {
		return plan{}, err
	}
	check := ""
	if p.Check > 0 {
		check = fmt.Sprintf(" check inter %dms", max(p.Check.Milliseconds(), 1))
	}
	socket := at.dir + "/admin.sock"
	var b strings.Builder
	fmt.Fprintf(&b, `global
  maxconn 2000
  stats socket %[1]s mode 600 level admin
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend web
  bind 0.0.0.0:%[2]d
  maxconn 2000
  default_backend app
backend app
  balance roundrobin
`, socket, webPort)
	if p.Health != "" {
		fmt.Fprintf(&b, "  option httpchk GET %s\n", p.Health)
	}
	for i, backend := range backends {
		fmt.Fprintf(&b, "  server s%d %v%s\n", i+1, backend, check)
	}
	mode, reload := "-db", syscall.Signal(0)
	if p.Reloads {
		mode, reload = "-W", syscall.SIGUSR2
	}
	return plan{
		program: "haproxy", pkg: "haproxy",
		args:        []string{mode, "-f", at.dir + "/haproxy.cfg"},
		files:       map[string]string{"haproxy.cfg": b.String()},
		listen:      at.web(),
		statsSocket: socket,
		stopSignal:  syscall.SIGTERM, reloadSignal: reload,
	}, nil
}

// apps returns the given applications, or one started for the server.
func (at place) apps(given []netip.AddrPort) ([]netip.AddrPort, error) {
	if len(given) > 0 {
		return given, nil
	}
	app, err := at.app(netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return []netip.AddrPort{app}, nil
}

// Admin sends one command to HAProxy's admin socket and returns its answer,
// at most a megabyte. It is an error for other software.
func (s *Server) Admin(ctx context.Context, command string) (string, error) {
	answer, err := s.admin(ctx, command)
	if err != nil {
		return "", fmt.Errorf("command %q to the server at %v: %w", command, s.Addr(), err)
	}
	return strings.TrimSpace(string(answer)), nil
}

func (s *Server) admin(ctx context.Context, command string) ([]byte, error) {
	if s.plan.statsSocket == "" {
		return nil, errors.New("it has no admin socket")
	}
	conn, err := (&net.Dialer{Timeout: stopWait}).DialContext(ctx, "unix", s.plan.statsSocket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(stopWait)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "%s\n", command); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(conn, 1<<20))
}
