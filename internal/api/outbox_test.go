package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// outbox has two pages of undelivered notices to oncall, one to a channel that is
// gone, and does not answer for slow.
type outbox struct{ t *testing.T }

func (o *outbox) Undelivered(_ context.Context, channel string, before int64, limit int) ([]DeadLetter, int64, error) {
	letter := DeadLetter{Key: "0123", Kind: "webhook", QueuedAt: now, EndedAt: now.Add(time.Hour), Attempts: 3, Error: "ops.example answered 404 Not Found", Notice: json.RawMessage(`{"version":2,"key":"0123"}`)}
	switch {
	case channel == "slow":
		return nil, 0, errSlow
	case channel == "gone":
		letter.Notice = json.RawMessage(`{"version":`)
		return []DeadLetter{letter}, 0, nil
	case channel != "oncall":
		return nil, 0, nil
	case before == 41 && limit == 1:
		return []DeadLetter{letter}, 0, nil
	case limit == defaultPage:
		return []DeadLetter{letter}, 41, nil
	}
	return nil, 0, nil
}

func (o *outbox) Retry(_ context.Context, channel string, keys []string, by string) (int, error) {
	switch {
	case channel == "slow":
		return 0, errSlow
	case channel != "oncall":
		return 0, ErrNoChannel
	case slices.Contains(keys, "9999"):
		return 0, fmt.Errorf("%w: 9999", ErrNotUndelivered)
	}
	if diff := cmp.Diff("ann", by); diff != "" {
		o.t.Errorf("asked by (-want +got):\n%s", diff)
	}
	return max(1, len(keys)), nil
}
