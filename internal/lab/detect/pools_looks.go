package detect

// looksAnswer is what is needed of /api/v1/looks for the cost of looking.
type looksAnswer struct {
	Looks []tierAnswer `json:"looks"`
}

type tierAnswer struct {
	Tier  string   `json:"tier"`
	Age   *float64 `json:"age_seconds"` // nil: never seen
	Bytes int64    `json:"bytes"`       // of the last look
	Looks uint64   `json:"looks"`
}

// lookTiers sums up what the agent says of its looks, answer after answer.
type lookTiers struct {
	seen  map[string]uint64  // how many looks a tier had made
	ages  map[string]float64 // the greatest
	bytes int64              // since the first answer, as if looks since the last answer were as big as the last one
}

func (t *lookTiers) add(a looksAnswer) {
	if t.seen == nil {
		t.seen, t.ages = map[string]uint64{}, map[string]float64{}
	}
	for _, l := range a.Looks {
		if before, known := t.seen[l.Tier]; known {
			t.bytes += int64(l.Looks-before) * l.Bytes
		}
		t.seen[l.Tier] = l.Looks
		if l.Age != nil {
			t.ages[l.Tier] = max(t.ages[l.Tier], *l.Age)
		}
	}
}
