package identity

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

// FuzzAnswer: whatever a server sends, a probe ends, its words are short and
// printable, and what passes is an answer of the expected kind.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nX-Site: shop\r\n\r\nall is well",
		"HTTP/1.1 200 OK\r\nX-Site: shop\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nis well\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 503 Later\r\n\r\n",
		"HTTP/1.1 301 Moved\r\nLocation: https://blog.\xffexample/\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
		"HTTP/1.1 999 \r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"\x15\x03\x03\x00\x02\x02\x28", // a TLS alert: handshake_failure
		"",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	plain, err := NewExpect("http://shop.example/", 200, "is well", "X-Site: shop")
	if err != nil {
		f.Fatal(err)
	}
	secure, err := NewExpect("https://shop.example/", 200, "is well", "X-Site: shop")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte, overTLS bool) {
		expect := plain
		if overTLS {
			expect = secure
		}
		done := make(chan struct{})
		p := Prober{Now: time.Now, Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer close(done)
				defer theirs.Close()
				_ = theirs.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = theirs.Read(make([]byte, 4096))
				_, _ = theirs.Write(answer)
			}()
			return ours, nil
		}}
		got := p.Probe(t.Context(), Target{Name: "shop.example", Address: netip.MustParseAddr("198.51.100.7"), Expect: expect})
		<-done
		if got.Words == "" || len(got.Words) > 400 || strings.ContainsFunc(got.Words, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("words: %q", got.Words)
		}
		if passed := got.Failed == reply.Done; passed && (got.Wrong || got.Status != 200 || overTLS || !strings.Contains(string(answer), "is well")) {
			t.Errorf("%+v passes", got)
		}
		if got.Wrong && got.Failed == reply.Connect {
			t.Errorf("%+v: nobody answered", got)
		}
	})
}

// FuzzExpect: what is refused is refused with words that tell no password.
func FuzzExpect(f *testing.F) {
	f.Add("https://shop.example/healthz?full", 200, "ok", "X-Site: shop")
	f.Add("https://me:"+secret+"@shop.example/", 0, "", "")
	f.Add("https://[2001:db8::7]:8443", 0, "", "x:y")
	f.Add("http://shop.example:%31/", 700, "", ":")
	f.Fuzz(func(t *testing.T, url string, status int, body, header string) {
		e, err := NewExpect(url, status, body, header)
		if (e == nil) != (err != nil) {
			t.Fatalf("%+v beside %v", e, err)
		}
		if err != nil && strings.HasPrefix(url, "https://me:"+secret+"@") && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the password: %v", err)
		}
		if e != nil && (e.port == 0 || e.url.Hostname() == "" || e.header != "" && e.value == "") {
			t.Errorf("%+v", e)
		}
	})
}
