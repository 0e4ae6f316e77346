package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// ApacheBalancer is Apache's event MPM with mod_proxy_balancer, all as Debian
// ships it: connections to backends are kept, and a backend that refused is
// left alone for a minute (mod_proxy, "retry").
type ApacheBalancer struct {
	// Port is where it listens. Zero is 80.
	Port uint16
	// Backends are the members, at least one.
	Backends []netip.AddrPort
}

func (a ApacheBalancer) plan(at place) (plan, error) {
	if len(a.Backends) == 0 {
		return plan{}, errors.New("no backends")
	}
	port := webPort(a.Port)
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
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule slotmem_shm_module /usr/lib/apache2/modules/mod_slotmem_shm.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule proxy_balancer_module /usr/lib/apache2/modules/mod_proxy_balancer.so
LoadModule lbmethod_byrequests_module /usr/lib/apache2/modules/mod_lbmethod_byrequests.so
StartServers 2
MinSpareThreads 25
MaxSpareThreads 75
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
Listen %[2]d
<Proxy balancer://app>
`, at.dir, port)
	for _, backend := range a.Backends {
		fmt.Fprintf(&b, "  BalancerMember http://%v\n", backend)
	}
	b.WriteString("</Proxy>\nProxyRequests Off\nProxyPass / balancer://app/\n")
	return plan{
		program: "apache2", pkg: "apache2",
		args:         []string{"-f", at.dir + "/apache.conf", "-D", "FOREGROUND"},
		files:        map[string]string{"apache.conf": b.String()},
		logs:         []string{"error.log"},
		listen:       netip.AddrPortFrom(at.addr, port),
		stopSignal:   syscall.SIGTERM,
		reloadSignal: syscall.SIGUSR1,
	}, nil
}
