package score

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Golden is what a card has to keep to, as text: for each episode what was found
// of each cause, and how many findings were false.
func (c *Card) Golden() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What foreshock score found of %s: recall of each cause, false findings. Better is\n# written with --update; worse fails.\n", c.Contestant)
	each := slices.Clone(c.Each)
	slices.SortFunc(each, func(a, b EpisodeScore) int { return strings.Compare(a.Name, b.Name) })
	for i := range each {
		b.WriteString(each[i].line())
		b.WriteByte('\n')
	}
	return b.String()
}

// key is the name as one word.
func (e *EpisodeScore) key() string { return strings.Join(strings.Fields(e.Name), "_") }

// line is "NAME path_lost 1/1 churn 0/1 false 0", the causes in the order of the
// labels.
func (e *EpisodeScore) line() string {
	out := []string{e.key()}
	for i, l := range e.Labels {
		if slices.ContainsFunc(e.Labels[:i], func(o LabelScore) bool { return o.Cause == l.Cause }) {
			continue
		}
		labels, found := 0, 0
		for _, o := range e.Labels {
			if o.Cause == l.Cause {
				labels++
				if o.Found {
					found++
				}
			}
		}
		out = append(out, fmt.Sprintf("%s %d/%d", l.Cause, found, labels))
	}
	return strings.Join(append(out, fmt.Sprintf("false %d", len(e.False))), " ")
}

// Differences says what is other than the golden text has it. Worse is a cause
// that is found less often, a false finding more, an episode that is gone, or
// one that the text does not know and that is not found whole; better is the
// rest.
func (c *Card) Differences(golden string) (worse, better []string, err error) {
	known := map[string]goldenLine{}
	for number, line := range strings.Split(golden, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		g, ok := parseLine(line)
		if !ok {
			return nil, nil, fmt.Errorf("line %d is not one of a golden score: %.80q; write it anew with --update", number+1, line)
		}
		known[g.name] = g
	}
	for i := range c.Each {
		e := &c.Each[i]
		now, _ := parseLine(e.line())
		was, there := known[e.key()]
		delete(known, e.key())
		if !there {
			was = now.whole()
			better = append(better, e.line()+" (new)")
		}
		for cause, n := range now.found {
			if before, had := was.found[cause]; had && before.labels == n.labels {
				switch {
				case n.found < before.found:
					worse = append(worse, fmt.Sprintf("%s: %s is found %d times of %d, was %d", e.Name, cause, n.found, n.labels, before.found))
				case n.found > before.found:
					better = append(better, fmt.Sprintf("%s: %s is found %d times of %d, was %d", e.Name, cause, n.found, n.labels, before.found))
				}
			} else {
				worse = append(worse, fmt.Sprintf("%s: the labels of %s are others: found %d times of %d", e.Name, cause, n.found, n.labels))
			}
		}
		for cause := range was.found {
			if _, still := now.found[cause]; !still {
				worse = append(worse, fmt.Sprintf("%s: no label of %s is left", e.Name, cause))
			}
		}
		switch {
		case now.wrong > was.wrong:
			said := make([]string, 0, len(e.False))
			for _, f := range e.False {
				said = append(said, fmt.Sprintf("%s %s", f.Scope, f.Says))
			}
			worse = append(worse, fmt.Sprintf("%s: %d false findings, was %d: %s", e.Name, now.wrong, was.wrong, strings.Join(said, ", ")))
		case now.wrong < was.wrong:
			better = append(better, fmt.Sprintf("%s: %d false findings, was %d", e.Name, now.wrong, was.wrong))
		}
	}
	for name := range known {
		worse = append(worse, name+": the episode is gone")
	}
	slices.Sort(worse)
	slices.Sort(better)
	return worse, better, nil
}

// goldenLine is one line of a golden text.
type goldenLine struct {
	name  string
	found map[string]counted
	wrong int
}

type counted struct{ found, labels int }

// whole is the line of an episode in which everything is as it should be.
func (g goldenLine) whole() goldenLine {
	out := goldenLine{g.name, map[string]counted{}, 0}
	for cause, n := range g.found {
		out.found[cause] = counted{n.labels, n.labels}
	}
	return out
}

func parseLine(line string) (goldenLine, bool) {
	fields := strings.Fields(line)
	if len(fields) < 3 || len(fields)%2 == 0 {
		return goldenLine{}, false
	}
	g := goldenLine{fields[0], map[string]counted{}, 0}
	for i := 1; i+1 < len(fields); i += 2 {
		key, value := fields[i], fields[i+1]
		if key == "false" {
			wrong, ok := number(value)
			if !ok {
				return goldenLine{}, false
			}
			g.wrong = wrong
			continue
		}
		found, labels, _ := strings.Cut(value, "/")
		f, ok := number(found)
		l, too := number(labels)
		if !ok || !too {
			return goldenLine{}, false
		}
		g.found[key] = counted{f, l}
	}
	return g, true
}

func number(text string) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}
