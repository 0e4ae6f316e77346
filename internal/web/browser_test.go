package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/api"
)

// patience is how long the browser may take for anything; a machine under load
// needs it, and a page that works does not.
const patience = 60 * time.Second

// host serves the page and an event stream that the test feeds.
type host struct {
	*httptest.Server
	mu      sync.Mutex
	raw     []byte        // the picture of / and of a new stream
	age     time.Duration // of that picture when / is asked for
	send    chan []byte   // a picture for the stream; nil ends it
	streams chan struct{} // one for each stream that begins
}

type nobody struct{ api.Actor }

func newHost(t *testing.T, raw []byte, age time.Duration) *host {
	t.Helper()
	h := &host{raw: raw, age: age, send: make(chan []byte), streams: make(chan struct{}, 100)}
	// The agent's own policy, so that what it forbids is forbidden here.
	guarded, err := api.New(api.Config{Source: unchanging{&api.Snapshot{}}, Actor: nobody{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	guarded.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/healthz", nil))
	policy := rec.Header().Get("Content-Security-Policy")
	rest := New(fixed{&api.Snapshot{}})
	ctx, stop := context.WithCancel(context.Background())
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		h.mu.Lock()
		raw := h.raw
		h.mu.Unlock()
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			if err := draw(w, read(t, raw), h.age); err != nil {
				t.Error(err)
			}
		case "/favicon.ico":
			w.WriteHeader(http.StatusNoContent)
		case "/api/v1/events":
			w.Header().Set("Content-Type", "text/event-stream")
			h.streams <- struct{}{}
			for raw != nil {
				var line bytes.Buffer
				if err := json.Compact(&line, raw); err != nil {
					t.Error(err)
				}
				_, _ = fmt.Fprintf(w, "event: snapshot\ndata: %s\n\n", &line) // the browser may have gone
				w.(http.Flusher).Flush()
				select {
				case raw = <-h.send:
				case <-ctx.Done():
					return
				case <-r.Context().Done():
					return
				}
			}
		default:
			rest.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { stop(); h.Close() })
	return h
}

type unchanging struct{ s *api.Snapshot }

func (u unchanging) Snapshot() *api.Snapshot  { return u.s }
func (u unchanging) Status() *api.Snapshot    { return u.s }
func (u unchanging) Changed() <-chan struct{} { return nil }

// show makes raw the picture of / and of the stream.
func (h *host) show(raw []byte) {
	h.mu.Lock()
	h.raw = raw
	h.mu.Unlock()
	h.send <- raw
}

// browser starts a browser, or skips the test when there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed (Debian: chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	// What the page throws, and what the policy stops, fails the test.
	err = chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page throws: %+v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "ERR_INCOMPLETE_CHUNKED") {
				t.Errorf("the browser logs: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// watched opens the page of a picture, and waits until the script has drawn it.
func watched(t *testing.T, raw []byte) (context.Context, *host) {
	t.Helper()
	ctx, h := browser(t), newHost(t, raw, 0)
	do(t, ctx, chromedp.Navigate(h.URL))
	<-h.streams
	until(t, ctx, painted)
	return ctx, h
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// until waits for an expression of the page to be true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		t.Fatalf("never true: %s: %v\n%s", expression, err,
			text(t, ctx, `document.getElementById("live").textContent + "\n" + document.querySelector("main").innerText`))
	}
}

// text is the value of an expression of the page.
func text(t *testing.T, ctx context.Context, expression string) string {
	t.Helper()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return got
}

const painted = `document.querySelector("main").dataset.painted`

// served is the main part as the server draws it, without the white space
// between its elements, a line for each element.
const served = `(async () => {
	const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
	return page.querySelector("main").innerHTML.replace(/>\s*\n\s*/g, ">").replace(/\s*\n\s*</g, "<").replaceAll("><", ">\n<");
})()`

const drawn = `document.querySelector("main").innerHTML.replaceAll("><", ">\n<")`

// TestServerAndScriptDrawTheSame holds words.go and page.html against words.js
// and page.js, picture by picture; and no picture makes the page wider than a
// small phone.
func TestServerAndScriptDrawTheSame(t *testing.T) {
	ctx := browser(t)
	shots := os.Getenv("FORESHOCK_SCREENSHOTS") // a folder, to look at the pictures
	for name, raw := range fixtures(t) {
		h := newHost(t, raw, 0)
		do(t, ctx, chromedp.Navigate(h.URL))
		until(t, ctx, painted)
		if diff := cmp.Diff(strings.Split(text(t, ctx, served), "\n"), strings.Split(text(t, ctx, drawn), "\n")); diff != "" {
			t.Errorf("%s (-server +script):\n%s", name, diff)
		}
		if shots != "" {
			shoot(t, ctx, filepath.Join(shots, name))
		}
		do(t, ctx, chromedp.EmulateViewport(320, 640))
		if wide := text(t, ctx, `String(document.documentElement.scrollWidth)`); wide != "320" {
			t.Errorf("%s: on a screen of 320 px the page is %s px wide", name, wide)
		}
		do(t, ctx, chromedp.EmulateViewport(1280, 900))
	}
}

func shoot(t *testing.T, ctx context.Context, path string) {
	t.Helper()
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"narrow", "light", 320}} {
		do(t, ctx, chromedp.EmulateViewport(look.width, 900))
		emulate(t, ctx, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}})
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+"-"+look.name+".png", png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	emulate(t, ctx, emulation.SetEmulatedMediaParams{})
}

func emulate(t *testing.T, ctx context.Context, media emulation.SetEmulatedMediaParams) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

// later is the picture some seconds on.
func later(t *testing.T, raw []byte, seconds int, change func(p map[string]any)) []byte {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	status := p["status"].(map[string]any)
	at, err := time.Parse(time.RFC3339, status["at"].(string))
	if err != nil {
		t.Fatal(err)
	}
	status["at"] = at.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339Nano)
	if change != nil {
		change(p)
	}
	out, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLive: numbers change in place, space holds the picture, and a stream
// that ends is taken up again.
func TestLive(t *testing.T) {
	all := fixtures(t)
	ctx, h := watched(t, all["calm"])
	text(t, ctx, `window.row = document.querySelector("tr[data-key='service/web']"); ""`)

	h.show(later(t, all["filling"], 1, nil))
	until(t, ctx, `document.title.startsWith("web: workers filling")`)
	if kept := text(t, ctx, `String(row.isConnected && row.hasAttribute("data-flash") && row.querySelector(".of").textContent)`); kept != "7 of 20" {
		t.Errorf("the row was drawn anew, or did not flash: %s", kept)
	}
	if svg := text(t, ctx, `row.querySelector("svg.spark").getAttribute("aria-label")`); svg != "busy over the last 5 min: 3 to 7 of 20" {
		t.Errorf("sparkline: %q", svg)
	}

	do(t, ctx, chromedp.KeyEvent(" "))
	until(t, ctx, `document.getElementById("live").textContent.startsWith("held, ")`)
	h.show(later(t, all["full"], 2, nil))
	until(t, ctx, `document.getElementById("say").textContent.includes("48 wait")`) // it has arrived
	if title := text(t, ctx, `document.querySelector("h1").textContent`); title != "web: workers filling" {
		t.Errorf("held, and yet: %q", title)
	}
	do(t, ctx, chromedp.KeyEvent(" "))
	until(t, ctx, `document.querySelector("h1").textContent === "2 things are going wrong on web03"`)

	h.mu.Lock()
	h.raw = later(t, all["calm"], 3, nil)
	h.mu.Unlock()
	h.send <- nil
	<-h.streams
	until(t, ctx, `document.querySelector("h1").textContent === "Nothing found wrong in what can be seen" && document.getElementById("live").textContent === "live"`)
}

// TestUnknownIsAGap: what nobody saw breaks the sparkline, and is not drawn as
// zero.
func TestUnknownIsAGap(t *testing.T) {
	raw := fixtures(t)["calm"]
	ctx, h := watched(t, raw)
	for i := range 5 {
		h.show(later(t, raw, i+1, func(p map[string]any) {
			if i == 2 {
				p["scopes"].([]any)[0].(map[string]any)["signals"].(map[string]any)["workers_occupied"] = map[string]any{"value": nil, "unknown": "stale", "samples": 0}
			}
		}))
	}
	until(t, ctx, painted+`?.startsWith("2026-11-21T03:12:32")`)
	d := text(t, ctx, `document.querySelector("tr[data-key='service/web'] svg.spark .line").getAttribute("d")`)
	if strings.Count(d, "M") != 2 || strings.Count(d, "L") != 3 {
		t.Errorf("the line does not break once: %s", d)
	}
}

// TestStaleAgentIsLost: an HTTP server that answers for an agent that has
// stopped is no sign of life.
func TestStaleAgentIsLost(t *testing.T) {
	ctx := browser(t)
	h := newHost(t, fixtures(t)["calm"], 20*time.Second)
	do(t, ctx, chromedp.Navigate(h.URL))
	until(t, ctx, painted+` && document.body.hasAttribute("data-lost")`)
	if title := text(t, ctx, `document.title`); !strings.HasPrefix(title, "No word from the agent for 2") {
		t.Errorf("an old picture is called %q", title)
	}
	h.show(later(t, fixtures(t)["calm"], 1, nil))
	until(t, ctx, `!document.body.hasAttribute("data-lost") && document.title.startsWith("Nothing found wrong")`)
}

// TestListInUseStaysPut: while the pointer or the focus is inside the list no
// row moves or leaves.
func TestListInUseStaysPut(t *testing.T) {
	all := fixtures(t)
	ctx, h := watched(t, all["filling"])
	do(t, ctx, chromedp.Focus("#needs summary"))
	h.show(later(t, all["full"], 1, nil))
	until(t, ctx, `document.querySelectorAll("#needs .need").length === 3`)
	const order = `[...document.querySelectorAll("#needs .need")].map((e) => e.dataset.key + (e.hasAttribute("data-gone") ? " gone" : "")).join()`
	if got := text(t, ctx, order); got != "1042 gone,2,3" {
		t.Errorf("rows in use: %s", got)
	}
	do(t, ctx, chromedp.Blur("#needs summary"))
	h.show(later(t, all["full"], 2, nil))
	until(t, ctx, order+` === "2,3"`)
}

// TestBackendsComeAndGo: the table appears when there is a balancer, its rows
// change in place when one fails, and nothing around it is drawn anew.
func TestBackendsComeAndGo(t *testing.T) {
	all := fixtures(t)
	ctx, h := watched(t, all["calm"])
	text(t, ctx, `window.looks = document.getElementById("looks"); ""`)
	well := later(t, all["called_up"], 1, func(p map[string]any) {
		p["incidents"] = []any{}
		for _, s := range p["scopes"].([]any) {
			if b, ok := s.(map[string]any)["backend"].(map[string]any); ok {
				b["verdict"] = map[string]any{"state": "ok", "disputed": false}
			}
		}
	})
	h.show(well)
	until(t, ctx, `document.querySelectorAll("#backends tr[data-level='normal']").length === 2`)
	text(t, ctx, `window.row = document.querySelector("tr[data-key='backend/shop/s1']"); ""`)
	h.show(later(t, all["called_up"], 2, nil))
	until(t, ctx, `document.title.startsWith("shop/s1: peer frozen, and its balancer says up")`)
	if got := text(t, ctx, `String([row.isConnected, row.hasAttribute("data-flash"), row.dataset.level, row.querySelector(".opinion[data-disputed]").textContent, looks.isConnected])`); got != "true,true,critical,up,true" {
		t.Errorf("the row was drawn anew, or does not say it: %s", got)
	}
	h.show(later(t, all["calm"], 3, nil))
	until(t, ctx, `document.querySelector("#backends > p")?.textContent.startsWith("Nobody is seen")`)
	if got := text(t, ctx, `String(looks.isConnected)`); got != "true" {
		t.Error("what stands behind the table was drawn anew")
	}
}
