// Command bench runs Foreshock's long measurements, cell by cell, and keeps
// each result with its commit so that a run can be taken up again.
//
//	bench -agent bin/foreshock steady -sockets 10000,100000
//	bench -agent bin/foreshock detect -cell gradual -runs 3
//	bench -agent bin/foreshock backend -cell haproxy-hang -runs 9
//	bench backend -cell haproxy-hang -trace hang.jsonl
//	bench -agent bin/foreshock namespaces -count 200 -each 500
//	bench -agent bin/foreshock pools -through generator -count 50 -each 2000
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/detect"
)

func main() {
	lab.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// bench is what every cell needs.
type bench struct {
	agent, results, commit string
	resume                 bool
	out, err               io.Writer
	mu                     sync.Mutex // of err: cells run side by side
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := bench{out: stdout, err: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&b.agent, "agent", "bin/foreshock", "the program to measure")
	flags.StringVar(&b.results, "results", "bin/bench", "folder of the results")
	flags.StringVar(&b.commit, "commit", "unknown", "the commit the program is built from")
	flags.BoolVar(&b.resume, "resume", false, "leave out cells of this commit that are done")
	sizes := flags.String("sockets", "10000,100000", "steady: populations")
	span := flags.Duration("span", 0, "steady, namespaces, pools: how long each program is watched (5m, 5m, 2m)")
	only := flags.String("cell", "", "detect, backend: only the cells whose name contains this")
	skip := flags.String("skip", "", "detect, backend: not the cells whose name contains this")
	runs := flags.Int("runs", 1, "detect, backend: runs of each cell")
	parallel := flags.Int("parallel", 4, "detect, backend: cells at a time")
	count := flags.Int("count", 0, "namespaces: how many (200); pools: backends (50)")
	each := flags.Int("each", 0, "namespaces: sockets in each (500); pools: connections to each backend (150, of the generator 2000)")
	through := flags.String("through", "traefik", "pools: who makes the connections, traefik or generator")
	shared := flags.Bool("shared", false, "namespaces: all in the machine's one hash table, as containers usually are")
	beside := flags.Bool("peers", true, "detect, backend: let the peers of the field watch too")
	picture := flags.String("picture", "", "backend: write the leads as SVG to this file")
	record := flags.String("trace", "", "backend: only write what the sockets look like to this file, for the one cell of that name")
	if len(args) == 0 {
		return errors.New("say what to measure: steady, detect, backend, namespaces or pools")
	}
	what := args[0]
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch what {
	case "steady":
		return b.steady(ctx, *sizes, cmp.Or(*span, 5*time.Minute))
	case "detect":
		return b.detect(ctx, *only, *skip, *runs, *parallel, *beside)
	case "backend":
		if *record != "" {
			return b.record(ctx, *only, *record)
		}
		return b.backends(ctx, *only, *skip, *runs, *parallel, *beside, *picture)
	case "namespaces":
		return b.namespaces(ctx, cmp.Or(*count, 200), cmp.Or(*each, 500), *shared, cmp.Or(*span, 5*time.Minute))
	case "pools":
		usual := 150
		if *through == "generator" {
			usual = 2000
		}
		return b.pools(ctx, *through, cmp.Or(*count, 50), cmp.Or(*each, usual), cmp.Or(*span, 2*time.Minute))
	}
	return fmt.Errorf("unknown measurement %q: steady, detect, backend, namespaces or pools", what)
}

func (b *bench) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintln(b.err, "bench: "+line)
}

// cell runs one cell unless its result is there already, and keeps the result.
func cell[T any](b *bench, name string, measure func() (T, error)) (T, error) {
	file := filepath.Join(b.results, b.commit+"-"+name+".json")
	var result T
	if b.resume {
		raw, err := os.ReadFile(file)
		if err == nil {
			b.say(name + ": done before")
			return result, json.Unmarshal(raw, &result)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return result, err
		}
	}
	result, err := measure()
	if err != nil {
		return result, fmt.Errorf("%s: %w", name, err)
	}
	raw, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return result, err
	}
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return result, err
	}
	return result, os.WriteFile(file, append(raw, '\n'), 0o644)
}

func (b *bench) steady(ctx context.Context, sizes string, span time.Duration) error {
	fmt.Fprintf(b.out, "%-32s %8s %8s %10s %10s %10s\n", "program", "sockets", "CPU %", "RSS MiB", "anon MiB", "peak MiB")
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("size %q is not a number", text)
		}
		s, err := cell(b, fmt.Sprintf("steady-%d", n), func() (detect.Steady, error) {
			return detect.RunSteady(ctx, b.agent, n, span, b.say)
		})
		if err != nil {
			return err
		}
		for _, u := range []detect.Usage{s.Agent, s.Peer} {
			const mebi = 1 << 20
			fmt.Fprintf(b.out, "%-32s %8d %8.2f %10.1f %10.1f %10.1f\n", u.Program, n, 100*u.CPU,
				float64(u.RSS)/mebi, float64(u.RSSAnon)/mebi, float64(u.RSSPeak)/mebi)
		}
	}
	return nil
}

func (b *bench) namespaces(ctx context.Context, count, each int, shared bool, span time.Duration) error {
	table := "own"
	if shared {
		table = "shared"
	}
	r, err := cell(b, fmt.Sprintf("namespaces-%d-%d-%s", count, each, table), func() (detect.Namespaces, error) {
		return detect.RunNamespaces(ctx, b.agent, count, each, shared, span, b.say)
	})
	if err != nil {
		return err
	}
	fmt.Fprint(b.out, r)
	return nil
}

// detect plays the cells whose name contains only and not skip, several at a
// time, prints the table of all their results and of how the runs of one cell
// differ, and says which goals they missed. Each run of a cell has random
// arrivals of its own.
func (b *bench) detect(ctx context.Context, only, skip string, runs, parallel int, beside bool) error {
	var group errgroup.Group // a cell that fails does not stop the others
	group.SetLimit(parallel)
	type result struct {
		outcome detect.Outcome
		done    bool
	}
	var results []*result
	for _, c := range detect.Cells() {
		if !strings.Contains(c.Name, only) || skip != "" && strings.Contains(c.Name, skip) {
			continue
		}
		for i := range runs {
			seeded := c
			seeded.Load.Seed += uint64(i)
			r := &result{}
			results = append(results, r)
			group.Go(func() error {
				o, err := cell(b, fmt.Sprintf("%s-%d", c.Name, i+1), func() (detect.Outcome, error) {
					return detect.Run(ctx, b.agent, seeded, beside, b.say)
				})
				if err != nil {
					b.say(err.Error())
					return err
				}
				b.say(o.String())
				for _, step := range o.Steps {
					b.say("    " + step)
				}
				r.outcome, r.done = o, true
				return nil
			})
		}
	}
	err := group.Wait()
	var outcomes []detect.Outcome
	for _, r := range results {
		if r.done {
			outcomes = append(outcomes, r.outcome)
		}
	}
	fmt.Fprint(b.out, detect.Table(outcomes))
	if spread := detect.Spread(outcomes); spread != "" {
		fmt.Fprint(b.out, "\n", spread)
	}
	if missed := detect.Missed(outcomes); len(missed) > 0 {
		err = errors.Join(err, fmt.Errorf("goals missed:\n  %s", strings.Join(missed, "\n  ")))
	}
	return err
}
