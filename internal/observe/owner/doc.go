// Package owner says which processes hold a socket, and of which service unit
// and container they are.
//
//	held, limits := owner.Find("/proc", []uint64{socket.Inode})
//	for _, p := range held[socket.Inode] { // lowest pid first: usually the parent
//		fmt.Println(p.PID, p.Name, p.Unit)
//	}
//
// A search walks every process' descriptors, about 3 µs each, so it is for
// sockets that are watched or reported, not for each look. What it may not
// read it counts in [Limits].
package owner
