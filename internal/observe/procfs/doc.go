// Package procfs reads the kernel's TCP socket table as text, from
// /proc/net/tcp and tcp6: the fallback where sock_diag is refused.
//
// A [Reader] keeps both files open and reads them again from the start for
// each look, into one 32 KiB buffer and one batch of sockets: a look allocates
// nothing.
//
//	r := procfs.New("/proc/thread-self/net", tcp.NewScratch())
//	defer r.Close()
//	look, err := r.Read(tcp.Request{States: tcp.OddStates}, func(batch []tcp.Socket) { … })
//
// What the text lacks is named by [tcp.Ability.Missing]: no accept-queue
// limit, no cookie, no cgroup, no tcp_info. Each look reads the whole table,
// but one at listeners alone, which the kernel prints first.
package procfs
