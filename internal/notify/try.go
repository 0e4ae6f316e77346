package notify

import (
	"context"
	"time"
)

// Tried is what came of trying one receiver.
type Tried struct {
	Receiver string // within its channel; empty where there is one
	Err      error  // nil: it took the notice
}

// Try sends a notice to every receiver of a channel, once, and waits for each.
func Try(ctx context.Context, c *Channel, n *Notice) []Tried {
	var out []Tried
	for _, r := range receivers(c) {
		out = append(out, Tried{r.name, r.sender.send(ctx, time.Now(), n)})
		r.sender.close()
	}
	return out
}
