package limits

import (
	"time"

	"golang.org/x/sys/unix"
)

// Stamp is what a limit was read from. Asking it costs one look-up per file,
// some 3 µs each. The zero Stamp, that of a server that is not known, never
// changes. It holds nothing open and may be kept and copied.
type Stamp struct {
	process  process
	started  uint64 // the process', in clock ticks since boot; 0 unknown
	marks    []mark
	pending  bool      // a file is newer than the last reload
	youngest time.Time // child then; a new one may be the reload
}

// Changed reports whether the limit should be read again: the process is
// another, a file of the configuration was changed, came or went, or a server
// that had not taken up a changed file was reloaded.
func (s Stamp) Changed() bool {
	if s.process.pid == 0 {
		return false
	}
	if s.process.started() != s.started {
		return true
	}
	files, err := openRoot(s.process.path("root"), s.process.rights())
	if err != nil {
		// It was no different when there is nothing to compare.
		return len(s.marks) > 0
	}
	defer files.close()
	if len(s.marks) == 0 {
		return true // it can be reached now
	}
	for _, m := range s.marks {
		located, st, err := files.locate(m.name)
		if err == nil {
			_ = located.Close()
		}
		if now := markOf(m.name, st, err); !now.sameAs(m) {
			return true
		}
	}
	return s.pending && !s.process.youngestChild().Equal(s.youngest)
}

// mark is what tells one state of a file or directory from the next.
type mark struct {
	name     string
	missing  bool // or not to be reached
	dev, ino uint64
	size     int64
	mtime    time.Time
}

func markOf(name string, st unix.Stat_t, err error) mark {
	if err != nil {
		return mark{name: name, missing: true}
	}
	return mark{name: name, dev: st.Dev, ino: st.Ino, size: st.Size, mtime: time.Unix(st.Mtim.Unix())}
}

func (m mark) sameAs(o mark) bool {
	return m.name == o.name && m.missing == o.missing && m.dev == o.dev && m.ino == o.ino && m.size == o.size && m.mtime.Equal(o.mtime)
}

// note keeps what was found under a name, the first time it is asked for.
func (r *root) note(name string, st unix.Stat_t, err error) {
	for _, m := range r.marks {
		if m.name == name {
			return
		}
	}
	r.marks = append(r.marks, markOf(name, st, err))
}
