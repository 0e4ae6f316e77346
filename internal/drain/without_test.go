package drain

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithout(t *testing.T) {
	tests := []struct {
		name     string
		in, want Status
	}{
		{
			"settled without it",
			Status{Name: "shop.example", Verdict: Settled, Sentence: "Over.", SafeToPowerOff: true, PowerOff: "safe to power off the old address 2001:db8::a: yes, nobody"},
			Status{
				Name: "shop.example", Verdict: Unclear, Sentence: "Whether shop.example has settled cannot be said: web03 did not say what it knows.",
				PowerOff: "safe to power off the old address 2001:db8::a: not known: web03 did not say what it knows", Why: []string{"web03: gone"},
			},
		},
		{
			"draining all the same",
			Status{Name: "shop.example", Verdict: Draining, Sentence: "40 % are left.", PowerOff: "no, 41 connections", Why: []string{"40 %"}},
			Status{Name: "shop.example", Verdict: Draining, Sentence: "40 % are left.", PowerOff: "no, 41 connections", Why: []string{"40 %", "web03: gone"}},
		},
		{
			"stuck all the same",
			Status{Name: "shop.example", Verdict: Stuck},
			Status{Name: "shop.example", Verdict: Stuck, Why: []string{"web03: gone"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.in.Without("web03", "gone")); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}
