package limits

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Servers carry the paths that they were built with as text, to print them at
// -V. Reading that text is surer than knowing every distribution.

// maxProgram bounds how much of a program is read.
const maxProgram = 32 << 20

// program returns the process' program, nil when it may not be read.
func (p process) program() []byte {
	fd, err := unix.Open(p.path("exe"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "exe")
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProgram))
	if err != nil {
		return nil
	}
	return data
}

// maxBuiltIn is the longest value that is looked for.
const maxBuiltIn = 4096

// builtIn returns what follows marker in a program's text up to a blank, quote
// or control character; empty when the marker is not there.
func builtIn(program []byte, marker string) string {
	at := bytes.Index(program, []byte(marker))
	if at < 0 {
		return ""
	}
	value := program[at+len(marker):]
	value = value[:min(len(value), maxBuiltIn)]
	end := bytes.IndexFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '\'' || r >= 0x7f })
	if end < 0 {
		return ""
	}
	return string(value[:end])
}
