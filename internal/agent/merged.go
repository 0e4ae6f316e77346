package agent

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

const (
	// mostResolved is how many incidents that are over a host remembers.
	mostResolved = 200
	// mergeEvery is how old the merged incidents may grow while only the
	// numbers in their words change.
	mergeEvery = 250 * time.Millisecond
)

// merged is the incidents of all namespaces as one list.
type merged struct {
	list []judge.Incident
	over []judge.Incident // resolved ones of namespaces that ended
	life uint64
	at   time.Time
}

// keep remembers resolved incidents of a namespace that ended.
func (m *merged) keep(resolved []judge.Incident) {
	m.over = append(m.over, resolved...)
	slices.SortStableFunc(m.over, newest)
	m.over = m.over[:min(len(m.over), mostResolved)]
	m.at = time.Time{}
}

// newest orders incidents that are over by their end, and by number where it is
// the same.
func newest(a, b judge.Incident) int {
	return cmp.Or(b.ResolvedAt.Compare(a.ResolvedAt), cmp.Compare(b.ID, a.ID))
}

// all returns the incidents of all namespaces, in the order of a judge's.
func (h *Host) all(now time.Time) []judge.Incident {
	m := &h.incidents
	life := uint64(0)
	each := func(incidents []judge.Incident) {
		for i := range incidents {
			life = life*31 + lifeOf(&incidents[i])
		}
	}
	h.eachIncidents(each)
	same := life == m.life
	m.life = life
	switch {
	case len(h.others) == 0 && len(h.gone) == 0 && len(m.over) == 0:
		m.at = time.Time{} // the list is not kept up
		return h.of[h.own.schedule].incidents
	case same && now.Sub(m.at) < mergeEvery:
		return m.list
	}
	m.at = now
	m.list = m.list[:0]
	h.eachIncidents(func(incidents []judge.Incident) { m.list = append(m.list, incidents...) })
	slices.SortStableFunc(m.list, func(a, b judge.Incident) int {
		aOver, bOver := a.State == judge.Resolved, b.State == judge.Resolved
		switch {
		case aOver && bOver:
			return newest(a, b)
		case aOver:
			return 1
		case bOver:
			return -1
		}
		return cmp.Compare(b.ID, a.ID)
	})
	active := slices.IndexFunc(m.list, func(i judge.Incident) bool { return i.State == judge.Resolved })
	if active >= 0 {
		m.list = m.list[:min(len(m.list), active+mostResolved)]
	}
	return m.list
}

func (h *Host) eachIncidents(do func([]judge.Incident)) {
	do(h.of[h.own.schedule].incidents)
	for _, r := range h.others {
		if len(r.incidents) > 0 {
			do(r.incidents)
		}
	}
	for i := range h.gone {
		do(h.gone[i].incidents)
	}
	do(h.incidents.over)
}

// lifeOf is a number that changes when an incident does, but not with the
// numbers in its words.
func lifeOf(i *judge.Incident) uint64 {
	life := i.ID<<8 + uint64(i.State)<<4 + uint64(i.Finding.Severity)
	if !i.AcknowledgedAt.IsZero() {
		life += 1 << 3 // severities are fewer
	}
	return life
}
