// Package deploy holds what an operator installs; its test holds the unit to
// what the service manager understands.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestUnit lets systemd itself read the unit, with the program where it is.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing: install systemd")
	}
	raw, err := os.ReadFile("foreshock.service")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "foreshock")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(dir, "foreshock.service")
	text := strings.ReplaceAll(string(raw), "/usr/local/bin/foreshock", program)
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	verify := func(what string) {
		out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "foreshock.service") {
				t.Errorf("systemd-analyze verify, %s: %s", what, strings.TrimSpace(line))
			}
		}
		if err != nil && !t.Failed() {
			t.Fatalf("systemd-analyze verify, %s: %v, and not a word on our unit:\n%s", what, err, out)
		}
	}
	verify("the unit alone")

	dropIn, err := os.ReadFile("close-stale.conf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(unit+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(unit+".d", "close-stale.conf"), dropIn, 0o644); err != nil {
		t.Fatal(err)
	}
	verify("with close-stale.conf")
}

// TestPrivileges: the unit leaves out what only closing connections takes, and
// the drop-in adds that alone, to both sets.
func TestPrivileges(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^(AmbientCapabilities|CapabilityBoundingSet)=(.*)$`)
	for file, want := range map[string]string{
		"foreshock.service": "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_SYS_ADMIN",
		"close-stale.conf":  "CAP_NET_ADMIN",
	} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range lines.FindAllStringSubmatch(string(raw), -1) {
			got = append(got, m[1]+"="+m[2])
		}
		if want := []string{"AmbientCapabilities=" + want, "CapabilityBoundingSet=" + want}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

// TestExampleOfAHook: systemd reads the units beside the hook, and a shell its
// scripts.
func TestExampleOfAHook(t *testing.T) {
	scripts := []string{"respond/add-apache-workers", "respond/foreshock-apache-workers"}
	for _, script := range scripts {
		if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing: install systemd")
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, unit := range []string{"foreshock-apache-workers.path", "foreshock-apache-workers.service"} {
		raw, err := os.ReadFile("respond/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		there, err := filepath.Abs(scripts[1])
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), "/usr/local/sbin/foreshock-apache-workers", there)
		if err := os.WriteFile(filepath.Join(dir, unit), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, filepath.Join(dir, unit))
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "foreshock-apache-workers") {
			t.Errorf("systemd-analyze verify: %s", strings.TrimSpace(line))
		}
	}
	if err != nil && !t.Failed() {
		t.Fatalf("systemd-analyze verify: %v, and not a word on our units:\n%s", err, out)
	}
}

// TestRules lets Prometheus's own tool read what we ship and play the rules' tests, and
// holds the metrics they name to those that there are.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing: install prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "foreshock.rules.yaml"}, {"test", "rules", "foreshock.rules.test.yaml"}, {"check", "config", "--syntax-only", "scrape.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestRulesNameOurMetrics: a metric that was renamed would make an alert that
// never comes.
func TestRulesNameOurMetrics(t *testing.T) {
	rules, err := os.ReadFile("prometheus/foreshock.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../internal/metrics/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(raw)
	}
	names := regexp.MustCompile(`expr: .*`).FindAllString(string(rules), -1)
	metric := regexp.MustCompile(`foreshock_[a-z_]+`)
	found := 0
	for _, name := range metric.FindAllString(strings.Join(names, "\n"), -1) {
		found++
		if !strings.Contains(source.String(), `"`+name+`"`) {
			t.Errorf("the rules name %s, which is no metric of ours", name)
		}
	}
	if found < 7 {
		t.Errorf("only %d metrics are named", found)
	}
}
