package enum

import "testing"

type state uint8

func (s state) String() string { return Name(s, "state", []string{"none", "open"}) }

func TestName(t *testing.T) {
	for v, want := range map[state]string{0: "none", 1: "open", 7: "state_7"} {
		if got := v.String(); got != want {
			t.Errorf("%d is %q, want %q", uint8(v), got, want)
		}
	}
}
