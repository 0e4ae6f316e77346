package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/drain"
)

// manyCell is the cell of half a million sockets.
const manyCell = "many"

// drains plays switches from an old address to a new one, one after the other, and
// prints what was said of them beside the truth.
func (b *bench) drains(ctx context.Context, d detection) error {
	if d.runs < 1 {
		return usageError{fmt.Errorf("%d runs of each cell: use one or more", d.runs)}
	}
	names := strings.Split(d.only, ",")
	var all []string
	played := 0
	for _, c := range drain.Cells() {
		all = append(all, c.Name)
		if d.only != "" && !slices.Contains(names, c.Name) || d.skip != "" && slices.Contains(strings.Split(d.skip, ","), c.Name) {
			continue
		}
		if played++; played == 1 {
			fmt.Fprintln(b.out, drain.Head())
		}
		for run := range d.runs {
			r, err := cell(b, fmt.Sprintf("drain-%s-%d", c.Name, run+1), func() (drain.Outcome, error) {
				return drain.Run(ctx, drain.With{Agent: b.agent, Progress: b.say}, c)
			})
			if absent, ok := errors.AsType[*lab.ErrMissing](err); ok {
				b.say(fmt.Sprintf("skipped %s: %v", c.Name, absent))
				return nil
			}
			if err != nil {
				return err
			}
			for _, line := range r.Report(c) {
				fmt.Fprintln(b.out, line)
			}
		}
	}
	if d.only == "" && !slices.Contains(strings.Split(d.skip, ","), manyCell) || slices.Contains(names, manyCell) {
		played++
		r, err := cell(b, "drain-"+manyCell, func() (drain.Many, error) {
			return drain.RunMany(ctx, b.agent, 500_000, 2*time.Minute, b.say)
		})
		if err != nil {
			return err
		}
		fmt.Fprint(b.out, r)
	}
	if played == 0 {
		return usageError{fmt.Errorf("no cell of drain is called %q; there are %s", d.only, strings.Join(append(all, manyCell), ", "))}
	}
	return nil
}
