package drain

import (
	"fmt"
	"slices"
	"strings"
)

// Without is the status where one of those that were asked did not say what it
// knows, and why. Then nothing can be said of all: what was settled without it is
// unclear, and nothing is safe to power off.
func (s Status) Without(agent, why string) Status {
	if s.Verdict == Settled {
		s.Verdict = Unclear
		s.Sentence = fmt.Sprintf("Whether %s has settled cannot be said: %s did not say what it knows.", s.Name, agent)
	}
	if s.SafeToPowerOff {
		s.SafeToPowerOff = false
		of, _, _ := strings.Cut(s.PowerOff, ": ") // "safe to power off the old address 192.0.2.10"
		s.PowerOff = fmt.Sprintf("%s: not known: %s did not say what it knows", of, agent)
	}
	s.Why = append(slices.Clip(s.Why), agent+": "+why)
	return s
}
