// Command peers measures what one look at a population of sockets costs, by
// Foreshock's readers and by the tools people use instead, in the same run.
//
//	peers -sockets 1000,10000,100000 -rounds 5
//
// It is a module of its own, so that the peers' libraries stay out of
// Foreshock's. It needs root, for a network namespace of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshock/foreshock/internal/lab"
)

func main() {
	lab.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		os.Exit(1)
	}
}

// result is what one method costs per look at one population, the median of
// all rounds.
type result struct {
	Method string
	// Sockets is how many the method passed on.
	Sockets int
	// CPU is processor time, children's included; Wall is time on the clock.
	CPU  time.Duration
	Wall time.Duration
	// Allocated is bytes of Go heap per look; -1 for other programs.
	Allocated int64
	// Ratio is CPU over that of the baseline, the median of the rounds' own
	// ratios: what the machine does meanwhile hits both alike.
	Ratio float64
	// Baseline names what Ratio is against.
	Baseline string
}

type report struct {
	Sockets     int
	HostSockets int
	Buckets     int
	Rounds      int
	Results     []result
}

// oddShare is the share of the sockets in odd states.
const oddShare = 0.02

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	sizes := flags.String("sockets", "1000,10000,100000", "populations to measure, sockets each")
	rounds := flags.Int("rounds", 7, "looks by each method, in turn")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, text := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("size %q is not a number", text)
		}
		fmt.Fprintf(stderr, "peers: making %d sockets\n", n)
		r, err := measureAt(ctx, n, *rounds, stderr)
		if err != nil {
			return fmt.Errorf("%d sockets: %w", n, err)
		}
		write(stdout, r)
	}
	return nil
}

func write(out io.Writer, r report) {
	fmt.Fprintf(out, "%d sockets in the namespace, %d in the host's table of %d buckets; median of %d rounds\n", r.Sockets, r.HostSockets, r.Buckets, r.Rounds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tpassed\tCPU ms\twall ms\tns/socket\tallocated\tratio\tagainst\t")
	for _, x := range r.Results {
		allocated := "–"
		if x.Allocated >= 0 {
			allocated = strconv.FormatInt(x.Allocated, 10)
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.0f\t%s\t%.3f\t%s\t\n", x.Method, x.Sockets,
			x.CPU.Seconds()*1e3, x.Wall.Seconds()*1e3, float64(x.CPU)/float64(r.Sockets), allocated, x.Ratio, x.Baseline)
	}
	w.Flush()
	fmt.Fprintln(out)
}

func measureAt(ctx context.Context, sockets, rounds int, stderr io.Writer) (report, error) {
	world, err := lab.New(ctx, lab.Config{Hosts: []lab.HostConfig{{Name: "bench"}}, Buckets: -1})
	if err != nil {
		return report{}, err
	}
	defer world.Close()
	host := world.Host("bench")
	crowd, err := host.Populate(ctx, lab.Population{Sockets: sockets, OddShare: oddShare})
	if err != nil {
		return report{}, err
	}
	st := crowd.Standing()
	buckets, err := host.Buckets()
	if err != nil {
		return report{}, err
	}
	total := st.Established + st.Listeners + st.Odd.TimeWait + st.Odd.CloseWait + st.Odd.SynSent + st.Odd.SynRecv
	out := report{Sockets: total, HostSockets: hostSockets(), Buckets: max(buckets, -buckets), Rounds: rounds}
	fmt.Fprintf(stderr, "peers: %d stand after %s, in %d processes\n", total, st.Took.Round(time.Millisecond), st.Processes)

	// Everything is measured inside the namespace, on one thread.
	err = host.Do(func() error {
		methods, stop, err := openMethods()
		if err != nil {
			return err
		}
		defer stop()
		out.Results, err = rotate(ctx, methods, rounds)
		return err
	})
	return out, err
}

// sample is one look's cost.
type sample struct {
	sockets   int
	cpu, wall time.Duration
	allocated int64
}

// rotate runs every method once per round, so that a slow minute of the
// machine is shared by all, after one round that does not count.
func rotate(ctx context.Context, methods []method, rounds int) ([]result, error) {
	samples := make([][]sample, len(methods))
	position := map[string]int{}
	for i, m := range methods {
		position[m.name] = i
	}
	for round := range rounds + 1 {
		for i, m := range methods {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			s, err := time1(m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	var out []result
	for i, m := range methods {
		r := result{Method: m.name, Baseline: m.against, Sockets: samples[i][0].sockets}
		var cpu, wall, allocated []float64
		var ratios []float64
		base := samples[position[m.against]]
		for k, s := range samples[i] {
			cpu, wall = append(cpu, float64(s.cpu)), append(wall, float64(s.wall))
			allocated = append(allocated, float64(s.allocated))
			ratios = append(ratios, float64(s.cpu)/float64(base[k].cpu))
		}
		r.CPU, r.Wall = time.Duration(median(cpu)), time.Duration(median(wall))
		r.Allocated, r.Ratio = int64(median(allocated)), median(ratios)
		out = append(out, r)
	}
	return out, nil
}

func median(xs []float64) float64 {
	slices.Sort(xs)
	if n := len(xs); n%2 == 0 {
		return (xs[n/2-1] + xs[n/2]) / 2
	}
	return xs[len(xs)/2]
}

// time1 makes one look. The collector is off during it and has run before:
// what a method allocates is shown as bytes, and costs it nothing here.
func time1(m method) (sample, error) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, begin := threadAndChildren(), time.Now()
	n, err := m.look()
	s := sample{sockets: n, cpu: threadAndChildren() - cpu, wall: time.Since(begin), allocated: -1}
	runtime.ReadMemStats(&after)
	if !m.external {
		s.allocated = int64(after.TotalAlloc - before.TotalAlloc)
	}
	return s, err
}

// threadAndChildren is the processor time of this thread and of the children
// that have ended.
func threadAndChildren() time.Duration {
	var t unix.Timespec
	var children unix.Rusage
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	_ = unix.Getrusage(unix.RUSAGE_CHILDREN, &children)
	return time.Duration(t.Nano() + children.Utime.Nano() + children.Stime.Nano())
}

// hostSockets counts what stands in every namespace: sockstat's alloc is of
// the whole host.
func hostSockets() int {
	raw, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) > 8 && fields[0] == "TCP:" {
			n, _ := strconv.Atoi(fields[8])
			return n
		}
	}
	return -1
}

// external runs a program and counts the lines it prints.
func external(name string, args ...string) func() (int, error) {
	return func() (int, error) {
		cmd := exec.Command(name, args...)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		lines, buffer := 0, make([]byte, 64<<10)
		for {
			n, err := pipe.Read(buffer)
			for _, b := range buffer[:n] {
				if b == '\n' {
					lines++
				}
			}
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return 0, err
			}
		}
		return lines, cmd.Wait()
	}
}
