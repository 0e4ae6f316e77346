package measure

import (
	"slices"

	"github.com/foreshock/foreshock/internal/tcp"
)

// maxExamples is how many example sockets a tally keeps.
const maxExamples = 20

// Scores order examples: what convicts most comes first, then what has lasted
// longest or is largest.
const (
	scorePending        uint64 = 1 << 40
	scoreCloseWait      uint64 = 2 << 40
	scoreSlow           uint64 = 3 << 40
	scoreZeroWindow     uint64 = 4 << 40
	scoreUnaccepted     uint64 = 5 << 40
	scoreRetransmitting uint64 = 6 << 40
	scoreConnecting     uint64 = 7 << 40
	scoreGaveUp         uint64 = 8 << 40
)

func (c *counting) example(s *tcp.Socket, score uint64) {
	n := len(c.examples)
	if n < maxExamples {
		c.examples = append(c.examples, *s)
		c.scores[n] = score
		if n == 0 || score < c.minScore {
			c.minScore = score
		}
		return
	}
	if score <= c.minScore {
		return
	}
	least := slices.Index(c.scores[:], c.minScore)
	c.examples[least], c.scores[least] = *s, score
	c.minScore = slices.Min(c.scores[:])
}

// sortExamples puts the worst first; there are at most 20.
func (c *counting) sortExamples() {
	for i := 1; i < len(c.examples); i++ {
		for j := i; j > 0 && c.scores[j] > c.scores[j-1]; j-- {
			c.scores[j], c.scores[j-1] = c.scores[j-1], c.scores[j]
			c.examples[j], c.examples[j-1] = c.examples[j-1], c.examples[j]
		}
	}
}
