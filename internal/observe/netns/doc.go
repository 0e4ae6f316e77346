// Package netns finds the network namespaces of a host and runs code inside
// one.
//
//	found, limits, err := netns.List("/proc")
//	for _, n := range found {
//		err := n.Do(func() error {
//			reader, err := sockdiag.Open(tcp.NewScratch()) // keeps reading n from any thread
//			…
//		})
//		if errors.Is(err, netns.ErrGone) {
//			continue // it ended since
//		}
//	}
//
// Entering takes CAP_SYS_ADMIN. Reading another user's namespace, even its
// number, takes CAP_SYS_PTRACE; what could not be read is counted in [Limits].
package netns
