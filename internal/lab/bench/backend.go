package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/detect"
)

// record plays the cell of that name without the agent and writes down what
// the balancer's sockets look like.
func (b *bench) record(ctx context.Context, name, file string) error {
	var names []string
	for _, c := range detect.BackendCells() {
		names = append(names, c.Name)
		if c.Name != name {
			continue
		}
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		lines := bufio.NewWriter(out)
		err = detect.RecordBackend(ctx, c, lines, b.say)
		return errors.Join(err, lines.Flush(), out.Close())
	}
	return fmt.Errorf("no cell is called %q; they are:\n  %s", name, strings.Join(names, "\n  "))
}

// backends plays the cells whose name contains only and not skip, several at a
// time, prints the table of all results, draws it where asked, and says which
// goals were missed. Run after run goes through the phases of a balancer's
// timer, and has random arrivals of its own. The agent of a contained cell reads
// the namespaces of the cells beside it too, as on any host of many containers.
// A cell whose program is missing is left out, with the reason.
func (b *bench) backends(ctx context.Context, only, skip string, runs, parallel int, beside bool, picture string) error {
	// A cell that fails does not stop the others.
	var group errgroup.Group
	group.SetLimit(parallel)
	var results []*detect.BackendOutcome
	var mu sync.Mutex
	missing := map[string]int{}
	for _, c := range detect.BackendCells() {
		if !strings.Contains(c.Name, only) || skip != "" && strings.Contains(c.Name, skip) {
			continue
		}
		phases := c.Phases()
		for i := range runs {
			seeded := c
			seeded.Load.Seed += uint64(i)
			result := &detect.BackendOutcome{}
			results = append(results, result)
			group.Go(func() error {
				o, err := cell(b, fmt.Sprintf("%s-%d", c.Name, i+1), func() (detect.BackendOutcome, error) {
					return detect.RunBackend(ctx, b.agent, seeded, phases[i%len(phases)], beside, b.say)
				})
				if absent, ok := errors.AsType[*lab.ErrMissing](err); ok {
					mu.Lock()
					defer mu.Unlock()
					missing[absent.Error()]++
					return nil
				}
				if err != nil {
					b.say(err.Error())
					return err
				}
				b.say(o.String())
				for _, step := range o.Steps {
					b.say("    " + step)
				}
				*result = o
				return nil
			})
		}
	}
	err := group.Wait()
	var outcomes []detect.BackendOutcome
	for _, r := range results {
		if r.Cell != "" {
			outcomes = append(outcomes, *r)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(missing)) {
		b.say(fmt.Sprintf("skipped %d runs: %s", missing[reason], reason))
	}
	fmt.Fprint(b.out, detect.BackendTable(outcomes))
	for _, table := range []string{detect.ContainedTable(outcomes), detect.RestartTable(outcomes)} {
		if table != "" {
			fmt.Fprint(b.out, "\n", table)
		}
	}
	if picture != "" {
		err = errors.Join(err, os.WriteFile(picture, []byte(detect.BackendPicture(outcomes)), 0o644))
	}
	if missed := detect.BackendsMissed(outcomes); len(missed) > 0 {
		err = errors.Join(err, fmt.Errorf("goals missed:\n  %s", strings.Join(missed, "\n  ")))
	}
	return err
}
