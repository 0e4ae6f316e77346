package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	words := []string{"name", "labels", "listen", "token", "observe", "services", "cpu_budget"}
	tests := []struct{ in, want string }{
		{"nmae", "name"}, //nolint:misspell // the misspelling is the test
		{"label", "labels"},
		{"Listen", "listen"},
		{"lsiten", "listen"},
		{"service", "services"},
		{"cpu", "cpu_budget"},
		{"cpu-budget", "cpu_budget"},
		{"x", ""},
		{"", ""},
		{"zebra", ""},
		{strings.Repeat("name", 100), ""},
	}
	for _, tt := range tests {
		if got, ok := Nearest(tt.in, words); got != tt.want || ok != (tt.want != "") {
			t.Errorf("Nearest(%q) = %q, %v; want %q", tt.in, got, ok, tt.want)
		}
	}
}
