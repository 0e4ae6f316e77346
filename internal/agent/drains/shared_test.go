package drains

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShared: of an address that another name has too, on a port of both, it is
// said that nobody can tell whose connections go there.
func TestShared(t *testing.T) {
	const same = "192.0.2.1 is an address of b.example too: which of its connections are for which name cannot be told"
	tests := []struct {
		name       string
		old, fresh string
		mine       []uint16
		theirs     []uint16
		stopped    bool
		want       []string
	}{
		{"moved together", "192.0.2.1", "192.0.2.5", nil, nil, false, []string{same}},
		{"taken over", "192.0.2.4", "192.0.2.1", nil, []uint16{443}, false, []string{same}},
		{"kept", "192.0.2.4,192.0.2.1", "192.0.2.1", []uint16{80, 443}, []uint16{443}, false, []string{same}},
		{"on another port", "192.0.2.1", "192.0.2.5", []uint16{80}, []uint16{443}, false, nil},
		{"the new one alone", "192.0.2.4", "192.0.2.2", nil, nil, false, nil},
		{"which is over", "192.0.2.1", "192.0.2.5", nil, nil, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := New()
			mine, theirs := request("a.example", "192.0.2.1", "192.0.2.2"), request("b.example", tt.old, tt.fresh)
			mine.Ports, theirs.Ports = tt.mine, tt.theirs
			e, err := b.Start(start, 0, mine)
			need(t, err)
			_, err = b.Start(start, 0, theirs)
			need(t, err)
			if tt.stopped {
				need(t, b.Stop(start, 0, "b.example", "anna"))
			}
			if diff := cmp.Diff(tt.want, b.Shared(e)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
