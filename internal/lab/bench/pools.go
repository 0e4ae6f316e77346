package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/detect"
)

// pools measures what it costs to watch many backends with many connections,
// and prints the readers' table. Where Traefik is not built the run is left
// out, with the reason.
func (b *bench) pools(ctx context.Context, through string, count, each int, span time.Duration) error {
	measure := detect.RunPoolsThroughTraefik
	switch through {
	case "traefik":
	case "generator":
		measure = detect.RunPoolsGenerated
	default:
		return fmt.Errorf("unknown maker of connections %q: traefik or generator", through)
	}
	name := fmt.Sprintf("pools-%s-%d-%d", through, count, each)
	r, err := cell(b, name, func() (detect.Pools, error) {
		return measure(ctx, b.agent, count, each, span, b.say)
	})
	if absent, ok := errors.AsType[*lab.ErrMissing](err); ok {
		b.say(fmt.Sprintf("skipped %s: %v", name, absent))
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprint(b.out, r)
	return nil
}
