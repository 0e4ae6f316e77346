// Command bench runs Foreshock's long measurements, cell by cell, and keeps
// each result with its commit so that a run can be taken up again.
//
//	bench steady -sockets 10000,100000
//	bench detect -cell burst
//	bench workers -cell gradual -runs 3
//	bench backends -cell haproxy-hang -runs 9
//	bench backends -cell haproxy-hang -trace hang.jsonl
//	bench regions -cell region-blackhole -runs 9
//	bench namespaces -count 200 -each 500
//	bench pools -through generator -count 50 -each 2000
//	bench replay -span 24h -pulses
//	bench respond -real
//	bench notify -outage 10m -kills 3
//	bench drain -cell article,close
//	bench past -days 28 -scopes 100
//
// detect is workers, backends and regions.
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

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/detect"
)

func main() {
	lab.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		if errors.As(err, &usageError{}) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// usageError is a call that measures nothing as it stands.
type usageError struct{ error }

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
	span := flags.Duration("span", 0, "steady, namespaces, pools: how long each program is watched (5m, 5m, 2m); replay: of the recording (24h)")
	pulses := flags.Bool("pulses", false, "replay: a pulse a second, too")
	real := flags.Bool("real", false, "respond: at the article's own times, 11 minutes a cell, not in a hurry")
	days := flags.Int("days", 28, "past: how many")
	scopes := flags.Int("scopes", 100, "past: how many, a fifth of them services")
	var d detection
	flags.StringVar(&d.only, "cell", "", "detect, workers, backends, regions, drain: only the cells whose name contains this, or one of these: a,b")
	flags.StringVar(&d.skip, "skip", "", "detect, workers, backends, regions, drain: not the cells whose name contains this, or one of these: a,b")
	flags.IntVar(&d.runs, "runs", 1, "detect, workers, backends, regions, drain: runs of each cell")
	flags.IntVar(&d.parallel, "parallel", 4, "detect, workers, backends, regions: cells at a time")
	count := flags.Int("count", 0, "namespaces: how many (200); pools: backends (50)")
	each := flags.Int("each", 0, "namespaces: sockets in each (500); pools: connections to each backend (150, of the generator 2000)")
	through := flags.String("through", "traefik", "pools: who makes the connections, traefik or generator")
	shared := flags.Bool("shared", false, "namespaces: all in the machine's one hash table, as containers usually are")
	flags.BoolVar(&d.beside, "peers", true, "detect, workers, backends, regions: let the peers of the field watch too")
	flags.StringVar(&d.picture, "picture", "", "detect, backends: write the backends' leads as SVG to this file")
	flags.StringVar(&d.episodes, "episodes", "", "detect, workers, backends, regions: keep the agent's recording of each run, and what is to be found in it, in this folder")
	flags.BoolVar(&d.sockets, "every-socket", false, "with -episodes: record every socket too, in a recording of its own")
	outage := flags.Duration("outage", 10*time.Minute, "notify: for how long those who are told are down")
	kills := flags.Int("kills", 3, "notify: how often the agent is killed")
	record := flags.String("trace", "", "backends, regions: only write what the sockets look like to this file, for the one cell of that name")
	if len(args) == 0 {
		return usageError{fmt.Errorf("say what to measure: %s", measurements)}
	}
	what := args[0]
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return usageError{err}
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("%q is no flag", flags.Arg(0))}
	}
	switch what {
	case "steady":
		return b.steady(ctx, *sizes, cmp.Or(*span, 5*time.Minute))
	case "detect", "workers", "backends", "regions":
		if *record != "" && (what == "backends" || what == "regions") {
			return b.record(ctx, what, d.only, *record)
		}
		all := what == "detect"
		d.workers, d.backends, d.regions = all || what == "workers", all || what == "backends", all || what == "regions"
		return b.detect(ctx, d)
	case "namespaces":
		return b.namespaces(ctx, cmp.Or(*count, 200), cmp.Or(*each, 500), *shared, cmp.Or(*span, 5*time.Minute))
	case "pools":
		usual := 150
		if *through == "generator" {
			usual = 2000
		}
		return b.pools(ctx, *through, cmp.Or(*count, 50), cmp.Or(*each, usual), cmp.Or(*span, 2*time.Minute))
	case "replay":
		return b.replay(ctx, cmp.Or(*span, 24*time.Hour), *pulses)
	case "respond":
		return b.respond(ctx, *real, d)
	case "drain":
		return b.drains(ctx, d)
	case "past":
		return b.past(ctx, *days, *scopes)
	case "notify":
		return b.notify(ctx, *outage, *kills)
	}
	return usageError{fmt.Errorf("unknown measurement %q: %s", what, measurements)}
}

const measurements = "steady, detect, workers, backends, regions, namespaces, pools, replay, respond, drain, past or notify"

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

// pools measures what it costs to watch many backends with many connections,
// and prints the readers' table. Where Traefik is not built the run is left
// out, with the reason.
func (b *bench) pools(ctx context.Context, through string, count, each int, span time.Duration) error {
	measure := detect.RunPoolsThroughTraefik
	switch through {
	case "traefik":
	case "generator":
		measure = detect.RunPoolsGenerated
	default:
		return fmt.Errorf("unknown maker of connections %q: traefik or generator", through)
	}
	name := fmt.Sprintf("pools-%s-%d-%d", through, count, each)
	r, err := cell(b, name, func() (detect.Pools, error) {
		return measure(ctx, b.agent, count, each, span, b.say)
	})
	if absent, ok := errors.AsType[*lab.ErrMissing](err); ok {
		b.say(fmt.Sprintf("skipped %s: %v", name, absent))
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprint(b.out, r)
	return nil
}
