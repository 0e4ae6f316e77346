package score

import (
	"errors"
	"io"

	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/recording/replay"
	"github.com/foreshock/foreshock/internal/rule"
)

// Play plays a recording to its end, and returns every incident that was opened
// and what the recording has. Its error is the source's.
func Play(source replay.Source, rules []rule.Rule) ([]Finding, label.Bounds, error) {
	p := replay.New(rules)
	var survey label.Survey
	var out []Finding
	at := map[uint64]int{} // by incident, those that go on
	for {
		step, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, label.Bounds{}, err
		}
		survey.Add(&step)
		for _, c := range p.Changes(step) {
			inc := &c.Incident
			if inc.State != judge.Open && inc.State != judge.Resolved {
				continue
			}
			i, known := at[inc.ID]
			if !known {
				i = len(out)
				at[inc.ID] = i
				out = append(out, Finding{Incident: inc.ID, Scope: inc.Finding.Scope, Cause: inc.Finding.Cause, Rule: inc.Finding.Rule})
			}
			f := &out[i]
			for severity := judge.Watch; severity <= inc.Peak; severity++ {
				if f.Reached[severity].IsZero() {
					f.Reached[severity] = c.At
				}
			}
			f.Because, f.BecauseOf = inc.Because, inc.BecauseOf
			if inc.State == judge.Resolved {
				delete(at, inc.ID)
			}
		}
	}
	for _, inc := range p.Incidents() { // what goes on at the end
		if i, known := at[inc.ID]; known {
			out[i].Because, out[i].BecauseOf = inc.Because, inc.BecauseOf
		}
	}
	return out, survey.Bounds(), nil
}
