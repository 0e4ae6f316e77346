package notify

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzRetryAfter: whatever the header says, the wait is between nothing and
// the longest allowed, and a number of seconds in that range is itself.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "1e9", "18446744073709551616", " 7 ", "Sat, 21 Nov 2026 08:00:30 GMT", "Sat, 21 Nov 1926 08:00:30 GMT", "soon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := retryAfter(text, epoch); got < 0 || got > maxRetryAfter {
			t.Errorf("%q: %s", text, got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "-1": 0, "1.5": 0, "soon": 0,
		"99999": maxRetryAfter, "18446744073709551616": maxRetryAfter,
		"Sat, 21 Nov 2026 08:00:30 GMT": 30 * time.Second,
		"Sat, 21 Nov 2026 07:59:30 GMT": 0,
		"Sun, 22 Nov 2026 08:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(text, epoch); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// FuzzLabels: every name is one Alertmanager takes, every value is text,
// nothing that has a value is lost, ours are as they were.
func FuzzLabels(f *testing.F) {
	f.Add("team", "shop", "severity", "x")
	f.Add("a-b", "1", "a.b", "2")
	f.Add("", "1", "\xff", "\xff")
	f.Add("exported_host", "1", "host", "2")
	name := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`) // prometheus/common, model.LabelName.IsValid
	f.Fuzz(func(t *testing.T, a, av, b, bv string) {
		n := &Notice{Host: "h", Labels: map[string]string{a: av, b: bv}}
		got := labels(n, &Item{Cause: "workers_full", Severity: "warning", Scope: "service/web"})
		want := 6
		for _, v := range n.Labels {
			if v != "" {
				want++
			}
		}
		if len(got) != want {
			t.Errorf("%d labels, want %d: %q", len(got), want, got)
		}
		for k, v := range got {
			if !name.MatchString(k) || !utf8.ValidString(v) || v == "" {
				t.Errorf("label %q = %q", k, v)
			}
		}
		if got["severity"] != "warning" || got["alertname"] != "ForeshockWorkersFull" || got["instance"] != "h" {
			t.Errorf("ours changed: %q", got)
		}
	})
}

// FuzzPlain: a stranger's words are one short line of text.
func FuzzPlain(f *testing.F) {
	f.Add("bad\nthing\x00")
	f.Add(strings.Repeat("é", 500))
	f.Fuzz(func(t *testing.T, text string) {
		got := plain(text)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxWords+1 || strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Errorf("%q", got)
		}
	})
}
