package silence

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	now    = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	causes = []string{"path_lost", "peer_slow", "workers_full"}
)

func weekly(t testing.TB, text string) Window {
	t.Helper()
	w, err := ParseWeekly(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestMatches(t *testing.T) {
	shop := Subject{Scope: "backend/shop/s1@pod", Namespace: "pod", Cause: "path_lost", Severity: "warning"}
	waits := Subject{Scope: "service/web", Cause: "user_rule", Rule: "web-waits", Severity: "critical"}
	for _, tt := range []struct {
		name        string
		m           Matcher
		shop, waits bool
	}{
		{"everything", Matcher{Everything: true}, true, true},
		{"a scope as it is", Matcher{Scope: "service/web"}, false, true},
		{"a scope with slashes behind the star", Matcher{Scope: "backend/shop*"}, true, false},
		{"a star in the middle", Matcher{Scope: "backend/*@pod"}, true, false},
		{"stars around", Matcher{Scope: "*/s*"}, true, false},
		{"a name alone is no scope", Matcher{Scope: "web"}, false, false},
		{"a scope without its namespace", Matcher{Scope: "backend/shop/s1"}, false, false},
		{"a cause", Matcher{Cause: "path_*"}, true, false},
		{"a severity and milder", Matcher{Severity: "warning"}, true, false},
		{"the worst severity is all", Matcher{Severity: "critical"}, true, true},
		{"a namespace", Matcher{Namespace: "p*d"}, true, false},
		{"a rule", Matcher{Rule: "web-*"}, false, true},
		{"all must match", Matcher{Scope: "backend/*", Cause: "peer_*"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.Matches(&shop); got != tt.shop {
				t.Errorf("the shop: %v", got)
			}
			if got := tt.m.Matches(&waits); got != tt.waits {
				t.Errorf("the rule: %v", got)
			}
		})
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		m    Matcher
		want bool
	}{
		{Matcher{Everything: true}, true},
		{Matcher{Scope: "service/*", Cause: "path_lost"}, true},
		{Matcher{Namespace: "pod"}, false},
		{Matcher{Cause: "*"}, false},
		{Matcher{Severity: "critical"}, false},
	} {
		if got := tt.m.Covers("service/web", ""); got != tt.want {
			t.Errorf("%s: %v", tt.m, got)
		}
	}
}

func TestCheckMatcher(t *testing.T) {
	for _, tt := range []struct {
		m    Matcher
		want string // in the error; empty: none
	}{
		{Matcher{Everything: true}, ""},
		{Matcher{Scope: "backend/shop*"}, ""},
		{Matcher{Scope: "*"}, ""},
		{Matcher{Scope: "host@pod"}, ""},
		{Matcher{Cause: "peer_*", Severity: "watch"}, ""},
		{Matcher{}, "nothing says which incidents are meant; name a scope"},
		{Matcher{Everything: true, Cause: "path_lost"}, "beside something else; keep one"},
		{Matcher{Cause: "path_lots"}, `no cause is called "path_lots"; did you mean "path_lost"?`},
		{Matcher{Severity: "bad"}, `severity "bad" is none; write one of watch, warning, critical`},
		{Matcher{Scope: "web"}, `scope "web" is none; write it as service/web`},
		{Matcher{Scope: "service/"}, `scope "service/" is none`},
		{Matcher{Scope: "service/a\nb"}, "cannot be printed"},
		{Matcher{Rule: strings.Repeat("é", 257)}, "longer than 256 characters"},
	} {
		err := tt.m.Check(causes)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.m, err, tt.want)
		}
	}
}

// TestGlob holds glob against a slow twin that tries everything.
func TestGlob(t *testing.T) {
	var slow func(p, s string) bool
	slow = func(p, s string) bool {
		switch {
		case p == "":
			return s == ""
		case p[0] == '*':
			return slow(p[1:], s) || s != "" && slow(p, s[1:])
		}
		return s != "" && p[0] == s[0] && slow(p[1:], s[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "text")
		if got, want := glob(p, s), slow(p, s); got != want {
			t.Fatalf("glob(%q, %q) = %v", p, s, got)
		}
	})
}

// TestWindow: by the clocks of the zone. Dublin's clocks go from 01:00 to 02:00
// on 29 March 2026, and from 02:00 back to 01:00 on 25 October (both 01:00 UTC).
func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		name, window, at string
		want             bool
	}{
		{"it begins", "sat 02:00-04:00 UTC", "2026-11-21T02:00:00Z", true},
		{"a moment before", "sat 02:00-04:00 UTC", "2026-11-21T01:59:59Z", false},
		{"its last moment", "sat 02:00-04:00 UTC", "2026-11-21T03:59:59Z", true},
		{"it ends", "sat 02:00-04:00 UTC", "2026-11-21T04:00:00Z", false},
		{"another day", "sat 02:00-04:00 UTC", "2026-11-22T03:00:00Z", false},
		{"a whole day", "sat 00:00-24:00 UTC", "2026-11-21T23:59:59Z", true},
		{"over midnight, before", "sat 22:00-04:00 UTC", "2026-11-21T23:00:00Z", true},
		{"over midnight, behind", "sat 22:00-04:00 UTC", "2026-11-22T03:59:00Z", true},
		{"over midnight, the night before", "sat 22:00-04:00 UTC", "2026-11-21T03:00:00Z", false},
		{"over midnight from Sunday to Monday", "sun 22:00-04:00 UTC", "2026-11-23T01:00:00Z", true},
		{"in summer", "sun 02:00-04:00 Europe/Dublin", "2026-07-05T01:30:00Z", true},
		{"in winter", "sun 02:00-04:00 Europe/Dublin", "2026-11-22T01:30:00Z", false},
		{"half an hour off", "sun 02:00-04:00 Asia/Kolkata", "2026-11-21T20:30:00Z", true},
		{"an hour that does not come: before", "sun 01:15-01:45 Europe/Dublin", "2026-03-29T00:59:59Z", false},
		{"an hour that does not come: behind", "sun 01:15-01:45 Europe/Dublin", "2026-03-29T01:00:00Z", false},
		{"it begins in that hour", "sun 01:30-03:00 Europe/Dublin", "2026-03-29T01:00:00Z", true},
		{"it ends as the clocks say", "sun 01:30-03:00 Europe/Dublin", "2026-03-29T02:00:00Z", false},
		{"an hour that comes twice: first", "sun 01:15-01:45 Europe/Dublin", "2026-10-25T00:30:00Z", true},
		{"an hour that comes twice: between", "sun 01:15-01:45 Europe/Dublin", "2026-10-25T00:50:00Z", false},
		{"an hour that comes twice: again", "sun 01:15-01:45 Europe/Dublin", "2026-10-25T01:30:00Z", true},
		{"around that hour", "sun 00:00-03:00 Europe/Dublin", "2026-10-25T01:59:00Z", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			w := weekly(t, tt.window)
			if got := w.Has(at); got != tt.want {
				t.Errorf("%s has %s: %v", tt.window, tt.at, got)
			}
			if w.String() != tt.window {
				t.Errorf("%q is written as %q", tt.window, w)
			}
		})
	}
}

func TestParseWeeklyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"sat 02:00-04:00":           "no weekly time",
		"sat 02:00 04:00 UTC":       "no weekly time",
		"sat,sab 02:00-04:00 UTC":   `"sab" is no weekday; the weekdays are mon, tue`,
		"sat 2:00-04:00 UTC":        `from "2:00" is no time of day`,
		"sat 02:00-04:60 UTC":       `to "04:60" is no time of day`,
		"sat 02:00-24:01 UTC":       "no time of day",
		"sat +2:00-04:00 UTC":       "no time of day",
		"sat 24:00-04:00 UTC":       "the next day's 00:00",
		"sat 02:00-02:00 UTC":       "is no time; write 00:00 and 24:00",
		"sat 02:00-04:00 Local":     "names no time zone",
		"sat 02:00-04:00 Mars/East": `there is no time zone "Mars/East"`,
		"sat 02:00-04:00 ../passwd": "there is no time zone",
	} {
		_, err := ParseWeekly(text)
		problem, ok := errors.AsType[*Problem](err)
		if !ok || !strings.Contains(err.Error(), want) || problem.Hint == "" {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func silenced(change func(*Silence)) Silence {
	s := Silence{ID: "3fa90c", Match: Matcher{Scope: "service/web"}, From: now, Until: now.Add(time.Hour), Why: "a move", By: "ada"}
	change(&s)
	return s
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    Silence
		want string
	}{
		{"good", silenced(func(*Silence) {}), ""},
		{"a year", silenced(func(s *Silence) { s.Until = now.Add(MaxSpan) }), ""},
		{"more", silenced(func(s *Silence) { s.Until = now.Add(MaxSpan + 1) }), "longer than a year"},
		{"in two years", silenced(func(s *Silence) { s.From, s.Until = now.Add(2*MaxSpan), now.Add(2*MaxSpan+1) }), "begins later"},
		{"over", silenced(func(s *Silence) { s.From, s.Until = now.Add(-2), now }), "over already"},
		{"back to front", silenced(func(s *Silence) { s.Until = now.Add(-1) }), "ends before it begins"},
		{"for no reason", silenced(func(s *Silence) { s.Why = "" }), "why is not 1 to 128"},
		{"by a riddle", silenced(func(s *Silence) { s.By = "a\x1bb" }), "by is not 1 to 128"},
		{"of nothing", silenced(func(s *Silence) { s.Match = Matcher{} }), "which incidents"},
		{"of a slip", silenced(func(s *Silence) { s.Match = Matcher{Cause: "x"} }), "no cause"},
		{"too many times", silenced(func(s *Silence) { s.Weekly = make([]Window, MaxWindows+1) }), "more than 14"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.s.Check(now, causes)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestList: silences begin, hold and end, those of people and of the
// configuration.
func TestList(t *testing.T) {
	web := &Subject{Scope: "service/web", Cause: "workers_full", Severity: "critical"}
	l := List{}
	l.Configure([]Silence{{ID: "maintenance/backups", Match: Matcher{Scope: "backend/*"}, Weekly: []Window{weekly(t, "sat 08:30-08:40 UTC")}}})
	open := map[string]bool{"service/web": true}
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	for _, s := range []Silence{
		silenced(func(s *Silence) { s.ID = "later"; s.From, s.Until = at(10), at(20) }),
		silenced(func(s *Silence) { s.ID = "hour" }),
		silenced(func(s *Silence) { s.ID = "until"; s.UntilResolved, s.Of, s.Until = 17, web, at(600) }),
	} {
		if err := l.Add(now, s); err != nil {
			t.Fatal(err)
		}
	}
	active := func(minutes int) string {
		var changed, out []string
		for _, s := range l.Step(at(minutes), func(of *Subject) bool { return open[of.Scope] }) {
			changed = append(changed, s.ID)
		}
		for _, s := range l.Active() {
			out = append(out, s.ID)
		}
		return strings.Join(out, " ") + " | " + strings.Join(changed, " ")
	}
	got := []string{active(0), active(10), active(20), active(30)}
	open["service/web"] = false
	got = append(got, active(31), active(32))
	open["service/web"] = true // it opens again in time
	got = append(got, active(33))
	open["service/web"] = false
	got = append(got, active(34), active(36), active(60))
	want := []string{
		"hour until | ", "hour until later | ", "hour until | ", "maintenance/backups hour until | ",
		"maintenance/backups hour until | ", "maintenance/backups hour until | ", "maintenance/backups hour until | ",
		"maintenance/backups hour until | ", "maintenance/backups hour | until", " | ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, there := l.Remove(at(60), "hour"); there {
		t.Error("one that has ended was removed")
	}
	if _, there := l.Remove(at(60), "maintenance/backups"); there {
		t.Error("one of the configuration was removed")
	}
	if got := active(60 + 49*60); got != " | hour until later" && got != " | later hour until" && len(l.own) != 0 {
		t.Errorf("after two days %q, %d kept", got, len(l.own))
	}
}

// TestListIsBounded, and a removed one makes room.
func TestListIsBounded(t *testing.T) {
	var l List
	for i := range MaxSilences {
		if err := l.Add(now, silenced(func(s *Silence) { s.ID = fmt.Sprint(i) })); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Add(now, silenced(func(*Silence) {})); err == nil || !strings.Contains(err.Error(), "1000 silences already; remove some") {
		t.Errorf("the thousand and first: %v", err)
	}
	s, there := l.Remove(now, "7")
	if !there || !s.Until.Equal(now) {
		t.Errorf("removed: %v, until %s", there, s.Until)
	}
	if err := l.Add(now, silenced(func(*Silence) {})); err != nil {
		t.Error(err)
	}
}

// TestSilenced: which of several keeps a subject quiet.
func TestSilenced(t *testing.T) {
	list := []Silence{
		silenced(func(s *Silence) { s.ID, s.From = "later", now.Add(1) }),
		silenced(func(s *Silence) { s.ID, s.Match = "others", Matcher{Scope: "backend/*"} }),
		silenced(func(s *Silence) { s.ID = "this" }),
	}
	if got := Silenced(list, now, Subject{Scope: "service/web"}); got == nil || got.ID != "this" {
		t.Errorf("%v", got)
	}
	if got := Silenced(list, now.Add(time.Hour), Subject{Scope: "service/web"}); got != nil {
		t.Errorf("%v", got)
	}
}

// FuzzWeekly: what is read is written so that it reads the same, and never
// panics.
func FuzzWeekly(f *testing.F) {
	for _, seed := range []string{"sat,sun 02:00-04:00 Europe/Dublin", "mon 22:00-24:00 UTC", "sat 2-4 x", ",, - ", "fri 00:00-00:00 Local"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWeekly(text)
		if err != nil {
			if !cmp.Equal(w, Window{}) {
				t.Fatalf("a window beside the error: %s", w)
			}
			return
		}
		w.Has(now)
		again, err := ParseWeekly(w.String())
		if err != nil || !w.Equal(again) {
			t.Fatalf("%q is written as %q, which reads as %q, %v", text, w, again, err)
		}
		raw, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		var back Window
		if err := json.Unmarshal(raw, &back); err != nil || !back.Equal(w) {
			t.Fatalf("%s reads as %q, %v", raw, back, err)
		}
	})
}

// FuzzSilence: what was kept, or somebody sends, never panics, and what is good
// reads the same again.
func FuzzSilence(f *testing.F) {
	for _, s := range []Silence{
		silenced(func(*Silence) {}),
		silenced(func(s *Silence) { s.Weekly = []Window{weekly(f, "sat 22:00-04:00 UTC")}; s.UntilResolved = 17 }),
	} {
		raw, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "service/web")
	}
	f.Add([]byte(`{"match":{"scope":"**a**"},"weekly":[{}]}`), "backend/a/b@c")
	f.Fuzz(func(t *testing.T, raw []byte, scope string) {
		var s Silence
		if json.Unmarshal(raw, &s) != nil {
			return
		}
		Silenced([]Silence{s}, now, Subject{Scope: scope})
		if s.Check(now, causes) != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Silence
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(s, back); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
