package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/lab/detect"
)

// TestWrongUsage: a call that would measure nothing is refused, and says what
// there is. None of these starts anything.
func TestWrongUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "steady, detect"},
		{"backend", "backends"},
		{"detect -cell no-such-cell", "healthy-poisson-60"},
		{"detect -cell no-such-cell", "haproxy-killed"},
		{"workers -cell haproxy-killed", "healthy-poisson-60"},
		{"backends -cell gradual-random", "haproxy-killed"},
		{"workers -cell healthy -skip healthy", "gradual"},
		{"backends -cell kill -trace file", "haproxy-killed"},
		{"regions -cell haproxy-killed", "healthy-region-deploy"},
		{"regions -cell region-black -trace file", "region-blackhole-ipv6"},
		{"detect -cell no-such-cell", "region-uplink-dropped"},
		{"detect -runs 0", "one or more"},
		{"detect -parallel 0", "one or more"},
		{"notify -outage 0s", "above zero"},
		{"detect gradual", "gradual"},
		{"past -days 0", "a day or more"},
		{"respond -cell no-such-cell", "no cell of respond"},
		{"drain -cell no-such-cell", "alive, dead, zoo"},
		{"drain -runs 0", "one or more"},
		{"past -scopes 4", "5 to 1000"},
		{"detect -no-such-flag", "no-such-flag"},
	} {
		err := run(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard)
		if !errors.As(err, &usageError{}) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("bench %s: %v, want wrong usage and %q in it", tt.args, err, tt.want)
		}
	}
}

func TestChosen(t *testing.T) {
	for _, tt := range []struct {
		d    detection
		want []string
	}{
		{detection{only: "gradual", skip: "random"}, []string{"gradual"}},
		{detection{only: "gradual,event-,", skip: "random,healthy,keepalive"}, []string{"gradual", "event-busy"}},
	} {
		if got := namesOf(chosen(tt.d, true, detect.Cells(), workersCell), workersCell); !slices.Equal(got, tt.want) {
			t.Errorf("%q without %q: %q, want %q", tt.d.only, tt.d.skip, got, tt.want)
		}
	}
	if got := chosen(detection{}, false, detect.Cells(), workersCell); len(got) > 0 {
		t.Errorf("%d cells of a kind that is not played", len(got))
	}
}
