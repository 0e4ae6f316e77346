package agent

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// TestUndeliverableNotice: that nobody takes what there is to tell is in the
// log, in the metrics and in the API, and at the end the log says what is lost.
func TestUndeliverableNotice(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	file := filepath.Join(t.TempDir(), "foreshock.yaml")
	// A rule that is always true, so that there is something to tell.
	write(t, file, `rules: [{name: always, when: host.passive_opens_per_second >= 0, hold: 1s}]
notify: [{name: ops, webhook: {url: "`+gone.URL+`"}}]
`)
	var log *journal
	if !t.Run("while it runs", func(t *testing.T) {
		var address string
		address, log = running(t, Options{Load: from(file), Version: "test"})
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
	log.wait(t, `msg="stopped before all notices were delivered" channel=ops lost=`)
}
