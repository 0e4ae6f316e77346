package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/agent"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
)

const (
	// maxRecording is how large a recording grows unless told otherwise, in
	// bytes: eight hours of 100 scopes under load, or days of a small host.
	maxRecording = 64 << 20
	// leastRecording is the least that --max-size takes: less holds no segment of
	// a large host.
	leastRecording = 1 << 20
	// indexRoom is what is left of it for the end of the file.
	indexRoom = 64 << 10
)

// recordFlags is one call of record as it was typed.
type recordFlags struct {
	file                 string // of the configuration
	agent                string
	calls                callerFlags
	span, last           time.Duration
	maxSize              size
	incident             uint64
	sockets, anonymise   bool
	keyFile              string
	labels               map[string]string
	force, info, inJSON  bool
	changedLast, changed bool // --last; any flag that --info cannot have
}

func recordCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "record FILE",
		Short: "Keep what this host's sockets do, to replay it",
		Long: `Writes what the agent's pipeline takes, look by look, into FILE, so that it can
be replayed through other thresholds and other rules: states, queues, flows and
waiting times per service and backend, and up to 20 sockets of each that show a
failure. By itself it looks at this host until Ctrl-C, and needs no agent; what
balancers say of their backends is only in an agent's recording. --last and
--incident ask the running agent for what it has recorded already: with a history
(foreshock history) as far back as its raw tallies go, a day unless configured,
and the beginning and the end of each incident for good; without one the last 15
minutes. Such a part begins some minutes earlier than was asked for, so that it
has what was usual then.

With --sockets every socket of every look is in it as well, so that it can be
replayed by other services, backends and regions: 10 to 20 bytes a socket and
look.

--anonymise puts other addresses and names in place of the real ones. Addresses
that share a prefix still do; loopback stays. What stays readable: ports, times,
all numbers, the kernel's numbers of sockets and cgroups, which software limits a
service, and which names are the same. Who has the key of --key-file can find
addresses again; without one a key is made and forgotten, and no two recordings
can be compared.

A recording that was cut short, or whose writer was killed, reads to its last 10
seconds. --info says what is in one, and ends with 3 when some of it cannot be
read.`,
		Example: `  foreshock record busy.rec --for 10m
  foreshock record crash.rec --incident 12 --anonymise
  foreshock record --info crash.rec`,
	}
	var f recordFlags
	f.maxSize = maxRecording
	flags := cmd.Flags()
	flags.DurationVar(&f.span, "for", 0, "how long; 0 until Ctrl-C")
	flags.Var(&f.maxSize, "max-size", "end before FILE is larger, as 10MB or 2GiB")
	flags.DurationVar(&f.last, "last", 0, "ask the agent for what was, so long until now")
	flags.Uint64Var(&f.incident, "incident", 0, "ask the agent for an incident's part, from 2 minutes before it")
	flags.StringVar(&f.agent, "agent", "", "the agent to ask (default "+defaultAgent+", or where the configuration says it listens)")
	f.calls = addCallerFlags(cmd)
	flags.StringVarP(&f.file, "config", "c", "", "configuration file with further services and pools (default "+defaultConfig+" when it is there)")
	flags.BoolVar(&f.sockets, "sockets", false, "every socket too, not only what is counted of them")
	flags.BoolVar(&f.anonymise, "anonymise", false, "other addresses and names in place of the real ones")
	flags.StringVar(&f.keyFile, "key-file", "", "the key to anonymise with; made when it is not there")
	flags.StringToStringVar(&f.labels, "label", nil, "put the label `KEY=VALUE` into it, as site=cork")
	flags.BoolVar(&f.force, "force", false, "replace FILE when it is there")
	flags.BoolVar(&f.info, "info", false, "say what is in FILE")
	asJSON := outputFlag(cmd)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	for _, name := range []string{"for", "max-size", "last", "incident", "agent", "label"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage{fmt.Errorf("record takes one file, got %q: name it, as in foreshock record busy.rec", args)}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if f.inJSON, err = asJSON(); err != nil {
			return err
		}
		f.changedLast = flags.Changed("last")
		for _, name := range []string{"for", "max-size", "last", "incident", "sockets", "anonymise", "key-file", "label", "force"} {
			f.changed = f.changed || flags.Changed(name)
		}
		if err := f.check(flags.Changed("output"), flags.Changed("for"), flags.Changed("incident")); err != nil {
			return usage{err}
		}
		if f.info {
			return recordingInfo(args[0], f.inJSON, cmd.OutOrStdout())
		}
		orderly(cmd)
		return f.record(cmd.Context(), args[0], cmd.ErrOrStderr())
	}
	return cmd
}

// check says what is wrong with what was typed.
func (f *recordFlags) check(output, span, incident bool) error {
	switch {
	case f.info && f.changed:
		return errors.New("--info only reads FILE: leave out what is for recording")
	case output && !f.info:
		return errors.New("--output belongs to --info: a recording is no text")
	case span && f.span <= 0:
		return fmt.Errorf("--for %s: use a time to come, as 10m", f.span)
	case f.changedLast && f.last <= 0:
		return fmt.Errorf("--last %s: use a time that has passed, as 15m", f.last)
	case incident && f.incident == 0:
		return errors.New("--incident 0: incidents are numbered from 1")
	case f.changedLast && incident:
		return errors.New("--last and --incident are two ways to say from when: use one")
	case f.asks() && span:
		return errors.New("--for belongs to what is to come: --last and --incident take what has been")
	case f.asks() && f.sockets:
		return errors.New("--sockets: an agent keeps what it counts, not every socket: record while it happens, without --last and --incident")
	case f.keyFile != "" && !f.anonymise:
		return errors.New("--key-file belongs to --anonymise")
	case f.maxSize < leastRecording:
		return fmt.Errorf("--max-size %s: use at least %s", &f.maxSize, size(leastRecording))
	}
	return nil
}

// asks: an agent has what is wanted.
func (f *recordFlags) asks() bool { return f.changedLast || f.incident > 0 }

func (f *recordFlags) record(ctx context.Context, path string, stderr io.Writer) error {
	if _, err := os.Stat(path); err == nil && !f.force {
		return errThere(path)
	}
	mask, err := f.anonymiser(stderr)
	if err != nil {
		return err
	}
	if f.asks() {
		return f.recordAgent(ctx, path, mask, stderr)
	}
	cfg, _, err := loadConfig(f.file)
	if err != nil {
		return err
	}
	return f.recordHere(ctx, path, cfg, mask, stderr)
}

func errThere(path string) error {
	return fmt.Errorf("%s is there already: use another name, or --force to replace it", path)
}

// anonymiser returns what to anonymise with; nil when that is not wanted.
func (f *recordFlags) anonymiser(stderr io.Writer) (*recording.Anonymiser, error) {
	if !f.anonymise {
		return nil, nil
	}
	key := recording.NewKey()
	if f.keyFile != "" {
		var made bool
		var err error
		if key, made, err = recording.KeyFile(f.keyFile); err != nil {
			return nil, err
		}
		if made {
			fmt.Fprintf(stderr, "foreshock: made the key %s: keep it from who gets the recording\n", f.keyFile)
		}
	}
	return recording.NewAnonymiser(key)
}

// recordHere looks at this host.
func (f *recordFlags) recordHere(ctx context.Context, path string, cfg config.Config, mask *recording.Anonymiser, stderr io.Writer) error {
	host, err := os.Hostname()
	if err != nil && cfg.Name == "" {
		return fmt.Errorf("find the host's name: %w; set name: in the configuration", err)
	}
	labels := map[string]string{}
	for _, from := range []map[string]string{cfg.Labels, f.labels} {
		maps.Copy(labels, from)
	}
	out, err := f.create(path, mask, recording.Header{
		Host: cmp.Or(cfg.Name, host), Foreshock: currentVersion(), Created: time.Now().UTC(), ScopeKinds: recording.ScopeKinds(), Sockets: f.sockets, Labels: labels,
	})
	if err != nil {
		return err
	}
	ctx, out.stop = context.WithCancelCause(ctx)
	defer out.stop(nil)
	if f.span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.span)
		defer cancel()
	}
	out.progress = progress(stderr, path)
	fmt.Fprintf(stderr, "foreshock: records into %s; Ctrl-C ends it\n", path)
	tap := agent.Tap{Steps: out.step}
	if f.sockets {
		tap.Frames = out.frame
	}
	err = agent.Record(ctx, cfg, tap)
	why := context.Cause(ctx)
	end := out.end()
	if out.progress != nil && isTerminal(stderr) {
		fmt.Fprintln(stderr)
	}
	switch {
	case err != nil:
		return errors.Join(err, end)
	case end != nil:
		return end
	case errors.Is(why, errFull):
		fmt.Fprintf(stderr, "foreshock: ended at --max-size %s\n", &f.maxSize)
	}
	fmt.Fprintf(stderr, "foreshock: %d looks, %s in %s\n", out.steps, size(out.file.Size()), path)
	if out.left > 0 {
		fmt.Fprintf(stderr, "foreshock: %d looks were left out: %v\n", out.left, out.leftErr)
	}
	return nil
}

// progress says how far it is, in a terminal alone.
func progress(stderr io.Writer, path string) func(steps int, bytes int64) {
	if !isTerminal(stderr) {
		return nil
	}
	return func(steps int, bytes int64) {
		fmt.Fprint(stderr, "\r\x1b[K", fit(fmt.Sprintf("%s: %d looks, %s", path, steps, size(bytes)), stderr))
	}
}

// errFull ends a recording that is as large as it may be.
var errFull = errors.New("the recording is full")

// recorded is a recording under way. The first error ends it.
type recorded struct {
	file     *recording.Writer
	encoder  *recording.Encoder
	mask     *recording.Anonymiser // nil: as it is
	maxSize  int64
	stop     context.CancelCauseFunc
	progress func(steps int, bytes int64) // nil: none

	steps, left int
	leftErr     error // why some were left out
	err         error
}

// create makes the file of a recording.
func (f *recordFlags) create(path string, mask *recording.Anonymiser, h recording.Header) (*recorded, error) {
	if mask != nil {
		h = mask.Header(h)
	}
	file, err := recording.Create(path, h, f.force)
	if errors.Is(err, fs.ErrExist) {
		return nil, errThere(path)
	}
	if err != nil {
		return nil, err
	}
	return &recorded{file: file, encoder: recording.NewEncoder(recording.Limits{}), mask: mask, maxSize: int64(f.maxSize)}, nil
}

func (r *recorded) step(s measure.Step) {
	if r.err != nil {
		return
	}
	if r.mask != nil {
		s = r.mask.Step(s)
	}
	done, err := r.encoder.Add(s)
	if !s.Left {
		r.steps++
	}
	r.took(done, err)
}

func (r *recorded) frame(f recording.Frame) {
	if r.err != nil {
		return
	}
	if r.mask != nil {
		f = r.mask.Frame(f)
	}
	r.took(r.encoder.AddFrame(f))
}

// took writes a finished segment.
func (r *recorded) took(done *recording.Segment, err error) {
	if err != nil {
		r.left++
		r.leftErr = err
	}
	if done == nil {
		return
	}
	if r.file.Size()+int64(len(done.Data))+indexRoom > r.maxSize {
		r.fail(errFull)
		return
	}
	if err := r.file.Write(*done); err != nil {
		r.fail(err)
		return
	}
	if r.progress != nil {
		r.progress(r.steps, r.file.Size())
	}
}

func (r *recorded) fail(err error) {
	r.err = err
	if r.stop != nil {
		r.stop(err)
	}
}

// end writes what is left and closes the file.
func (r *recorded) end() error {
	if r.err == nil {
		r.took(r.encoder.Flush(), nil)
	}
	err := r.file.Close()
	if r.err != nil && !errors.Is(r.err, errFull) {
		return fmt.Errorf("%w; what was written before can be read", r.err)
	}
	return err
}

// size is a number of bytes as people type and read it.
type size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}}

// String is in binary units, with one digit behind the point where there are
// more.
func (s size) String() string {
	for _, u := range sizeUnits[:3] {
		if int64(s) >= u.bytes {
			return strings.Replace(fmt.Sprintf("%.1f%s", float64(s)/float64(u.bytes), u.name), ".0", "", 1)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

// Set takes what String gives, and decimal units.
func (s *size) Set(text string) error {
	for _, u := range sizeUnits {
		number, found := strings.CutSuffix(text, u.name)
		if !found {
			continue
		}
		var v float64
		if n, err := fmt.Sscanf(number+" ", "%g", &v); n != 1 || err != nil || !(v*float64(u.bytes) >= 1 && v*float64(u.bytes) < 1<<62) {
			break
		}
		*s = size(v * float64(u.bytes))
		return nil
	}
	return fmt.Errorf("%q is no size: write a number and a unit, as 64MiB; the units are KB, MB, GB, KiB, MiB and GiB", text)
}

// Type is what help calls it.
func (s *size) Type() string { return "size" }

// beside is a file that is not there, in the directory of path.
func beside(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), ".foreshock-*.rec")
}
