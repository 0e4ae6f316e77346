package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/judge"
	"github.com/foreshock/foreshock/internal/recording/label"
	"github.com/foreshock/foreshock/internal/rule"
)

// labelFlags is one call of label as it was typed.
type labelFlags struct {
	cause, scope, from, to, firstFailure, severity, note string
	or, follows                                          []string
	healthy                                              bool
}

func labelCommand() *cobra.Command {
	var f labelFlags
	cmd := &cobra.Command{
		Use:   "label FILE",
		Short: "Say what was wrong in a recording, for score",
		Long: `Writes down what was wrong in a recording, beside it in FILE` + label.Suffix + `: a cause, of
which scope, from when to when, and when a client failed first. Call it once for
each fault; a recording in which nothing is to be found is labelled --healthy.
Without any of these it prints the labels there are.

A time is RFC 3339, or +1m30s from the recording's start. Where the same fault
may rightly be called by another cause, name it with --or; what may come of it,
on the same scope or on one of another kind, with --follows: that counts neither
as found nor as false. The file is for people to read and to change.`,
		Example: `  foreshock label test.rec --cause path_lost --scope backend/shop/s1 --from +2m --to +3m --first-failure +2m4s
  foreshock label quiet.rec --healthy`,
		Args: oneFile("label takes one recording"),
	}
	asJSON := outputFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.cause, "cause", "", "what was wrong: path_lost, workers_full, …")
	flags.StringArrayVar(&f.or, "or", nil, "another cause that is right too; more than one may be given")
	flags.StringArrayVar(&f.follows, "follows", nil, "a cause that may come of it; more than one may be given")
	flags.StringVar(&f.scope, "scope", "", "what it was wrong with: backend/shop/s1, service/web, host")
	flags.StringVar(&f.from, "from", "", "when the fault began")
	flags.StringVar(&f.to, "to", "", "when it ended")
	flags.StringVar(&f.firstFailure, "first-failure", "", "when a client failed first, by its own log")
	flags.StringVar(&f.severity, "severity", "warning", "the least that counts as found: watch, warning or critical")
	flags.StringVar(&f.note, "note", "", "a word for people")
	flags.BoolVar(&f.healthy, "healthy", false, "nothing is to be found in it")
	var causes []string
	for _, c := range judge.Causes() {
		if c != judge.UserRule {
			causes = append(causes, c.String())
		}
	}
	for name, values := range map[string][]string{"cause": causes, "or": causes, "follows": causes, "severity": {"watch", "warning", "critical"}} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, name := range []string{"scope", "from", "to", "first-failure", "note"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		json, err := asJSON()
		if err != nil {
			return err
		}
		set := false
		for _, name := range []string{"cause", "or", "follows", "scope", "from", "to", "first-failure", "severity", "note", "healthy"} {
			set = set || flags.Changed(name)
		}
		if err := f.wellFormed(); set && err != nil {
			return err
		}
		path := args[0]
		b, err := surveyed(cmd.ErrOrStderr(), path)
		if err != nil {
			return err
		}
		text, there, err := readLabels(path, b)
		switch {
		case err != nil:
			return err
		case set:
			return f.write(path, text, there, b)
		case text == nil:
			return fmt.Errorf("%s has no labels: write one with --cause, --scope, --from and --to, or --healthy", path)
		}
		return printLabels(cmd.OutOrStdout(), there, json)
	}
	return cmd
}

// wellFormed refuses flags that do not belong together, before a long file is
// read.
func (f *labelFlags) wellFormed() error {
	whole := f.cause != "" && f.scope != "" && f.from != "" && f.to != ""
	part := f.cause+f.scope+f.from+f.to+f.firstFailure != "" || len(f.or)+len(f.follows) > 0
	switch {
	case f.healthy && part:
		return usage{errors.New("--healthy says that nothing is to be found: leave it or the cause out")}
	case !f.healthy && !whole:
		return usage{errors.New("a label takes --cause, --scope, --from and --to; a recording without a fault takes --healthy")}
	}
	return nil
}

// label is what the flags say, checked against the recording.
func (f *labelFlags) label(b label.Bounds) (l label.Label, err error) {
	fail := func(flag string, err error) (label.Label, error) {
		return label.Label{}, usage{fmt.Errorf("--%s: %w", flag, err)}
	}
	l.Note = f.note
	if l.Cause, err = label.Cause(f.cause); err != nil {
		return fail("cause", err)
	}
	for _, x := range []struct {
		flag  string
		names []string
		to    *[]judge.Cause
	}{{"or", f.or, &l.Or}, {"follows", f.follows, &l.Follows}} {
		for _, name := range x.names {
			c, err := label.Cause(name)
			if err != nil {
				return fail(x.flag, err)
			}
			*x.to = append(*x.to, c)
		}
	}
	if l.Scope, err = b.Scope(f.scope); err != nil {
		return fail("scope", err)
	}
	if l.Severity, err = rule.ParseSeverity(f.severity); err != nil {
		return fail("severity", err)
	}
	for _, x := range []struct {
		flag, text string
		to         *time.Time
	}{{"from", f.from, &l.From}, {"to", f.to, &l.To}, {"first-failure", f.firstFailure, &l.FirstFailure}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = b.Time(x.text); err != nil {
			return fail(x.flag, err)
		}
	}
	if key, err := b.Check(&l); err != nil {
		if key == "first_failure" {
			key = "first-failure"
		}
		return fail(key, err)
	}
	return l, nil
}

// write adds to the labels there are; text is their file's, nil where there is
// none.
func (f *labelFlags) write(path string, text []byte, there label.File, b label.Bounds) error {
	name := path + label.Suffix
	switch {
	case f.healthy && len(there.Labels) > 0:
		return fmt.Errorf("%s says what is wrong with it: remove the labels before you call it healthy", name)
	case f.healthy:
		there.Healthy, there.Note = true, f.note
		return replaceFile(name, there.Text())
	case there.Healthy:
		return fmt.Errorf("%s calls it healthy: remove that before you say what was wrong", name)
	}
	l, err := f.label(b)
	if err != nil {
		return err
	}
	if err := there.Clash(&l); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return replaceFile(name, there.Extend(name, text, l, b))
}

// maxLabels is how large a file of labels may be.
const maxLabels = config.MaxSize

// readLabels reads the labels of a recording; text is nil where there are none.
func readLabels(path string, b label.Bounds) (text []byte, f label.File, err error) {
	name := path + label.Suffix
	text, err = config.ReadPlain(name, maxLabels)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, label.File{}, nil
	}
	if err != nil {
		return nil, label.File{}, fmt.Errorf("read the labels: %w", err)
	}
	f, err = label.Parse(name, text, b)
	return text, f, err
}

// replaceFile puts a file in the place of one that may be there, whole or not at
// all.
func replaceFile(path string, data []byte) error {
	mode := fs.FileMode(0o640)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	t, err := os.CreateTemp(filepath.Dir(path), ".foreshock-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = t.Write(data)
	err = errors.Join(err, t.Chmod(mode), t.Close())
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		_ = os.Remove(t.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// jsonLabel is a label as JSON has it; what is not known is null.
type jsonLabel struct {
	Cause        string     `json:"cause"`
	Or           []string   `json:"or"`
	Follows      []string   `json:"follows"`
	Scope        string     `json:"scope"`
	From         time.Time  `json:"from"`
	To           time.Time  `json:"to"`
	FirstFailure *time.Time `json:"first_failure"`
	Severity     string     `json:"severity"`
	Note         string     `json:"note"`
}

func names(causes []judge.Cause) []string {
	out := make([]string, 0, len(causes))
	for _, c := range causes {
		out = append(out, c.String())
	}
	return out
}

func printLabels(out io.Writer, f label.File, asJSON bool) error {
	if !asJSON {
		_, err := out.Write(f.Text())
		return err
	}
	labels := []jsonLabel{}
	for _, l := range f.Labels {
		one := jsonLabel{Cause: l.Cause.String(), Or: names(l.Or), Follows: names(l.Follows), Scope: l.Scope.String(), From: l.From, To: l.To, Severity: l.Severity.String(), Note: l.Note}
		if !l.FirstFailure.IsZero() {
			one.FirstFailure = &l.FirstFailure
		}
		labels = append(labels, one)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Healthy bool        `json:"healthy"`
		Note    string      `json:"note"`
		Labels  []jsonLabel `json:"labels"`
	}{f.Healthy, f.Note, labels})
}
