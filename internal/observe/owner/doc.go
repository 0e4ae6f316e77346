// Package owner says whose a socket is: which processes hold it, and of which
// service unit and container they are.
//
// From a socket to its holders, whoever they are:
//
//	held, limits, err := owner.Find("/proc", nil, []uint64{socket.Inode}, owner.Thorough)
//	for _, p := range held[socket.Inode] { // lowest pid first: usually the parent
//		fmt.Println(p.PID, p.Name, p.Unit)
//	}
//
// A search walks every process' descriptors, about 3 µs each, so it is for
// sockets that are watched or reported, not for each look.
//
// From processes that somebody named to their sockets:
//
//	selectors := append(owner.Balancers(), owner.Selector{Unit: "app.service"})
//	chosen, limits, err := owner.Choose("/proc", selectors, listeners)
//	neighbours, crowded := owner.Neighbours("/proc", chosen[0])
//	if a := owner.Attribute(chosen[0], neighbours, crowded); !a.Decides {
//		held, place, limits := owner.Join("/proc", chosen[0], inodes, place) // a.Why
//	}
//
// What may not be read is counted in [Limits] and never guessed. An error says
// that nothing can be told, and is no answer of "nobody".
package owner
