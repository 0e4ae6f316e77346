package notify

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCorrectedAddress goes the operator's way, over real connections: the
// webhook redirects, the status says where to, the new address gets what
// waits, in order, without a wait.
func TestCorrectedAddress(t *testing.T) {
	tried := make(chan struct{}, 10)
	old, host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://elsewhere.example/hook/"+secret)
		w.WriteHeader(http.StatusFound)
		tried <- struct{}{}
	})
	got := make(chan string, 10)
	corrected, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Idempotency-Key") })
	at := func(address string) []Channel {
		return []Channel{{Name: "hook", Webhook: &Webhook{URL: address}}}
	}
	o, lanes := NewOutbox(chance(), nil, at(old))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = lanes[0].Run(ctx) })
	o.Put([]Notice{to("hook", letterOf(1, 1)), to("hook", letterOf(1, 2))}, nil)
	<-tried
	want := "channel hook: " + host + " answered 302 to https://elsewhere.example/…: redirects are not followed, give that address itself"
	eventually(t, want, func() bool { return o.Status()[0].LastError == want })

	fresh := o.Configure(at(corrected))
	if len(fresh) != 0 {
		t.Fatalf("fresh lanes %v", fresh)
	}
	if diff := cmp.Diff([]string{"1.1", "1.2"}, []string{<-got, <-got}); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	eventually(t, "both are delivered", func() bool { return o.Status()[0].Delivered == 2 })
}

// TestProxyPasswordStaysSecret runs in a process of its own: net/http reads
// the environment once.
func TestProxyPasswordStaysSecret(t *testing.T) {
	if os.Getenv("NOTIFY_TEST_CHILD") != "" {
		err := hookTo(t, "http://ops.example/hook", nil).send(t.Context(), epoch, &Notice{})
		fmt.Printf("error: %v\n", err)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxyPasswordStaysSecret$")
	cmd.Env = append(os.Environ(), "NOTIFY_TEST_CHILD=1", "NO_PROXY=", "no_proxy=", "http_proxy=", "HTTP_PROXY=http://user:"+secret+"@127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const want = "error: ops.example: proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused\n"
	if !strings.Contains(string(out), want) || strings.Contains(string(out), secret) {
		t.Errorf("the child said %q, want %q in it", out, want)
	}
}
