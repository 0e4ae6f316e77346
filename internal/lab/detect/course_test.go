package detect

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// TestUsual: the usual wait is that of good answers that came before the fault.
func TestUsual(t *testing.T) {
	run := courseRun{fault: began.Add(time.Minute)}
	for i := range 100 {
		run.records = append(run.records, request(time.Duration(i)*time.Millisecond, time.Duration(i+1)*time.Millisecond, lab.OK))
	}
	run.records = append(run.records,
		request(time.Second, 10*time.Second, lab.Timeout), request(59*time.Second, 9*time.Second, lab.OK))
	var c Course
	c.sumRequests(run)
	if c.Usual == nil || *c.Usual != 99*time.Millisecond {
		t.Errorf("usually %s, want 99 ms", at(c.Usual))
	}
	c = Course{}
	c.sumRequests(courseRun{fault: run.fault})
	if c.Usual != nil {
		t.Errorf("nobody waits for %s", at(c.Usual))
	}
}
