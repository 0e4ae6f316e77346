// Package observe reads the kernel's TCP tables: which reader to use, and
// when to look ([Schedule]). The packages below it each know one source.
//
//	reader, fallback, err := observe.Open(observe.Auto, tcp.NewScratch())
//	if fallback != nil {
//		log.Warn("reading /proc instead", "reason", fallback, "lost", reader.Abilities().Missing())
//	}
//	look, err := reader.Read(request, tallier.Add)
package observe

import (
	"errors"
	"fmt"

	"github.com/foreshock/foreshock/internal/observe/procfs"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/tcp"
)

// Reader reads one namespace's socket table. It is not safe for concurrent
// use.
type Reader interface {
	// Read makes one look and passes the sockets to add in batches of at most
	// tcp.BatchSize; add must not keep the slice. The header's Begin,
	// Namespace, CPU and Counters are the caller's to fill. An incomplete look
	// is marked by its Completeness; an error means that nothing can be said,
	// whatever was passed to add.
	Read(req tcp.Request, add func(batch []tcp.Socket)) (tcp.Look, error)
	// Abilities says what this reader can see.
	Abilities() tcp.Ability
	Close() error
}

// Source names a reader, as `look --reader` does.
type Source string

// The sources.
const (
	Auto     Source = "auto" // sock_diag, and procfs where that is refused
	SockDiag Source = "sock_diag"
	Procfs   Source = "procfs"
)

// ParseSource returns the source of that name.
func ParseSource(name string) (Source, error) {
	switch s := Source(name); s {
	case Auto, SockDiag, Procfs:
		return s, nil
	}
	return "", fmt.Errorf("unknown reader %q: use auto, sock_diag or procfs", name)
}

// OwnTables is where procfs shows the reading thread's own namespace.
const OwnTables = "/proc/thread-self/net"

// Open opens the reader that source names for the calling thread's namespace.
// With Auto, fallback is the reason why procfs took sock_diag's place, nil
// when it did not have to. The reader takes its memory from scratch, which it
// may share with readers that are never used at the same time.
func Open(source Source, scratch *tcp.Scratch) (reader Reader, fallback, err error) {
	if source == Procfs {
		return procfs.New(OwnTables, scratch), nil, nil
	}
	r, err := sockdiag.Open(scratch)
	switch {
	case err == nil:
		return r, nil, nil
	case source == Auto && errors.Is(err, sockdiag.ErrRefused):
		return procfs.New(OwnTables, scratch), err, nil
	default:
		return nil, nil, err
	}
}
