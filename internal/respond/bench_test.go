package respond

import (
	"fmt"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// BenchmarkPlan is one look while nothing is due: what each pulse pays.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("%d workflows", n), func(b *testing.B) {
			s := tell(article())
			for i := range n {
				s.opens(uint64(i+1), judge.WorkersFull, judge.Critical).Finding.Scope.Name = fmt.Sprint("web", i)
			}
			s.Plan(s.look)
			s.Changed(0)
			s.look.Now = s.look.Now.Add(time.Second)
			b.ReportAllocs()
			for b.Loop() {
				if actions := s.Plan(s.look); actions != nil {
					b.Fatal(actions)
				}
			}
		})
	}
}
