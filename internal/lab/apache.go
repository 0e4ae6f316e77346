package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// ApachePrefork is Apache with one process per connection: a request that
// waits for the application occupies a worker, and so does an idle keep-alive
// connection. It listens dual-stack, as Debian's own configuration does: its
// sockets are IPv6 ones with v4-mapped addresses.
type ApachePrefork struct {
	// Workers is MaxRequestWorkers; all are started at once. Zero is 20.
	Workers int
	// Room is ServerLimit, up to which a reload may raise Workers. Zero is
	// Workers.
	Room int
	// Backlog is ListenBacklog. Zero is Apache's own 511.
	Backlog int
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
type ApacheEvent ApachePrefork

// eventThreads is Apache's own default of ThreadsPerChild.
const eventThreads = 25

func (a ApachePrefork) plan(at place) (plan, error) {
	n, err := countOr(a.Workers, 20, 10_000, "workers")
	if err != nil {
		return plan{}, err
	}
	room, err := countOr(a.Room, n, 10_000, "of room")
	if err != nil {
		return plan{}, err
	}
	mpm := fmt.Sprintf(`LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
ServerLimit %[2]d
StartServers %[1]d
MinSpareServers %[1]d
MaxSpareServers %[1]d
MaxRequestWorkers %[1]d
`, n, room)
	return a.behind(at, mpm)
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
	return ApachePrefork(a).behind(at, mpm)
}

// behind is the plan with the lines of its MPM.
func (a ApachePrefork) behind(at place, mpm string) (plan, error) {
	backlog, err := countOr(a.Backlog, 511, 65_535, "backlog")
	if err != nil {
		return plan{}, err
	}
	upstream, err := at.app(a.Upstream)
	if err != nil {
		return plan{}, err
	}
	keepAlive := "Off"
	if a.KeepAlive {
		keepAlive = "On"
	}
	return apachePlan(at, mpm+fmt.Sprintf(`ListenBacklog %d
KeepAlive %s
KeepAliveTimeout 5
MaxKeepAliveRequests 0
Timeout 60
ProxyRequests Off
ProxyPass / http://%v/ disablereuse=On retry=0 timeout=60
`, backlog, keepAlive, upstream)), nil
}

// ApacheBalancer is Apache's event MPM with mod_proxy_balancer, all as Debian
// ships it: connections to backends are kept, and a backend that refused is
// left alone for a minute (mod_proxy, "retry").
type ApacheBalancer struct {
	// Backends are the members, at least one.
	Backends []netip.AddrPort
}

func (a ApacheBalancer) plan(at place) (plan, error) {
	if len(a.Backends) == 0 {
		return plan{}, errors.New("no backends")
	}
	var b strings.Builder
	b.WriteString(`LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule slotmem_shm_module /usr/lib/apache2/modules/mod_slotmem_shm.so
LoadModule proxy_balancer_module /usr/lib/apache2/modules/mod_proxy_balancer.so
LoadModule lbmethod_byrequests_module /usr/lib/apache2/modules/mod_lbmethod_byrequests.so
StartServers 2
MinSpareThreads 25
MaxSpareThreads 75
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
<Proxy balancer://app>
`)
	for _, backend := range a.Backends {
		fmt.Fprintf(&b, "  BalancerMember http://%v\n", backend)
	}
	b.WriteString("</Proxy>\nProxyRequests Off\nProxyPass / balancer://app/\n")
	p := apachePlan(at, b.String())
	p.reloadSignal = syscall.SIGUSR1
	return p, nil
}

// apachePlan is an Apache as a proxy of HTTP, whose configuration ends with
// what its kind has of its own, the module of its MPM first.
func apachePlan(at place, own string) plan {
	return plan{
		program: "apache2", pkg: "apache2",
		args: []string{"-f", at.dir + "/apache.conf", "-D", "FOREGROUND"},
		files: map[string]string{"apache.conf": fmt.Sprintf(`ServerRoot /etc/apache2
ServerName lab.test
PidFile %[1]s/apache.pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default
ErrorLog %[1]s/error.log
LogLevel warn
User www-data
Group www-data
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
%[3]sListen %[2]d
`, at.dir, webPort, own)},
		logs:       []string{"error.log"},
		listen:     at.web(),
		stopSignal: syscall.SIGTERM,
	}
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

// webPort is where all servers but App answer.
const webPort = 80

// web is where the server answers.
func (at place) web() netip.AddrPort { return netip.AddrPortFrom(at.addr, webPort) }
