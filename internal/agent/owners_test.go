package agent

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestOwnersStayWhenSearchFails: one search that fails renames no service, and
// is made again.
func TestOwnersStayWhenSearchFails(t *testing.T) {
	ln := listening(t)
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	p := pipeline(t, config.Default(), observe.Auto)
	if _, err := tickWhole(p, start, tcp.Pulse); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		for _, s := range p.services {
			if slices.Contains(s.Listen, at) {
				return s.Name
			}
		}
		return ""
	}
	failed := func() bool {
		return slices.ContainsFunc(p.limits(nil), func(l api.Limit) bool { return l.Subject == "owners of sockets" && p.ownersE != nil })
	}
	before := name()
	if before == "" || before == "port:"+at.String() {
		t.Fatalf("the listener is %q", before)
	}
	p.adopt(start.Add(time.Second), nil, owner.Limits{}, errors.New("too many open files"))
	if got := name(); got != before {
		t.Errorf("renamed to %q, was %q", got, before)
	}
	if !failed() {
		t.Errorf("no limit says that the search failed: %v", p.limits(nil))
	}
	if _, err := tickWhole(p, start.Add(time.Hour), tcp.Pulse); err != nil { // searches keep a pause of their cost
		t.Fatal(err)
	}
	if got := name(); got != before || failed() {
		t.Errorf("after the next pulse: %q, still failed: %v", got, failed())
	}
}
