package recordingtest_test

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording/recordingtest"
)

func BenchmarkStep(b *testing.B) {
	for b.Loop() {
		h := recordingtest.New(recordingtest.Config{Services: 20, Backends: 80, Span: 20*time.Minute, Focus: time.Second})
		m, j := measure.New(""), judge.New(&judge.Numbers{})
		for {
			s, err := h.Next()
			if err != nil { break }
			j.Step(s.At, m.Step(s.At, s.Tallies))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1200*101), "ns/tally")
}
func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		h := recordingtest.New(recordingtest.Config{Services: 20, Backends: 80, Span: 20*time.Minute, Focus: time.Second})
		for {
			if _, err := h.Next(); err != nil { break }
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1200*101), "ns/tally")
}
func BenchmarkStepWithPulses(b *testing.B) {
	for b.Loop() {
		h := recordingtest.New(recordingtest.Config{Services: 20, Backends: 80, Span: 20*time.Minute, Focus: time.Second, Pulse: time.Second})
		m, j := measure.New(""), judge.New(&judge.Numbers{})
		for {
			s, err := h.Next()
			if err != nil { break }
			j.Step(s.At, m.Step(s.At, s.Tallies))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(2*1200*101), "ns/tally")
}
