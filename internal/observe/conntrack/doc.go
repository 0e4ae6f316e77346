// Package conntrack undoes service addresses: behind a virtual address the
// kernel's connection tracking knows where each connection really went.
//
//	table, err := conntrack.Read(50_000)
//	switch {
//	case errors.Is(err, conntrack.ErrNotThere): // nothing is translated here
//	case err != nil: // a limit, in words
//	}
//	if real, ok := table.Undo(socket.Local, socket.Remote); ok {
//		fmt.Println(socket.Remote, "is", real)
//	}
//
// A [Table] holds the TCP connections whose destination was translated (DNAT):
// by nftables, iptables or IPVS, as Kubernetes' services are. Translation that
// is done on the socket itself (Cilium's) needs no undoing: such a socket shows
// the real address.
//
// Each network namespace has a table of its own, and the translation is in the
// one where it was done: for a pod's connections in the host's, not the pod's.
// Read reads that of the calling thread: from /proc/net/nf_conntrack, which
// takes CAP_DAC_READ_SEARCH, or by netlink, which takes CAP_NET_ADMIN; whichever
// is there and cheaper.
package conntrack
