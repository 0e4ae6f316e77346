package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/detect"
)

// detection is what to play of the cells that fail and of the healthy ones.
type detection struct {
	workers, backends, regions bool   // which kinds of cells
	only, skip                 string // parts of names, with commas between: one of only, and none of skip; empty for all, and none
	runs, parallel             int    // of each cell; cells at a time
	beside                     bool   // let the peers of the field watch, too
	episodes                   string // the folder for the runs' recordings; empty keeps none
	sockets                    bool   // every socket too, in a recording of its own
	picture                    string // the file for the backends' leads, as SVG; empty for none
}

// chosen are those of the cells that are to be played.
func chosen[C any](d detection, kind bool, cells []C, name func(C) string) []C {
	return slices.DeleteFunc(cells, func(c C) bool {
		return !kind || d.only != "" && !containsAny(name(c), d.only) || d.skip != "" && containsAny(name(c), d.skip)
	})
}

// containsAny reports whether name contains one of the parts, which have commas
// between them.
func containsAny(name, parts string) bool {
	return slices.ContainsFunc(strings.Split(parts, ","), func(part string) bool { return part != "" && strings.Contains(name, part) })
}

func workersCell(c detect.Cell) string         { return c.Name }
func backendsCell(c detect.BackendCell) string { return c.Name }
func regionsCell(c detect.RegionCell) string   { return c.Name }

// detect plays the cells of each kind, prints their tables, and says which goals
// were missed. Run after run of a cell has random arrivals of its own, and goes
// through the phases of a balancer's timer. That no cell is chosen is wrong
// usage: nothing would be measured.
func (b *bench) detect(ctx context.Context, d detection) error {
	workers := chosen(d, d.workers, detect.Cells(), workersCell)
	backends := chosen(d, d.backends, detect.BackendCells(), backendsCell)
	regions := chosen(d, d.regions, detect.RegionCells(), regionsCell)
	if len(workers)+len(backends)+len(regions) == 0 {
		d.only, d.skip = "", ""
		names := slices.Concat(
			namesOf(chosen(d, d.workers, detect.Cells(), workersCell), workersCell),
			namesOf(chosen(d, d.backends, detect.BackendCells(), backendsCell), backendsCell),
			namesOf(chosen(d, d.regions, detect.RegionCells(), regionsCell), regionsCell),
		)
		return usageError{fmt.Errorf("no cell is left to play; they are:\n  %s", strings.Join(names, "\n  "))}
	}
	if d.runs < 1 || d.parallel < 1 {
		return usageError{fmt.Errorf("%d runs, %d at a time: want one or more", d.runs, d.parallel)}
	}
	var err error
	if d.episodes != "" {
		err = os.MkdirAll(d.episodes, 0o755)
	}
	if err != nil {
		return err
	}
	if len(workers) > 0 {
		err = b.playWorkers(ctx, d, workers)
	}
	if len(backends) > 0 {
		err = errors.Join(err, b.playBackends(ctx, d, backends))
	}
	if len(regions) > 0 {
		err = errors.Join(err, b.playRegions(ctx, d, regions))
	}
	return err
}

func namesOf[C any](cells []C, name func(C) string) []string {
	var names []string
	for _, c := range cells {
		names = append(names, name(c))
	}
	return names
}

// with is what a run of a cell is played with.
func (b *bench) with(d detection, cell string, run int) detect.With {
	with := detect.With{Agent: b.agent, Beside: d.beside, Sockets: d.sockets && d.episodes != "", Progress: b.say}
	if d.episodes != "" {
		with.Episode = filepath.Join(d.episodes, fmt.Sprintf("%s-%d.rec", cell, run+1))
	}
	return with
}

func (b *bench) playWorkers(ctx context.Context, d detection, cells []detect.Cell) error {
	outcomes, err := play(b, d, cells, workersCell, func(c detect.Cell, run int) (detect.Outcome, error) {
		c.Load.Seed += uint64(run)
		return detect.Run(ctx, b.with(d, c.Name, run), c)
	})
	fmt.Fprint(b.out, detect.Table(outcomes))
	if spread := detect.Spread(outcomes); spread != "" {
		fmt.Fprint(b.out, "\n", spread)
	}
	return errors.Join(err, missed(detect.Missed(outcomes)))
}

// playBackends lets the agent of a contained cell read the namespaces of the
// cells beside it too, as on any host of many containers.
func (b *bench) playBackends(ctx context.Context, d detection, cells []detect.BackendCell) error {
	outcomes, err := play(b, d, cells, backendsCell, func(c detect.BackendCell, run int) (detect.BackendOutcome, error) {
		c.Load.Seed += uint64(run)
		phases := c.Phases()
		return detect.RunBackend(ctx, b.with(d, c.Name, run), c, phases[run%len(phases)])
	})
	fmt.Fprint(b.out, detect.BackendTable(outcomes))
	for _, table := range []string{detect.ContainedTable(outcomes), detect.RestartTable(outcomes)} {
		if table != "" {
			fmt.Fprint(b.out, "\n", table)
		}
	}
	if d.picture != "" {
		err = errors.Join(err, os.WriteFile(d.picture, []byte(detect.BackendPicture(outcomes)), 0o644))
	}
	return errors.Join(err, missed(detect.Missed(outcomes)))
}

func (b *bench) playRegions(ctx context.Context, d detection, cells []detect.RegionCell) error {
	outcomes, err := play(b, d, cells, regionsCell, func(c detect.RegionCell, run int) (detect.RegionOutcome, error) {
		c.Load.Seed += uint64(run)
		return detect.RunRegion(ctx, b.with(d, c.Name, run), c.Shifted(run))
	})
	fmt.Fprint(b.out, detect.RegionTable(outcomes))
	return errors.Join(err, missed(detect.Missed(outcomes)))
}

func missed(goals []string) error {
	if len(goals) == 0 {
		return nil
	}
	return fmt.Errorf("goals missed:\n  %s", strings.Join(goals, "\n  "))
}

// play plays cells, several at a time, and returns the outcomes in their order.
// A run that fails does not stop the others; one whose program is missing is
// left out, with the reason.
func play[C any, O interface{ Report() []string }](b *bench, d detection, cells []C, name func(C) string, measure func(c C, run int) (O, error)) ([]O, error) {
	var group errgroup.Group
	group.SetLimit(d.parallel)
	var mu sync.Mutex
	missing := map[string]int{}
	results := make([]*O, len(cells)*d.runs)
	for i := range results {
		c, run := cells[i/d.runs], i%d.runs
		group.Go(func() error {
			o, err := cell(b, fmt.Sprintf("%s-%d", name(c), run+1), func() (O, error) { return measure(c, run) })
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
			for _, line := range o.Report() {
				b.say(line)
			}
			results[i] = &o
			return nil
		})
	}
	err := group.Wait()
	for _, reason := range slices.Sorted(maps.Keys(missing)) {
		b.say(fmt.Sprintf("skipped %d runs: %s", missing[reason], reason))
	}
	var outcomes []O
	for _, r := range results {
		if r != nil {
			outcomes = append(outcomes, *r)
		}
	}
	return outcomes, err
}

// record plays the cell of that name without the agent and writes down what
// the sockets to its backends, or destinations, look like.
func (b *bench) record(ctx context.Context, kind, name, file string) error {
	var play func(io.Writer) error
	var names []string
	if kind == "regions" {
		cells := detect.RegionCells()
		names = namesOf(cells, regionsCell)
		play = func(out io.Writer) error {
			return detect.RecordRegion(ctx, cells[slices.Index(names, name)], out, b.say)
		}
	} else {
		cells := detect.BackendCells()
		names = namesOf(cells, backendsCell)
		play = func(out io.Writer) error {
			return detect.RecordBackend(ctx, cells[slices.Index(names, name)], out, b.say)
		}
	}
	if !slices.Contains(names, name) {
		return usageError{fmt.Errorf("no cell is called %q; they are:\n  %s", name, strings.Join(names, "\n  "))}
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	lines := bufio.NewWriter(out)
	err = play(lines)
	return errors.Join(err, lines.Flush(), out.Close())
}
