package library

import (
	"context"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/notify/notifytest"
)

// serveWord has this test's binary be the child.
const serveWord = "serve-a-message"

func TestMain(m *testing.M) {
	lab.Child()
	switch {
	case slices.Contains(os.Args, serveWord):
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	case slices.Contains(os.Args, "hang"):
		time.Sleep(time.Hour)
	case slices.Contains(os.Args, "garble"):
		_, _ = io.WriteString(os.Stdout, strings.Repeat("no JSON ", 1<<20))
		return
	}
	os.Exit(m.Run())
}

var child = []string{"/proc/self/exe", serveWord}

func message(url string) Message {
	return Message{
		URL: url, Title: "[critical] web03: workers full,\r\nBcc: <x@y>", Text: "Connections to <web> wait.\n\nWhere: service/web", Severity: "critical",
		Events: []Event{
			{Key: "web03|service/web|workers_full", Severity: "critical", Summary: "workers full", Source: "web03", Link: "https://web03.example/incidents/7", Details: map[string]string{"text": "…"}},
			{Key: "web03|service/api|leak", Over: true, Severity: "warning", Summary: "leak", Source: "web03"},
		},
	}
}

func standIns(t *testing.T) *notifytest.Services {
	t.Helper()
	s, err := notifytest.StartServices(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for _, pair := range s.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	return s
}

func TestSlack(t *testing.T) {
	s := standIns(t)
	for _, url := range []string{notifytest.SlackURL, "https://hooks.slack.com/services/T00FORESH/B00FORESH/abcdefghijklmnopqrstuvwx"} {
		if diff := cmp.Diff(Outcome{Delivered: true, Answered: true, Status: 200}, Call(t.Context(), child, message(url))); diff != "" {
			t.Errorf("(-want +got):\n%s%v", diff, s.Refused())
		}
	}
	want := notifytest.SlackMessage{
		Text: "[critical] web03: workers full, Bcc: &lt;x@y&gt;", Lines: []string{"Connections to &lt;web&gt; wait.", "Where: service/web"}, Color: "danger",
	}
	if diff := cmp.Diff([]notifytest.SlackMessage{want, want}, s.Slack()); diff != "" {
		t.Errorf("Slack took (-want +got):\n%s", diff)
	}
}

func TestPagerDuty(t *testing.T) {
	s := standIns(t)
	if diff := cmp.Diff(Outcome{Delivered: true, Answered: true, Status: 202}, Call(t.Context(), child, message(notifytest.PagerDutyURL))); diff != "" {
		t.Errorf("(-want +got):\n%s%v", diff, s.Refused())
	}
	want := []notifytest.Event{
		{Action: "trigger", DedupKey: "web03|service/web|workers_full", Summary: "workers full", Source: "web03", Severity: "critical", Link: "https://web03.example/incidents/7", Text: "…"},
		{Action: "resolve", DedupKey: "web03|service/api|leak", Summary: "leak", Source: "web03", Severity: "warning"},
	}
	if diff := cmp.Diff(want, s.PagerDuty()); diff != "" {
		t.Errorf("PagerDuty took (-want +got):\n%s", diff)
	}
}

// TestMoveDetails: an event's text is where PagerDuty shows it, and nothing else
// of it changes.
func TestMoveDetails(t *testing.T) {
	for _, tt := range []struct{ name, event, want string }{
		{"details", `{"payload":{"summary":"s"},"details":{"text":"t"},"dedup_key":"k"}`, `{"dedup_key":"k","payload":{"custom_details":{"text":"t"},"summary":"s"}}`},
		{"none", `{"payload":{"summary":"s"}}`, `{"payload":{"summary":"s"}}`},
	} {
		got, err := moveDetails([]byte(tt.event))
		if diff := cmp.Diff(tt.want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	for _, event := range []string{"", "[]", "{}", `{"payload":[]}`} {
		if got, err := moveDetails([]byte(event)); err == nil {
			t.Errorf("%q became %q", event, got)
		}
	}
}

// TestRefusals: what a service says is told, how it said it, and nothing of the
// address.
func TestRefusals(t *testing.T) {
	s := standIns(t)
	text := func(status int, body string, header ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for pair := range slices.Chunk(header, 2) {
				w.Header().Set(pair[0], pair[1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name string
		url  string
		fail func(http.ResponseWriter)
		want Outcome
	}{
		{"no such hook", notifytest.SlackURL, text(404, "no_service"), Outcome{Answered: true, Status: 404, Words: "no_service"}},
		{"200 with an error", notifytest.SlackURL, text(200, "invalid_token"), Outcome{Answered: true, Status: 200, Words: "invalid_token"}},
		{"too often", notifytest.SlackURL, text(429, "rate_limited", "Retry-After", "30"), Outcome{Answered: true, Status: 429, RetryAfter: "30", Words: "rate_limited"}},
		{"down", notifytest.PagerDutyURL, text(503, ""), Outcome{Answered: true, Status: 503, Words: "HTTP 503"}},
		{"refused", notifytest.PagerDutyURL, text(400, `{"status":"invalid event","message":"Event object is invalid"}`), Outcome{Answered: true, Status: 400, Words: "Event object is invalid"}},
		{"a gateway that is no Telegram", "telegram://123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@telegram?chats=@ops", text(502, "<html>Bad Gateway</html>"), Outcome{Answered: true, Status: 502, Words: "HTTP 502"}},
		{"a redirect", notifytest.PagerDutyURL, text(302, "", "Location", "https://elsewhere.example/0123456789abcdef0123456789abcdef"), Outcome{Answered: true, Status: 302, Words: "redirects are not followed"}},
		{"repeats the address", notifytest.SlackURL, text(500, "cannot post to https://hooks.slack.com/services/T00FORESH/B00FORESH/abcdefghijklmnopqrstuvwx now"), Outcome{Answered: true, Status: 500, Words: "cannot post to"}},
		{"a redirect of ntfy, which has a transport of its own", "ntfy://:abcdefghijklmnopqrstuvwx@ntfy.example/T00FORESH", text(307, "", "Location", "https://elsewhere.example/T00FORESH"), Outcome{Answered: true, Status: 307, Words: "redirects are not followed, and it leads to https://elsewhere.example"}},
		{"of Gotify", "gotify://gotify.example/Aabcdefghijklmn", text(301, "", "Location", "https://elsewhere.example/Aabcdefghijklmn"), Outcome{Answered: true, Status: 301, Words: "redirects are not followed, and it leads to https://elsewhere.example"}},
		{"of Mattermost", "mattermost://chat.example/abcdefghijklmnopqrstuvwx", text(302, "", "Location", "https://elsewhere.example/"), Outcome{Answered: true, Status: 302, Words: "redirects are not followed, and it leads to https://elsewhere.example"}},
		{"forbidden", "ntfy://:abcdefghijklmnopqrstuvwx@ntfy.example/T00FORESH", text(403, `{"error":"forbidden","code":40301,"http":403}`), Outcome{Answered: true, Status: 403, Words: "forbidden (40301)"}},
		{"200 with an error, of Lark", "lark://open.larksuite.com/abcdefghijklmnopqrstuvwx", text(200, `{"code":19001,"msg":"param invalid"}`), Outcome{Answered: true, Status: 200, Words: "param invalid"}},
		{"200 with an error, of WeCom", "wecom://abcdefghijklmnopqrstuvwx", text(200, `{"errcode":93000,"errmsg":"invalid webhook url"}`), Outcome{Answered: true, Status: 200, Words: "invalid webhook url"}},
		{"a gigabyte", notifytest.SlackURL, text(500, strings.Repeat("x", 3<<20)), Outcome{Answered: true, Status: 500, Words: "xxx"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Fail(tt.fail)
			got := Call(t.Context(), child, message(tt.url))
			for _, secret := range []string{"abcdefghijklmnopqrstuvwx", "T00FORESH", "0123456789abcdef"} {
				if strings.Contains(got.Words, secret) {
					t.Errorf("the words have the secret: %s", got.Words)
				}
			}
			if !strings.Contains(got.Words, tt.want.Words) || len(got.Words) > 1000 {
				t.Errorf("words %q, want %q in them", got.Words, tt.want.Words)
			}
			got.Words = tt.want.Words
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMail(t *testing.T) {
	server := smtp(t)
	got := Call(t.Context(), child, message(server.URL("ops")))
	if !got.Delivered {
		t.Fatalf("not delivered: %+v", got)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		mails, err := server.Mails()
		if err != nil {
			t.Fatal(err)
		}
		if len(mails) == 1 {
			subject, err := new(mime.WordDecoder).DecodeHeader(mails[0].Header.Get("Subject"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(mails[0].Body)
			if err != nil {
				t.Fatal(err)
			}
			// A name with line ends in it makes no header of its own.
			if subject != "[critical] web03: workers full, Bcc: <x@y>" || mails[0].Header.Get("Bcc") != "" {
				t.Errorf("subject %q, Bcc %q", subject, mails[0].Header.Get("Bcc"))
			}
			if want := "Connections to <web> wait.\n\nWhere: service/web"; !strings.Contains(strings.ReplaceAll(string(body), "\r", ""), want) {
				t.Errorf("the mail says %q, want %q in it", body, want)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the mail did not arrive")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := Call(t.Context(), child, message(server.URL("refused"))); got.Delivered || !got.Answered || got.Status != 550 || strings.Contains(got.Words, "error") {
		t.Errorf("a refused recipient: %+v", got)
	}
}

func smtp(t *testing.T) *notifytest.SMTP {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("Exim becomes another user: run as root")
	}
	dir, err := os.MkdirTemp("", "foreshock-exim-") //nolint:usetesting // Exim's user must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := notifytest.StartSMTP(dir, 0)
	labtest.Need(t, err)
	t.Cleanup(func() { server.Stop() })
	return server
}

// TestCallEnds: a child that never answers is killed, one that says something
// else is no success, and one that is not there is told.
func TestCallEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, tt := range []struct {
		ctx  context.Context
		argv []string
		want string
	}{
		{ctx, []string{"/proc/self/exe", "hang"}, "did not answer"},
		{t.Context(), []string{"/proc/self/exe", "garble"}, "said nothing that can be understood"},
		{t.Context(), []string{"/nowhere"}, "ended"},
	} {
		if got := Call(tt.ctx, tt.argv, message(notifytest.SlackURL)); got.Delivered || !strings.Contains(got.Words, tt.want) || strings.Contains(got.Words, "abcdef") {
			t.Errorf("%v: %+v, want %q", tt.argv, got, tt.want)
		}
	}
}

// TestNobodyThere: what is not reached is not answered.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	t.Setenv("HTTPS_PROXY", "http://"+address)
	got := Call(t.Context(), child, message(notifytest.SlackURL))
	if got.Delivered || got.Answered || !strings.Contains(got.Words, "refused") || strings.Contains(got.Words, "abcdef") {
		t.Errorf("%+v", got)
	}
	got = Call(t.Context(), child, message("smtp://"+address+"/?from=a@b.example&to=c@d.example&auth=none&starttls=no"))
	if got.Delivered || got.Answered || !strings.Contains(got.Words, "refused") {
		t.Errorf("mail: %+v", got)
	}
}

func TestService(t *testing.T) {
	for _, tt := range []struct {
		address, name string
		known         bool
	}{
		{"slack://hook:a-b-c@webhook", "slack", true},
		{"SMTP://host/", "smtp", true},
		{" https://hooks.slack.com/services/T1/B2/x\n", "slack", true},
		{"matrix://user:pw@host", "matrix", true},
		{"https://ops.example/hook", "https", false},
		{"generic://ops.example", "generic", false},
		{"logger://", "logger", false},
		{"hunter2", "", false},
		{"", "", false},
		{"://", "", false},
	} {
		if name, known := Service(tt.address); name != tt.name || known != tt.known {
			t.Errorf("%q: %q, %v; want %q, %v", tt.address, name, known, tt.name, tt.known)
		}
	}
}

// TestEveryServiceIsThere: what may be configured is in the library.
func TestEveryServiceIsThere(t *testing.T) {
	for _, name := range Services() {
		if _, err := open(name + "://"); err != nil && strings.Contains(err.Error(), "unknown service") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEnvironment: secrets of the configuration do not go to the child.
func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "FORESHOCK_TOKEN=hunter2", "HTTPS_PROXY=http://p", "PATHS=x"})
	if diff := cmp.Diff([]string{"PATH=/bin", "HTTPS_PROXY=http://p"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzRedact: whatever the library says of whatever address, no part of the
// address that may be a secret is left.
func FuzzRedact(f *testing.F) {
	f.Add("post to https://hooks.slack.com/services/T0/B0/hunter22: refused", "slack://hook:T0-B0-hunter22@webhook")
	f.Add("dial hunter2secret: no such host", "telegram://hunter2secret@telegram?chats=@ops")
	f.Add("550 <ops@lab.example>: no", "smtp://user:p%40ss%2Fword@mail.example:587/?from=a@b.c&to=ops@lab.example")
	f.Add("parse \"\\x7f\": bad p@ss/word", "smtp://user:p%40ss%2Fword@mail.example")
	f.Add("bad", "%zz")
	f.Fuzz(func(t *testing.T, words, address string) {
		got := redact(words, address)
		for _, part := range secrets(address) {
			if oneLine(part) == part && !strings.Contains("(an address)…/://", part) && strings.Contains(got, part) {
				t.Errorf("%q of %q is left in %q", part, address, got)
			}
		}
	})
}
