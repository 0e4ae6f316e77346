// Package limits reads how many connections or requests a server can serve at
// once from the server's own configuration: Apache (prefork, worker, event),
// nginx, and PHP-FPM pools on TCP.
//
//	workers, stamp, ok := limits.Of("/proc", p.PID, p.Name, p.Exe, service.Listen)
//	if !ok {
//		// not a server that is known here
//	}
//	…
//	if stamp.Changed() {
//		workers, stamp, ok = limits.Of(…)
//	}
//
// The configuration is the one the process has: named by its command line,
// with its environment, and read below its own root, which symbolic links do
// not leave. A limit is given only when every file that could set it was read
// and understood. Otherwise it is 0 and Workers.Problem says why.
//
// A process names its configuration itself. It is therefore read with no more
// rights than its owner has by the modes of the files, whatever ours are, and
// no remark repeats what is in a file but numbers.
//
// Reading takes the rights to look into the process: for another user's,
// CAP_SYS_PTRACE and, for files that only root may read, CAP_DAC_READ_SEARCH.
package limits
