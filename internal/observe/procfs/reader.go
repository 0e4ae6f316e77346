package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/observe/words"
	"github.com/foreshock/foreshock/internal/tcp"
)

// The kernel fills a page at a time at most (fs/seq_file.c, seq_read_iter), so
// a row of up to 28 KiB fits a buffer of tcp.ScratchSize.
const (
	// absentLooks is how many looks pass before a missing tcp6 is sought
	// again: IPv6 may be loaded later, and a failed open costs memory.
	absentLooks = 60
	none        = -1
	// maxRow is the longest row that the kernel's formats can print, newline
	// included, every number at its widest: 240 bytes of tcp, 288 of tcp6.
	// Kernel: get_tcp4_sock in net/ipv4/tcp_ipv4.c, get_tcp6_sock in
	// net/ipv6/tcp_ipv6.c. Before Linux 3.14 tcp4_seq_show padded a row beyond
	// its 149 bytes by as much again as it was too long, to 330.
	maxRow = 330
	// keptBack is how many sockets of a table are not passed on while rows may
	// follow: those the kernel may repeat.
	keptBack = 64
	// leadingRows is how many rows that are not repeated tell of a page in the
	// middle of a table that none of it is.
	leadingRows = 4
)

// Reader reads the socket table of one namespace. It is not safe for
// concurrent use.
type Reader struct {
	tables    [2]table
	bigEndian bool
	buffer    []byte
	batch     []tcp.Socket
	closed    bool
	page      int // bytes of the kernel's buffer for one of its files
	pread     func(fd int, buffer []byte, offset int64) (int, error)
	// inode is that of the first tcp file, by which its namespace is known
	// again: each has files of its own. Kernel: fs/proc/generic.c,
	// proc_register.
	inode uint64

	// Of the Read under way.
	add  func([]tcp.Socket)
	look tcp.Look
	// suspects is how many of the next rows may be of sockets in the batch.
	suspects int
}

// table is one of the two files.
type table struct {
	path string
	fd   int // or none
	// absent counts down the looks for which the file is taken as missing.
	absent int
	// optional: IPv6 may be switched off. missing: it was, when last sought.
	optional, missing bool
}

// New returns a Reader for the namespace whose files are in dir:
// "/proc/thread-self/net" for the one of the thread that reads first,
// "/proc/123/net" for the one of process 123 (the whole namespace, not that
// process alone). "/proc/self/net" is the main thread's, which may be inside
// another for a moment.
//
// The files are opened by the first Read and kept, so the Reader goes on
// reading the namespace of that moment, and keeps it alive, until Close; also
// when process 123 has ended. A file that must be opened again and then is
// another namespace's is refused.
//
// It takes its memory from scratch, which it may share with readers that are
// never used at the same time.
func New(dir string, scratch *tcp.Scratch) *Reader {
	return &Reader{
		tables:    [2]table{{path: dir + "/tcp", fd: none}, {path: dir + "/tcp6", fd: none, optional: true}},
		bigEndian: cpu.IsBigEndian,
		buffer:    scratch.Buffer,
		batch:     scratch.Batch[:0],
		page:      os.Getpagesize(),
		pread:     pread,
	}
}

// Abilities is none of those that tcp names.
func (r *Reader) Abilities() tcp.Ability { return 0 }

// Close closes the files and so lets go of the namespace.
func (r *Reader) Close() error {
	if r.closed {
		return os.ErrClosed
	}
	r.closed = true
	return errors.Join(r.tables[0].close(), r.tables[1].close())
}

// Read makes one look, as observe.Reader has it.
//
// Complete means that both tables were read to their end. The kernel prints
// listeners first and then bucket after bucket, letting go between pages:
// connections that come and go meanwhile may be missing. One that the kernel
// prints twice is passed once, as it was first seen, as long as fewer than 16
// came during the look; where dozens did, a few may be passed twice. A row that
// is not understood is counted and left out; a table that ends in the middle of
// a row makes the look Truncated.
func (r *Reader) Read(req tcp.Request, add func(batch []tcp.Socket)) (tcp.Look, error) {
	if r.closed {
		return tcp.Look{}, os.ErrClosed
	}
	begin := time.Now()
	r.look = tcp.Look{Request: req, Reader: "procfs", Abilities: r.Abilities(), Completeness: tcp.Complete}
	r.add = add
	r.batch = r.batch[:0]
	for i := range r.tables {
		if err := r.readTable(&r.tables[i]); err != nil {
			// A file that failed once is opened anew for the next look.
			_ = r.tables[i].close()
			r.add = nil
			return tcp.Look{}, fmt.Errorf("read sockets from %s: %w", r.tables[i].path, err)
		}
		r.flush(0)
	}
	r.add = nil
	r.look.Duration = time.Since(begin)
	return r.look, nil
}

// readTable passes one file through the buffer. It does not read on after a
// chunk that must be the last. At the read after the last row the kernel goes
// through all buckets once more, past as many rows as it has printed: where
// more sockets came than went since it began, the last rows come again.
// Kernel: net/ipv4/tcp_ipv4.c, tcp_seq_start where tcp_seek_last_pos finds
// nothing.
func (r *Reader) readTable(t *table) error {
	n, err := r.first(t)
	if err != nil || t.fd == none {
		return err
	}
	var (
		offset   int64
		held     int  // bytes of an unfinished line at the buffer's start
		headed   bool // the header was seen
		skipping bool // the line is longer than the buffer: drop it to its end
		longest  = maxRow
	)
	for n > 0 {
		// The kernel goes on until the next row would fill its buffer or it has
		// as much as was asked for. Kernel: fs/seq_file.c, seq_read_iter.
		room := min(r.page-1, len(r.buffer)-held) - n
		r.suspects = suspects(offset, room >= longest)
		offset += int64(n)
		r.look.Bytes += int64(n)
		rest := r.buffer[:held+n]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			line := rest[:end]
			rest = rest[end+1:]
			longest = max(longest, end+1)
			switch {
			case skipping:
				skipping = false
			case !headed:
				if err := parseHeader(line); err != nil {
					return err
				}
				headed = true
			case !r.row(line):
				return nil
			}
		}
		if len(rest) == 0 && room >= longest {
			return nil
		}
		held = copy(r.buffer, rest)
		if held == len(r.buffer) {
			if !headed {
				return parseHeader(rest)
			}
			if !skipping {
				r.look.Malformed++
			}
			skipping, held = true, 0
		}
		if n, err = r.pread(t.fd, r.buffer[held:], offset); err != nil {
			return err
		}
	}
	switch {
	case !headed:
		if held > 0 {
			return fmt.Errorf("ends within its header %q", words.Shown(r.buffer[:held]))
		}
		return errors.New("is empty, without even a header")
	case held > 0 || skipping:
		r.look.Malformed++
		r.look.Completeness = tcp.Truncated
	}
	return nil
}

// first reads the beginning of the file, opening it where needed: a file kept
// from an earlier look that fails is opened anew. It leaves t.fd none when
// there is no such file and need not be.
func (r *Reader) first(t *table) (int, error) {
	if t.fd != none {
		if n, err := r.pread(t.fd, r.buffer, 0); err == nil {
			return n, nil
		}
		_ = t.close()
	}
	if t.absent > 0 {
		t.absent--
		return 0, nil
	}
	fd, err := unix.Open(t.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	gone := t.optional && errors.Is(err, unix.ENOENT)
	if err != nil && !gone {
		return 0, os.NewSyscallError("open", err)
	}
	t.fd = fd // or none
	err = r.recognise(t)
	switch {
	case gone && err == nil, t.missing && (gone || err != nil):
		t.missing, t.absent = true, absentLooks
		return 0, t.close()
	case err != nil:
		return 0, err
	}
	t.missing = false
	return r.pread(t.fd, r.buffer, 0)
}

// errOther: the process has ended and its pid was given to another, or the
// thread has left the namespace.
var errOther = errors.New("is another namespace's by now")

// recognise checks that the directory that t was just opened in is the
// namespace of the first look.
func (r *Reader) recognise(t *table) error {
	var st unix.Stat_t
	var err error
	if t == &r.tables[0] {
		err = unix.Fstat(t.fd, &st)
	} else {
		err = unix.Stat(r.tables[0].path, &st)
	}
	if err != nil {
		return os.NewSyscallError("stat", err)
	}
	if r.inode == 0 {
		r.inode = st.Ino
	}
	if r.inode != st.Ino {
		return errOther
	}
	return nil
}

func (t *table) close() error {
	if t.fd == none {
		return nil
	}
	err := unix.Close(t.fd)
	t.fd = none
	if err != nil {
		return os.NewSyscallError("close "+t.path, err)
	}
	return nil
}

func pread(fd int, buffer []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(fd, buffer, offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("pread", err)
		}
		return n, nil
	}
}

// suspects is how many rows of a chunk at offset are looked at for repeated
// ones: of the last chunk all. Another that repeats rows does so from its start.
func suspects(offset int64, last bool) int {
	switch {
	case offset == 0:
		return 0
	case last:
		return math.MaxInt
	default:
		return leadingRows
	}
}

// row adds one line to the batch if the request wants it. False means that
// nothing the request wants can follow.
func (r *Reader) row(line []byte) bool {
	r.batch = append(r.batch, tcp.Socket{})
	s := &r.batch[len(r.batch)-1]
	wrong := parse(s, line, r.bigEndian)
	state := s.State
	switch {
	case wrong != "":
		r.look.Malformed++
		r.drop()
	case !r.look.Request.States.Has(state) || !r.look.Request.Filter.Match(s), r.suspects > 0 && r.repeated(s):
		r.drop()
	default:
		r.suspects--
		r.look.Sockets++
		if len(r.batch) == tcp.BatchSize {
			r.flush(keptBack)
		}
	}
	return wrong != "" || r.look.Request.States != tcp.ListenOnly || amongListeners(state)
}

func (r *Reader) drop() { r.batch = r.batch[:len(r.batch)-1] }

// repeated reports whether s, the last of the batch, is there before. Its state
// may have changed since, and its inode when it was accepted or closed.
// Listeners are not asked: many may have one address.
func (r *Reader) repeated(s *tcp.Socket) bool {
	if s.State == tcp.Listen {
		return false
	}
	before := r.batch[:len(r.batch)-1]
	for i := max(0, len(before)-keptBack); i < len(before); i++ {
		b := &before[i]
		if s.Remote == b.Remote && s.Local == b.Local && (s.Inode == b.Inode || s.Inode == 0 || b.Inode == 0) {
			return true
		}
	}
	return false
}

// amongListeners reports whether a row in this state may still be followed by
// listeners. Kernel: net/ipv4/tcp_ipv4.c, tcp_get_idx: the listening hash
// first, then the hash of connections. Before Linux 4.4 half-open connections
// hung on their listener; a listener that closes is seen in CLOSE.
func amongListeners(s tcp.State) bool {
	return s == tcp.Listen || s == tcp.SynRecv || s == tcp.Close
}

// flush passes the batch on, but for its last kept sockets.
func (r *Reader) flush(kept int) {
	if n := len(r.batch) - kept; n > 0 {
		r.add(r.batch[:n:n])
		r.batch = r.batch[:copy(r.batch, r.batch[n:])]
	}
}
