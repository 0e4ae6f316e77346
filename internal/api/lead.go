package api

import (
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// Lead is how long before its balancer a backend's failure was suspected,
// negative when the balancer was first; ok is false while that has not called
// it down. More evidence may have made another cause of the failure since: the
// incidents that ended as superseded while this one was there count as one
// with it.
func (s *Snapshot) Lead(i *judge.Incident) (lead time.Duration, ok bool) {
	suspected, down := i.SuspectedAt, i.BalancerDownAt
	for again := true; again; {
		again = false
		for j := range s.Incidents {
			o := &s.Incidents[j]
			if o.End == judge.Superseded && o.Finding.Scope == i.Finding.Scope && o.SuspectedAt.Before(suspected) && !o.ResolvedAt.Before(suspected) {
				suspected, again = o.SuspectedAt, true // ever earlier, so this ends
				if !o.BalancerDownAt.IsZero() && (down.IsZero() || o.BalancerDownAt.Before(down)) {
					down = o.BalancerDownAt
				}
			}
		}
	}
	return down.Sub(suspected), !down.IsZero()
}
