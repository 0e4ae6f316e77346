package lab

import (
	"testing"
	"time"
)

func TestServiceAt(t *testing.T) {
	ramp := App{Service: 7 * time.Millisecond, Ramp: []ServicePoint{
		{At: 10 * time.Second, Service: 500 * time.Millisecond},
		{At: 20 * time.Second, Service: 1500 * time.Millisecond},
		{At: 30 * time.Second, Service: 0},
	}}
	for _, test := range []struct {
		name  string
		app   App
		since time.Duration
		want  time.Duration
	}{
		{"no ramp", App{Service: time.Second}, time.Hour, time.Second},
		{"before the first point", ramp, 9 * time.Second, 7 * time.Millisecond},
		{"on a point", ramp, 10 * time.Second, 500 * time.Millisecond},
		{"rising", ramp, 15 * time.Second, time.Second},
		{"falling", ramp, 25 * time.Second, 750 * time.Millisecond},
		{"after the last point", ramp, time.Hour, 0},
	} {
		if got := test.app.serviceAt(test.since); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAppRefused(t *testing.T) {
	for name, app := range map[string]App{
		"a negative service time":   {Service: -1},
		"an endless service time":   {Service: maxService + 1},
		"an endless point":          {Ramp: []ServicePoint{{Service: maxService + 1}}},
		"points out of order":       {Ramp: []ServicePoint{{At: 2}, {At: 1}}},
		"two points at one time":    {Ramp: []ServicePoint{{At: 1}, {At: 1}}},
		"a negative leak":           {LeakEvery: -1},
		"too few descriptors":       {Descriptors: fewestDescriptors - 1},
		"negative descriptors":      {Descriptors: -1},
		"a negative time in a ramp": {Ramp: []ServicePoint{{Service: -1}}},
	} {
		if _, err := app.plan(place{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
