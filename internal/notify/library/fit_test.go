package library

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestFit: nothing is longer than its service takes, what fits stays as it is,
// and no character is cut in two.
func TestFit(t *testing.T) {
	for service, l := range limits {
		if _, known := Service(service + "://x"); !known {
			t.Errorf("%s is no service", service)
		}
		title, text := fit(service, "short", "as it is")
		if title != "short" || text != "as it is" {
			t.Errorf("%s: %q, %q", service, title, text)
		}
		title, text = fit(service, strings.Repeat("é", 5000), strings.Repeat("…", 50000))
		if !utf8.ValidString(title+text) || len(title) > l.title || l.text > 0 && (len(text) > l.text || !strings.HasSuffix(text, cutHere)) {
			t.Errorf("%s: a title of %d bytes, a text of %d", service, len(title), len(text))
		}
	}
}

// TestTooLong: the library refuses what these services do not take before it
// sends anything; what we hand it it does not refuse for that. Nobody is there,
// which is no success, whatever the library says: telegram's service takes every
// answer that is no JSON for one.
func TestTooLong(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // nobody is there
	for _, address := range []string{
		"telegram://123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@telegram?chats=@ops", "zulip://bot%40lab.example:key@lab.example?stream=ops",
		"lark://open.feishu.cn/token", "wecom://key",
	} {
		m := Message{URL: address, Title: strings.Repeat("[critical] web03 ", 40), Text: strings.Repeat("Connections to web wait.\n", 2000), Severity: "critical"}
		if got := Call(t.Context(), child, m); got.Delivered || got.Answered || !strings.Contains(got.Words, "connection refused") {
			t.Errorf("%s: %+v", address, got)
		}
	}
}

// TestWrap: no line of a mail is too long, and nothing but spaces is lost.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", " ", "\n", "é", strings.Repeat("x", 700), strings.Repeat("é ", 300)}), 0, 12).Draw(t, "text"), "")
		got := wrap(text)
		for line := range strings.SplitSeq(got, "\n") {
			if len(line) > mailLine || !utf8.ValidString(line) {
				t.Fatalf("a line of %d bytes", len(line))
			}
		}
		plain := strings.NewReplacer(" ", "", "\n", "")
		if plain.Replace(got) != plain.Replace(text) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
