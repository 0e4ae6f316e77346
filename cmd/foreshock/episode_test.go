package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/foreshock/foreshock/internal/recording/label"
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

// TestEpisodes: the labelled recordings of testdata/episodes are found as they
// were when their golden score was written.
func TestEpisodes(t *testing.T) {
	const dir = "../../testdata/episodes"
	there := false
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		there = there || strings.HasSuffix(path, label.Suffix)
		return nil
	})
	if !there {
		t.Skip("testdata/episodes has no labelled recording")
	}
	if _, err := os.Stat(dir + "/score.golden"); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"score", dir, "--golden", dir + "/score.golden"}, nil, &out, &stderr); code != exitDone {
		t.Errorf("exit code %d:\n%s\n%s", code, &out, &stderr)
	}
}
