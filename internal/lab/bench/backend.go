package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

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
