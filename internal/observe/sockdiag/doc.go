// Package sockdiag reads the kernel's TCP socket table over netlink's
// sock_diag.
//
// One [Reader] is one kept netlink socket, one 32 KiB buffer and one batch of
// sockets, all reused: a look allocates nothing. The legacy request type
// returns IPv4 and IPv6 in a single walk of the hash table; where it is
// refused, two requests of the current type take its place.
//
//	r, err := sockdiag.Open(tcp.NewScratch())
//	if err != nil {
//		return err // the roof falls back to procfs
//	}
//	defer r.Close()
//	look, err := r.Read(tcp.Request{States: tcp.OddStates}, func(batch []tcp.Socket) { … })
//
// sock_diag needs no privilege. A Reader reads the namespace of the thread
// that opened it, from any thread; it is not safe for concurrent use.
package sockdiag
