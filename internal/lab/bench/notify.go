package main

import (
	"context"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/lab/post"
)

// servers is how many open and close incidents in the run of notices: one each
// 2.5 s.
const servers = 8

// notify plays an outage of those who are told, with kills of the agent, and
// prints what came. It fails where something was lost, came twice or out of order.
func (b *bench) notify(ctx context.Context, outage time.Duration, kills int) error {
	if outage <= 0 || kills < 0 {
		return usageError{fmt.Errorf("notify: an outage of %s with %d kills: use a time above zero, and no kills or more", outage, kills)}
	}
	r, err := cell(b, fmt.Sprintf("notify-%s-%d", outage, kills), func() (post.Result, error) {
		return post.Run(ctx, post.Config{Agent: b.agent, Outage: outage, Kills: kills, Services: servers}, b.say)
	})
	if err != nil {
		return err
	}
	fmt.Fprint(b.out, r)
	if !r.Sound() {
		return fmt.Errorf("not everything was told once and in order")
	}
	return nil
}
