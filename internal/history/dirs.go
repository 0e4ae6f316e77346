package history

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// systemDir is where a system keeps what a service of ours wrote.
// https://refspecs.linuxfoundation.org/FHS_3.0/fhs/ch05s08.html
const systemDir = "/var/lib/foreshock"

// DefaultDir is the state directory of an agent that was told none: the one
// that the service manager made, else /var/lib/foreshock where that is and may
// be written to, else the user's. Empty where there is no place.
func DefaultDir(getenv func(string) string) string {
	for _, dir := range places(getenv) {
		if dir != systemDir || unix.Access(dir, unix.W_OK|unix.X_OK) == nil {
			return dir
		}
	}
	return ""
}

// FindDir is the state directory to read where none is named: the first of
// those that an agent may have chosen which has a history, or cannot be looked
// into. Empty where none has.
func FindDir(getenv func(string) string) string {
	for _, dir := range places(getenv) {
		if _, err := os.Stat(filepath.Join(dir, fileName)); !errors.Is(err, fs.ErrNotExist) {
			return dir
		}
	}
	return ""
}

// places are the directories to choose from, the first goes before the others.
// $STATE_DIRECTORY is a list, parted by colons: systemd.exec(5). The user's is
// that of the XDG Base Directory Specification, 0.8.
func places(getenv func(string) string) []string {
	var out []string
	if first, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(first) {
		out = append(out, first)
	}
	out = append(out, systemDir)
	if home := getenv("XDG_STATE_HOME"); filepath.IsAbs(home) {
		out = append(out, filepath.Join(home, "foreshock"))
	} else if home := getenv("HOME"); filepath.IsAbs(home) {
		out = append(out, filepath.Join(home, ".local", "state", "foreshock"))
	}
	return out
}
