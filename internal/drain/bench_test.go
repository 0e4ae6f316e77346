package drain_test

import (
	"fmt"
	"testing"

	"github.com/foreshock/foreshock/internal/drain"
)

// BenchmarkMerge: agents with curves of a quarter of an hour.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("agents=%d", n), func(b *testing.B) {
			var reports []drain.Report
			for i := range n {
				reports = append(reports, report(fmt.Sprint("host", i), 900, halving(1000, 100)))
			}
			b.ReportAllocs()
			for b.Loop() {
				drain.Merge(reports)
			}
		})
	}
}
