// Package counters reads a network namespace's cumulative TCP statistics:
// /proc/net/snmp, netstat and sockstat, 4–17 µs whatever the number of
// sockets.
//
// A [Reader] keeps the files open and reads them again from the start; a
// reading allocates nothing. The parsers take bytes and match columns by
// name, as kernels add some with every release.
//
//	r, err := counters.Open("/proc/thread-self/net", tcp.NewScratch())
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//	var now tcp.Counters
//	err = r.Read(&now)             // now holds what could be read, even beside an error
//	deltas := now.Since(&before)   // survives resets and wraps
package counters
