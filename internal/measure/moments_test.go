package measure

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMoments(t *testing.T) {
	at := func(pulse int) time.Time { return begin.Add(time.Duration(pulse) * 250 * time.Millisecond) }
	var m moments
	if got := m.last(); !got.IsZero() {
		t.Errorf("before the first, the last is %v", got)
	}
	for pulse := 1; pulse <= 100; pulse++ { // more than it remembers
		m.add(at(pulse-1), at(pulse))
	}
	if got := m.last(); !got.Equal(at(100)) {
		t.Errorf("last %v, want %v", got, at(100))
	}
	for _, tt := range []struct {
		name  string
		since time.Time
		want  moment
	}{
		{"in the midst", at(90), moment{at(90), at(91)}},
		{"between two readings", at(90).Add(time.Millisecond), moment{at(90), at(91)}},
		{"before all that is remembered", at(3), moment{at(68), at(69)}},
		{"after the last", at(100), moment{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := m.since(tt.since)
			if diff := cmp.Diff([]time.Time{tt.want.after, tt.want.until}, []time.Time{got.after, got.until}); diff != "" {
				t.Errorf("since (-want +got):\n%s", diff)
			}
		})
	}
}
