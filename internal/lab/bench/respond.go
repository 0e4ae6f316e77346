package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/detect"
)

// respond plays the workers article's response against a real Apache, one cell
// after the other, and prints what was done when.
func (b *bench) respond(ctx context.Context, real bool, d detection) error {
	played := 0
	for _, c := range detect.ResponseCells(real) {
		if d.only != "" && !strings.Contains(c.Name, d.only) {
			continue
		}
		played++
		for run := range d.runs {
			r, err := cell(b, fmt.Sprintf("%s-%d", c.Name, run+1), func() (detect.Response, error) {
				return detect.RunResponse(ctx, b.agent, c, b.say)
			})
			if absent, ok := errors.AsType[*lab.ErrMissing](err); ok {
				b.say(fmt.Sprintf("skipped %s: %v", c.Name, absent))
				return nil
			}
			if err != nil {
				return err
			}
			fmt.Fprint(b.out, r)
		}
	}
	if played == 0 {
		return usageError{fmt.Errorf("no cell of respond has %q in its name", d.only)}
	}
	return nil
}
