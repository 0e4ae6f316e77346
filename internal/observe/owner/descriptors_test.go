package owner

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDescriptorsOfThisProcess(t *testing.T) {
	var want unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		t.Fatal(err)
	}
	before, limit, err := Descriptors("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if uint64(limit) != min(want.Cur, 1<<31-1) {
		t.Errorf("limit %d, want %d", limit, want.Cur)
	}
	for range 50 {
		f, err := os.Open("/proc/self/limits")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, _, err := Descriptors("/proc", os.Getpid()); err != nil || after < before+50 {
		t.Errorf("%d descriptors after opening 50 on top of %d (%v)", after, before, err)
	}
	if _, _, err := Descriptors("/proc", 1<<30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a process that is not there: %v, want that it does not exist", err)
	}
}
