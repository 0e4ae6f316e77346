package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/privilege"
	"github.com/foreshock/foreshock/internal/observe/sockdiag"
	"github.com/foreshock/foreshock/internal/observe/stale"
)

// TestCloseIn: a namespace where nothing may be closed says nothing of the
// others, and "nothing was closed" is said when nothing was.
func TestCloseIn(t *testing.T) {
	broken := errors.New("no sockets")
	closes := func(space netns.Found, sockets []stale.Socket) ([]sockdiag.Fate, error) {
		switch space.Path {
		case "refused":
			return nil, fmt.Errorf("%w: here", sockdiag.ErrNotPermitted)
		case "broken":
			return nil, broken
		case "stuck":
			return []sockdiag.Fate{{Closed: true}}, privilege.ErrStuck
		}
		return []sockdiag.Fate{{Closed: true}, {Gone: true}, {Err: broken}}[:len(sockets)], nil
	}
	space := func(name string) (netns.Found, bool) { return netns.Found{Path: name}, name != "away" }
	tests := []struct {
		name    string
		in      []string // namespaces
		want    []string
		stuck   bool
		refused bool
	}{
		{"all there is", []string{"a", "a", "a", "away"}, []string{"closed", "gone", "failed", "gone"}, false, false},
		{"one may, one may not", []string{"refused", "a", "refused"}, []string{"failed", "closed", "failed"}, false, false},
		{"none may", []string{"refused", "away", "broken"}, []string{"failed", "gone", "failed"}, false, true},
		{"stuck", []string{"stuck"}, []string{"closed"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var chosen []stale.Socket
			for _, name := range tt.in {
				chosen = append(chosen, stale.Socket{Namespace: name})
			}
			f := fates{outcomes: make([]string, len(chosen)), errs: make([]error, len(chosen))}
			err := f.closeIn(space, closes, chosen)
			if diff := cmp.Diff(tt.want, f.outcomes); diff != "" || (err != nil) != tt.stuck || (f.refusal() != nil) != tt.refused {
				t.Errorf("error %v, refusal %v, outcomes (-want +got):\n%s", err, f.refusal(), diff)
			}
			for i, outcome := range f.outcomes {
				if (outcome == "failed") != (f.errs[i] != nil) {
					t.Errorf("%s with the error %v", outcome, f.errs[i])
				}
			}
		})
	}
}

// TestClosedBeforeRestart: a restart gives no second budget within the minute.
func TestClosedBeforeRestart(t *testing.T) {
	for ago, want := range map[time.Duration]int{30 * time.Second: 0, 2 * time.Minute: stale.DefaultPerMinute, -time.Hour: stale.DefaultPerMinute} {
		a := &agent{clock: NewClock(), follower: newFollower("web", slog.New(slog.DiscardHandler))}
		a.restoreClosed(time.Now().Add(-ago))
		if free, _ := a.follower.limit.Free(a.clock.Now()); free != want {
			t.Errorf("closed %v ago: %d may be closed, want %d", ago, free, want)
		}
	}
}
