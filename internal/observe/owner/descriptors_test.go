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

func TestOpenFilesLimit(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \n"
	tests := []struct {
		name, text string
		want       int
		bad        bool
	}{
		{"plain", head + "Max open files            1024                 524288               files     \n", 1024, false},
		{"unlimited", head + "Max open files            unlimited            unlimited            files     \n", 1<<31 - 1, false},
		{"cut short", head + "Max open files", 0, true},
		{"not a number", head + "Max open files            many                 many files\n", 0, true},
		{"empty", "", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := openFilesLimit([]byte(tt.text))
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("%d, %v; want %d, an error: %v", got, err, tt.want, tt.bad)
			}
		})
	}
}
