package agent

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// TestUndeliverableNotice: that nobody takes what there is to tell is in the
// log, in the metrics and in the API; at the end the log says what waits, and the
// next agent delivers it, first and with its own time.
func TestUndeliverableNotice(t *testing.T) {
	keys := make(chan string, 1000)
	gone := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keys <- r.Header.Get("Idempotency-Key") }))
	address := gone.Listener.Addr().String()
	gone.Listener.Close()
	file, dir := filepath.Join(t.TempDir(), "foreshock.yaml"), t.TempDir()
	// A rule that is always true, so that there is something to tell.
	write(t, file, `rules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]
notify: [{name: ops, webhook: {url: "http://`+address+`/"}}]
`)
	var log *journal
	if !t.Run("while it runs", func(t *testing.T) {
		var address string
		address, log = running(t, Options{Load: from(file), Version: "test", StateDir: dir})
		log.wait(t, "notices are not delivered")
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if c := get[api.Channels](t, address, "/api/v1/channels").Channels; len(c) == 1 && c[0].Failing && c[0].Queued >= 1 { // more where others on this machine give reason
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the API never says so")
			}
		}
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var metrics strings.Builder
		if err := resp.Write(&metrics); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(metrics.String(), `foreshock_notices_failing{channel="ops",kind="webhook"} 1`) {
			t.Error("the metrics do not say so")
		}
	}) {
		return
	}
	log.wait(t, `msg="notices wait in the history for the next start" channel=ops waiting=`)
	before := waitingIn(t, dir)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	gone.Listener = listener
	gone.Start()
	defer gone.Close()
	_, log = running(t, Options{Load: from(file), Version: "test", StateDir: dir})
	log.wait(t, "notices wait in the history")
	for i, want := range before {
		if got := <-keys; got != want {
			t.Fatalf("delivery %d has the key %s, want %s", i, got, want)
		}
	}
}

// waitingIn are the keys of what waits for ops in a directory that no agent has.
func waitingIn(t *testing.T, dir string) []string {
	t.Helper()
	k := keeping(t, dir)
	if err := k.reopen(); err != nil {
		t.Fatal(err)
	}
	defer k.finish()
	rows, err := k.store.Waiting("ops", "webhook", 1000)
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d wait, %v", len(rows), err)
	}
	var keys []string
	for i := range rows {
		keys = append(keys, rows[i].Key)
	}
	return keys
}
