package detect

import "fmt"

// Polls is how often the agent was asked for what it is to judge, and how often
// it knew. Unknown is not healthy: a run in which it was blind proves nothing.
type Polls struct {
	Asked int `json:"asked"`
	Knew  int `json:"knew"`
}

// enoughPolls is the least share of the polls in which a healthy day's agent
// must have known. A restart may take a look or two away.
const enoughPolls = 0.95

func (p *Polls) count(knew bool) {
	p.Asked++
	if knew {
		p.Knew++
	}
}

// provesNothing says why a day on which nothing was found is no proof of
// anything: nobody asked, most were not answered, or the agent was blind.
func provesNothing(requests, failed int, p Polls) []string {
	var why []string
	switch {
	case requests == 0:
		why = append(why, "no request: the load proves nothing")
	case 2*failed > requests:
		why = append(why, fmt.Sprintf("%d of %d requests failed: no healthy day", failed, requests))
	}
	if p.Asked == 0 || float64(p.Knew) < enoughPolls*float64(p.Asked) {
		why = append(why, fmt.Sprintf("the agent saw it in %d of %d polls", p.Knew, p.Asked))
	}
	return why
}
