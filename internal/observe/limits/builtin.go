package limits

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Servers carry the paths that they were built with as text, to print them at
// -V. Reading that text is surer than knowing every distribution.
const (
	// maxProgram bounds how much of a program is read, searchWindow how much at
	// once: the official PHP images have programs of 20 MiB.
	maxProgram   = 32 << 20
	searchWindow = 64 << 10
	// maxBuiltIn is the longest value that is looked for, and maxMarker the
	// longest text that it is looked for by.
	maxBuiltIn = 4096
	maxMarker  = 64
)

// builtIn returns what follows marker in the text of the process' program, up
// to a blank, quote or control character; false when the marker is not there,
// or the program may not be read. The first call searches for all markers of
// the server's kind.
func (r *reading) builtIn(marker string) (string, bool) {
	if r.built == nil {
		r.built = map[string]string{}
		if f := r.program(); f != nil {
			r.built = search(io.LimitReader(f, maxProgram), r.markers)
			_ = f.Close()
		}
	}
	value, ok := r.built[marker]
	return value, ok
}

// program opens the process' program, nil when it may not be read.
func (r *reading) program() *os.File {
	fd, err := unix.Open(r.process.path("exe"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f, st, err := held(fd, "exe")
	if err != nil {
		return nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || r.files.rights.check(f, &st, toRead) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// search returns what first follows each marker in a text, read once.
func search(text io.Reader, markers []string) map[string]string {
	found := map[string]string{}
	window := make([]byte, searchWindow)
	for kept := 0; ; {
		n, err := io.ReadFull(text, window[kept:])
		here := window[:kept+n]
		// A marker near the end waits for what follows it.
		whole := len(here)
		if err == nil {
			whole -= maxMarker + maxBuiltIn
		}
		for _, marker := range markers {
			if _, ok := found[marker]; ok {
				continue
			}
			if at := bytes.Index(here, []byte(marker)); at >= 0 && at < whole {
				found[marker] = valueAt(here[at+len(marker):])
			}
		}
		if err != nil {
			return found
		}
		kept = copy(window, here[whole:])
	}
}

// valueAt is the value that a text begins with; empty when it does not end.
func valueAt(text []byte) string {
	text = text[:min(len(text), maxBuiltIn)]
	end := bytes.IndexFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || r == '\'' || r >= 0x7f })
	if end < 0 {
		return ""
	}
	return string(text[:end])
}
