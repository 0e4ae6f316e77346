package counters

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// maxBuffer bounds a file. netstat, the largest, has 4 KB on Linux 6.18; Read
	// takes a larger buffer where the scratch's is not enough.
	maxBuffer = 1 << 20
	none      = -1
)

// Reader reads the counters of one namespace. It is not safe for concurrent
// use.
type Reader struct {
	files  [4]file
	buffer []byte
	closed bool
}

type file struct {
	path  string
	fd    int // or none
	parse func([]byte, *tcp.Counters) error
	// inode is that of the first opening: each namespace has files of its own.
	inode uint64
	// optional: a kernel without IPv6 does not have it, which is no error;
	// absent is that this is one.
	optional, absent bool
}

// netstat is the dearest of a Reader's files, and the last.
const netstat = 3

// errOther: the process has ended and its pid was given to another, or the
// thread has left the namespace.
var errOther = errors.New("is another namespace's by now")

// Open opens the counters of the namespace whose files are in dir:
// "/proc/thread-self/net" for the calling thread's, "/proc/123/net". The kept
// files go on reading that namespace, and keep it alive, until Close. The buffer
// is scratch's, which may be shared with readers that are never used at the same
// time.
//
// A file that is not there is sought again by each Read; it is an error when
// none is.
func Open(dir string, scratch *tcp.Scratch) (*Reader, error) {
	r := &Reader{
		files: [4]file{
			{path: dir + "/snmp", fd: none, parse: parseSNMP},
			{path: dir + "/sockstat", fd: none, parse: parseSockstat},
			{path: dir + "/sockstat6", fd: none, parse: parseSockstat6, optional: true},
			netstat: {path: dir + "/netstat", fd: none, parse: parseNetstat},
		},
		buffer: scratch.Buffer,
	}
	var errs []error
	for i := range r.files {
		if err := r.files[i].open(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(r.files)-1 {
		return nil, fmt.Errorf("open TCP counters: %w", errors.Join(errs...))
	}
	return r, nil
}

// Close closes the files and so lets go of the namespace.
func (r *Reader) Close() error {
	if r.closed {
		return os.ErrClosed
	}
	r.closed = true
	var errs []error
	for i := range r.files {
		errs = append(errs, r.files[i].close())
	}
	return errors.Join(errs...)
}

// Read replaces c by a new reading. When a file cannot be read or understood
// the error says which and why, c holds the counters of the others, and
// those that are missing are not set.
func (r *Reader) Read(c *tcp.Counters) error {
	*c = tcp.Counters{}
	return r.read(r.files[:], c)
}

// ReadSince is Read for who has the reading before this one, and reports
// whether anything moved between them: a segment came or went, or a socket came
// or went. Where nothing did, netstat's counters are last's: they count what
// happens to segments and connections. Without them a reading costs a third.
func (r *Reader) ReadSince(last, c *tcp.Counters) (moved bool, err error) {
	*c = tcp.Counters{}
	err = r.read(r.files[:netstat], c)
	if err == nil && !tcp.Moved(last, c) {
		for n := tcp.SyncookiesSent; n <= tcp.TCPAbortOnTimeout; n++ {
			if v, ok := last.Get(n); ok {
				c.Set(n, v)
			}
		}
		return false, nil
	}
	return true, errors.Join(err, r.read(r.files[netstat:], c))
}

func (r *Reader) read(files []file, c *tcp.Counters) error {
	if r.closed {
		return os.ErrClosed
	}
	var errs []error
	for i := range files {
		if err := r.readFile(&files[i], c); err != nil {
			errs = append(errs, err)
		}
	}
	if errs != nil {
		return fmt.Errorf("read TCP counters: %w", errors.Join(errs...))
	}
	return nil
}

func (r *Reader) readFile(f *file, c *tcp.Counters) error {
	if f.absent {
		return nil
	}
	if f.fd != none {
		if data, err := r.contents(f.fd); err == nil {
			return f.parseNamed(data, c)
		}
		_ = f.close() // a kept file that failed is opened anew
	}
	if err := f.open(); err != nil || f.absent {
		return err
	}
	data, err := r.contents(f.fd)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	return f.parseNamed(data, c)
}

func (f *file) parseNamed(data []byte, c *tcp.Counters) error {
	if err := f.parse(data, c); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// contents reads the whole file into the buffer.
func (r *Reader) contents(fd int) ([]byte, error) {
	have := 0
	for {
		n, err := unix.Pread(fd, r.buffer[have:], int64(have))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("pread", err)
		}
		if n == 0 {
			return r.buffer[:have], nil
		}
		have += n
		if have < len(r.buffer) && r.buffer[have-1] == '\n' {
			// Each of these files is one record, made whole whenever any of it is
			// read: asking for the end would make it once more.
			// Kernel: fs/seq_file.c, single_open and traverse.
			return r.buffer[:have], nil
		}
		if have == len(r.buffer) {
			if have >= maxBuffer {
				return nil, fmt.Errorf("longer than %d bytes", maxBuffer)
			}
			r.buffer = append(r.buffer, make([]byte, have)...)
		}
	}
}

func (f *file) open() error {
	fd, err := unix.Open(f.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if f.optional && err == unix.ENOENT && f.inode == 0 {
		f.absent = true
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: f.path, Err: err}
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && f.inode != 0 && f.inode != st.Ino {
		err = errOther
	}
	if err != nil {
		_ = unix.Close(fd)
		return &os.PathError{Op: "open", Path: f.path, Err: err}
	}
	f.fd, f.inode = fd, st.Ino
	return nil
}

func (f *file) close() error {
	if f.fd == none {
		return nil
	}
	err := unix.Close(f.fd)
	f.fd = none
	if err != nil {
		return &os.PathError{Op: "close", Path: f.path, Err: err}
	}
	return nil
}
