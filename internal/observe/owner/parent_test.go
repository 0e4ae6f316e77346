package owner

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLeads(t *testing.T) {
	proc := t.TempDir()
	const rest = " 1 1 0 -1 4194560 1 1 0 0 1 1 0 0 20 0 1 0 55 0 0\n"
	for pid, stat := range map[int]string{
		10: "10 (apache2) S 1" + rest,
		11: "11 (apache2) S 10" + rest,
		12: "12 (odd) name) 7) S 10" + rest,
		20: "20 (nginx: master) S 1" + rest,
		30: "30 (cut",
		40: "",
	} {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		pids []int
		want []int
	}{
		{"a server and its children", []int{10, 11, 12}, []int{10}},
		{"two servers on one address", []int{10, 11, 20}, []int{10, 20}},
		{"what cannot be read", []int{30, 40, 50}, nil},
		{"none", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Leads(proc, tt.pids)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := Leads("/proc", []int{os.Getpid()}); len(got) != 1 {
		t.Errorf("this process leads %v, want itself", got)
	}
}
