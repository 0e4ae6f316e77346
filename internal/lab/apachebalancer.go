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
