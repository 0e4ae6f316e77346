package agent

import (
	"testing"
	"time"
)

func TestClockSurvivesAStep(t *testing.T) {
	wall := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	var passed, step time.Duration
	c := newClock(func() time.Time { return wall.Add(passed + step) }, func() time.Duration { return passed })
	passed = 10 * time.Second
	if got := c.Check(); got != 0 {
		t.Errorf("Check without a step = %v, want 0", got)
	}
	before := c.Now()
	step = -2 * time.Hour
	passed += time.Second
	if got := c.Check(); got != step {
		t.Errorf("Check after a step = %v, want %v", got, step)
	}
	if got := c.Now().Sub(before); got != time.Second {
		t.Errorf("the steady time moved by %v over a step, want 1s", got)
	}
	if got := c.Now().Add(c.Offset()); !got.Equal(wall.Add(passed + step)) {
		t.Errorf("shown time %v, the wall says %v", got, wall.Add(passed+step))
	}
	step += 100 * time.Millisecond
	if got := c.Check(); got != 0 {
		t.Errorf("Check after a slew = %v, want 0", got)
	}
}
