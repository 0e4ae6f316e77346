package post

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCompare: what a kill explains is told from what it does not.
func TestCompare(t *testing.T) {
	steps := func(numbers ...uint64) []step {
		var out []step
		for _, n := range numbers {
			out = append(out, step{Incident: n, What: "warning"})
		}
		return out
	}
	for _, tt := range []struct {
		name string
		got  []step
		want Told
	}{
		{"once each, in order", steps(1, 2, 3, 4), Told{Messages: 4}},
		{"again by a kill", steps(1, 2, 2, 3, 4), Told{Messages: 4, Again: 1, Rewinds: 1}},
		{"several again by a kill", steps(1, 2, 3, 2, 3, 4), Told{Messages: 4, Again: 2, Rewinds: 1}},
		{"by three kills", steps(1, 2, 3, 2, 3, 2, 3, 4, 4), Told{Messages: 4, Again: 5, Rewinds: 3}},
		{"killed while it comes again", steps(1, 2, 3, 1, 2, 2, 3, 4), Told{Messages: 4, Again: 4, Rewinds: 2}},
		{"an old one again", steps(1, 2, 3, 1, 4), Told{Messages: 4, Twice: 1}},
		{"an old one again at the end", steps(1, 2, 3, 4, 3), Told{Messages: 4, Twice: 1}},
		{"one not", steps(1, 3, 4), Told{Messages: 3, Missing: 1}},
		{"out of order", steps(1, 3, 2, 4), Told{Messages: 4, Unordered: 1}},
		{"of nobody", steps(1, 2, 9, 3, 4), Told{Messages: 5, Strange: 1}},
		{"nothing", nil, Told{Missing: 4}},
	} {
		if diff := cmp.Diff(tt.want, compare("", steps(1, 2, 3, 4), tt.got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestRead: notices are read as people get them.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		title, text string
		want        step
		wrong       bool
	}{
		{"[warning] lab: connected, service/lab3", "It is.\nWhere: service/lab3 on lab\nSince: 21 Nov 2026 23:53:42 UTC\nMore: https://lab.example/incidents/7", step{7, "warning", "21 Nov 2026 23:53:42 UTC", ""}, false},
		{
			"[resolved] lab: connected, service/lab3", "It is over.\nSince: 1 Nov 2026 23:53:42 UTC, until 2 Nov 2026 00:00:01 UTC (6m19s): recovered\nMore: https://lab.example/incidents/70\n",
			step{70, "resolved", "1 Nov 2026 23:53:42 UTC", "2 Nov 2026 00:00:01 UTC"}, false,
		},
		{"[warning] lab", "More: https://lab.example/incidents/7", step{7, "warning", "", ""}, false},
		{"[warning] lab", "More: https://lab.example/incidents/99999999999999999999", step{}, true},
		{"[warning] lab", "Since: 21 Nov 2026 23:53:42 UTC", step{}, true},
		{"lab", "More: https://lab.example/incidents/7", step{}, true},
	} {
		got, err := read(tt.title, tt.text)
		if (err != nil) != tt.wrong {
			t.Errorf("%q: error %v", tt.title, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.title, diff)
		}
	}
}
