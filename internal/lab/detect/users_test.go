package detect

import (
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

// TestUsersKeepTheirConnections: a user asks again over the same connection
// while the server keeps it, and over a new one when it does not; the requests
// are on the clock of the load's.
func TestUsersKeepTheirConnections(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
	server, client := w.Host("server"), w.Host("client")
	for _, test := range []struct {
		name      string
		keepAlive bool
	}{{"kept", true}, {"closed", false}} {
		t.Run(test.name, func(t *testing.T) {
			web := labtest.Serve(t, server, lab.ApacheEvent{Workers: 4, KeepAlive: test.keepAlive})
			before := lab.Begin()
			users := Users{Count: 3, Every: 50 * time.Millisecond, url: web.URL("/")}
			records := users.ask(t.Context(), client, time.Second)
			after := lab.Begin()
			if len(records) < 2*users.Count {
				t.Fatalf("%d requests of %d users: %v", len(records), users.Count, records)
			}
			fresh := 0
			for _, r := range records {
				if r.Outcome != lab.OK || r.Status != 200 {
					t.Errorf("request ended as %+v", r)
				}
				if r.Mono < before.Mono || r.Mono > after.Mono {
					t.Errorf("request at %d on the clock of the load, not within %d to %d", r.Mono, before.Mono, after.Mono)
				}
				if !r.Reused {
					fresh++
				}
			}
			want := len(records)
			if test.keepAlive {
				want = users.Count
			}
			if fresh != want {
				t.Errorf("%d of %d requests had a fresh connection, want %d", fresh, len(records), want)
			}
			if err := web.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
