package court

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// TestManyEndAtOnce: who reads at each step sees each end; later the last 200
// are left.
func TestManyEndAtOnce(t *testing.T) {
	const many = 1000
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, many}, {resolvedStays - 1, many}, {resolvedStays, mostResolved}} {
		m := merged{at: now.Add(tt.after)}
		for i := range many {
			m.list = append(m.list, judge.Incident{ID: uint64(i + 1), State: judge.Resolved, ResolvedAt: now})
		}
		if m.sort(); len(m.list) != tt.want {
			t.Errorf("%s after they ended %d are listed, want %d", tt.after, len(m.list), tt.want)
		}
	}
}
