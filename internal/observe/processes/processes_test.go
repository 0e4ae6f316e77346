package processes

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestInode(t *testing.T) {
	tests := []struct {
		target string
		inode  uint64
		ok     bool
	}{
		{"socket:[4682755]", 4682755, true},
		{"socket:[18446744073709551615]", 1<<64 - 1, true},
		{"socket:[18446744073709551616]", 0, false},
		{"socket:[0]", 0, false},
		{"socket:[]", 0, false},
		{"socket:[12", 0, false},
		{"socket:[1x]", 0, false},
		{"socket:[+1]", 0, false},
		{"pipe:[12]", 0, false},
		{"/tmp/socket:[12]", 0, false},
		{"socket:]", 0, false},
		{"socket]", 0, false},
		{"socket:[", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if inode, ok := Inode([]byte(tt.target), "socket"); ok != tt.ok || ok && inode != tt.inode {
			t.Errorf("%q: %d, %t; want %d, %t", tt.target, inode, ok, tt.inode, tt.ok)
		}
	}
}

// Properties: no panic; what is accepted prints as it was, but for zeros in
// front, and is never zero.
func FuzzInode(f *testing.F) {
	f.Add([]byte("socket:[4682755]"))
	f.Add([]byte("pipe:[12]"))
	f.Fuzz(func(t *testing.T, target []byte) {
		inode, ok := Inode(target, "socket")
		if !ok {
			return
		}
		digits := strings.TrimLeft(strings.TrimPrefix(string(target), "socket:["), "0")
		if want := fmt.Sprintf("%d]", inode); inode == 0 || digits != want {
			t.Fatalf("%q gives %d", target, inode)
		}
	})
}

func TestParseStat(t *testing.T) {
	const real = "31814 (cat) R 31803 31803 30666 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 2402556 3133440 360 18446744073709551615\n" // Linux 6.18
	tests := []struct {
		name, text string
		want       Stat
		bad        bool
	}{
		{"as captured", real, Stat{'R', 31803, 2402556}, false},
		{"brackets and blanks in the name", "7 (a) S 9 (b) Z 1 1 1 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 55 1", Stat{'Z', 1, 55}, false},
		{"cut short", real[:60], Stat{}, true},
		{"a parent that is none", "7 (a) S x 1 1 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 55 1", Stat{}, true},
		{"a start that is none", "7 (a) S 1 1 1 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 -55 1", Stat{}, true},
		{"empty", "", Stat{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.text))
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("%+v, %v; want %+v, an error: %t", got, err, tt.want, tt.bad)
			}
		})
	}
}

// FuzzParseStat: no panic; nothing beside an error; the fields are those of
// the text with another name, whatever that holds.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a) S 9 (b) Z 1 1 1 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 55 1"))
	f.Add([]byte("7 (cut"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseStat(text)
		if err != nil {
			if got != (Stat{}) {
				t.Fatalf("%+v beside %v", got, err)
			}
			return
		}
		if got.Parent < 0 {
			t.Fatalf("%+v", got)
		}
		renamed := append([]byte("7 (other) name)"), text[bytes.LastIndexByte(text, ')')+1:]...)
		if again, err := parseStat(renamed); err != nil || again != got {
			t.Fatalf("%+v, %v under another name, was %+v", again, err, got)
		}
	})
}

func TestOpenFilesLimit(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \n"
	tests := []struct {
		name, text string
		want       int
		bad        bool
	}{
		{"plain", head + "Max open files            1024                 524288               files     \n", 1024, false},
		{"unlimited", head + "Max open files            unlimited            unlimited            files     \n", Unlimited, false},
		{"cut short", head + "Max open files", 0, true},
		{"not a number", head + "Max open files            many                 many files\n", 0, true},
		{"empty", "", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := OpenFilesLimit([]byte(tt.text))
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("%d, %v; want %d, an error: %v", got, err, tt.want, tt.bad)
			}
		})
	}
}
