// Package tcp holds what a Linux kernel says about TCP, as plain values.
//
// A [Socket] is one row of the kernel's socket table. A [Look] is the header
// of one reading of that table: which namespace, which tier, when, how long it
// took, whether it is complete and what the reader was able to see. The
// sockets of a look do not live in it: they pass once, in batches of at most
// [BatchSize], in a slice the reader reuses.
//
//	var busy int
//	look, err := reader.Read(tcp.Request{States: tcp.AllStates, Info: true}, func(batch []tcp.Socket) {
//		for i := range batch {
//			if batch[i].Busy() {
//				busy++
//			}
//		}
//	})
//
// [Counters] are the namespace's cumulative MIB counters, or what happened
// between two readings of them.
//
// The package does no I/O and imports nothing of ours.
package tcp
