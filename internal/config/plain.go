package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadPlain reads a plain file, and no more of it than most+1 bytes: one by
// which a parser sees that it is too large. A pipe or a device is refused and
// never waited for. Where the file cannot be read the error wraps the operating
// system's.
func ReadPlain(path string, most int64) ([]byte, error) {
	data, _, err := readPlain(path, most)
	return data, err
}

// readPlain is ReadPlain, with what the file system says of the very file that
// was read, so that nobody can swap it in between.
func readPlain(path string, most int64) ([]byte, fs.FileInfo, error) {
	// Without O_NONBLOCK a pipe would hold us until somebody writes to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a plain file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	return data, fi, err
}
