package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/foreshock/foreshock/internal/recording/recordingtest"
	"github.com/foreshock/foreshock/internal/scope"
)

// made writes a recording of a host that never was, with faults: made FILE SPAN
// [KIND=SCOPE,FROM,TO …].
func made(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: made FILE SPAN [KIND=SCOPE,FROM,TO …]")
	}
	_, err := recordingtest.Write(ts.MkAbs(args[0]), recordingtest.New(madeHost(ts, args[1], args[2:])))
	ts.Check(err)
}

// madeHost is the host of that span and with those faults.
func madeHost(ts *testscript.TestScript, span string, faults []string) recordingtest.Config {
	after := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		ts.Check(err)
		return d
	}
	cfg := recordingtest.Config{Services: 2, Backends: 4, Span: after(span), Pulse: 250 * time.Millisecond, Focus: time.Second}
	kinds := map[string]recordingtest.Kind{"blackhole": recordingtest.Blackhole, "hang": recordingtest.Hang, "exhaust": recordingtest.Exhaust, "close": recordingtest.Close}
	for _, arg := range faults {
		kind, rest, _ := strings.Cut(arg, "=")
		parts := strings.Split(rest, ",")
		id, ok := scope.Parse(parts[0])
		if kinds[kind] == 0 || len(parts) != 3 || !ok {
			ts.Fatalf("fault %q", arg)
		}
		cfg.Faults = append(cfg.Faults, recordingtest.Fault{Kind: kinds[kind], Scope: id, From: after(parts[1]), To: after(parts[2])})
	}
	return cfg
}

// halve writes the first half of a file: cut FILE TO.
func halve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE TO")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data[:len(data)/2], 0o600))
}

// episodesDir has the labs' runs, with what is to be found in them.
const episodesDir = "../../testdata/episodes"

// TestEpisodes: what was to be found is found as when the golden score was
// written.
func TestEpisodes(t *testing.T) {
	var out, stderr bytes.Buffer
	code := run(t.Context(), []string{"score", episodesDir, "--golden", episodesDir + "/score.golden"}, nil, &out, &stderr)
	if code != exitDone { // where it takes long, how far it is goes to stderr
		t.Errorf("exit code %d:\n%s\n%s", code, &out, &stderr)
	}
}

// TestEpisodesPlayTheSame plays each twice: the same bytes come out, and on
// a faulty day some do.
func TestEpisodesPlayTheSame(t *testing.T) {
	files, err := filepath.Glob(episodesDir + "/*.rec")
	if err != nil || len(files) == 0 {
		t.Fatalf("no episode is there: %v", err)
	}
	for _, file := range files {
		var first, second, stderr bytes.Buffer
		for _, out := range []*bytes.Buffer{&first, &second} {
			if code := run(t.Context(), []string{"replay", file, "--output", "json"}, nil, out, &stderr); code != exitDone {
				t.Fatalf("%s: exit code %d: %s", file, code, &stderr)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s played twice (-first +second):\n%s", file, cmp.Diff(first.String(), second.String()))
		}
		if healthy := strings.HasPrefix(filepath.Base(file), "healthy-"); !healthy && first.Len() == 0 {
			t.Errorf("%s: nothing is found", file)
		}
	}
}
