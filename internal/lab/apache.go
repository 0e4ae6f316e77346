package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// ApachePrefork is Apache with one process per connection: a request that
// waits for the application occupies a worker, and so does an idle keep-alive
// connection.
type ApachePrefork struct {
	// Workers is MaxRequestWorkers; all are started at once. Zero is 20.
	Workers int
	// Backlog is ListenBacklog. Zero is Apache's own 511.
	Backlog int
	// Port is where it listens, dual-stack as Debian's own configuration
	// does: its sockets are IPv6 ones with v4-mapped addresses. Zero is 80.
	Port uint16
	// KeepAlive keeps connections for five seconds after an answer.
	KeepAlive bool
	// Upstream is the application it forwards every request to. The zero
	// value starts an App of its own on the same host.
	Upstream netip.AddrPort
}

// ApacheEvent is Apache with threads that wait for requests only: idle
// keep-alive connections occupy none. Its fields mean what those of
// ApachePrefork do; Workers is rounded up to whole processes of 25 threads
// when there are more than 25.
type ApacheEvent struct {
	Workers   int
	Backlog   int
	Port      uint16
	KeepAlive bool
	Upstream  netip.AddrPort
}

// eventThreads is Apache's own default of ThreadsPerChild.
const eventThreads = 25

func (a ApachePrefork) plan(at place) (plan, error) {
	n, err := countOr(a.Workers, 20, 10_000, "workers")
	if err != nil {
		return plan{}, err
	}
	mpm := fmt.Sprintf(`LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
ServerLimit %[1]d
StartServers %[1]d
MinSpareServers %[1]d
MaxSpareServers %[1]d
MaxRequestWorkers %[1]d
`, n)
	return apachePlan(at, apacheConfig{mpm: mpm, backlog: a.Backlog, port: a.Port, keepAlive: a.KeepAlive, upstream: a.Upstream})
}

func (a ApacheEvent) plan(at place) (plan, error) {
	n, err := countOr(a.Workers, 20, 10_000, "workers")
	if err != nil {
		return plan{}, err
	}
	threads := min(n, eventThreads)
	processes := (n + threads - 1) / threads
	mpm := fmt.Sprintf(`LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
ServerLimit %[1]d
StartServers %[1]d
ThreadsPerChild %[2]d
ThreadLimit %[2]d
MinSpareThreads %[3]d
MaxSpareThreads %[3]d
MaxRequestWorkers %[3]d
`, processes, threads, processes*threads)
	return apachePlan(at, apacheConfig{mpm: mpm, backlog: a.Backlog, port: a.Port, keepAlive: a.KeepAlive, upstream: a.Upstream})
}

type apacheConfig struct {
	mpm       string
	backlog   int
	port      uint16
	keepAlive bool
	upstream  netip.AddrPort
}

func apachePlan(at place, c apacheConfig) (plan, error) {
	backlog, err := countOr(c.backlog, 511, 65_535, "backlog")
	if err != nil {
		return plan{}, err
	}
	upstream, err := at.app(c.upstream)
	if err != nil {
		return plan{}, err
	}
	port := webPort(c.port)
	keepAlive := "Off"
	if c.keepAlive {
		keepAlive = "On"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `ServerRoot /etc/apache2
ServerName lab.test
PidFile %[1]s/apache.pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default
ErrorLog %[1]s/error.log
LogLevel warn
User www-data
Group www-data
%[2]sLoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
Listen %[3]d
ListenBacklog %[4]d
KeepAlive %[5]s
KeepAliveTimeout 5
MaxKeepAliveRequests 0
Timeout 60
ProxyRequests Off
ProxyPass / http://%[6]v/ disablereuse=On retry=0 timeout=60
`, at.dir, c.mpm, port, backlog, keepAlive, upstream)
	return plan{
		program: "apache2", pkg: "apache2",
		args:       []string{"-f", at.dir + "/apache.conf", "-D", "FOREGROUND"},
		files:      map[string]string{"apache.conf": b.String()},
		logs:       []string{"error.log"},
		listen:     netip.AddrPortFrom(at.addr, port),
		stopSignal: syscall.SIGTERM,
	}, nil
}

// countOr returns n, or without one the default.
func countOr(n, otherwise, most int, what string) (int, error) {
	if n == 0 {
		return otherwise, nil
	}
	if n < 0 || n > most {
		return 0, fmt.Errorf("%d %s is not within 1 to %d", n, what, most)
	}
	return n, nil
}

// webPort returns port, or without one that of the web.
func webPort(port uint16) uint16 {
	if port == 0 {
		return 80
	}
	return port
}
