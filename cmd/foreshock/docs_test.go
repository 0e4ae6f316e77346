package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPrintedDocs holds the copies in docs, which are for reading without the
// program, to what it prints.
func TestPrintedDocs(t *testing.T) {
	for file, what := range map[string]string{"foreshock.reference.yaml": "reference", "foreshock.schema.json": "schema"} {
		var printed, complaint bytes.Buffer
		if code := run(t.Context(), []string{"config", what}, nil, &printed, &complaint); code != 0 {
			t.Fatalf("config %s: code %d: %s", what, code, &complaint)
		}
		path := "../../docs/" + file
		if *update {
			if err := os.WriteFile(path, printed.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		copied, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(copied), printed.String()); diff != "" {
			t.Errorf("docs/%s is not what the program prints (-docs +program); make generate writes it:\n%s", file, diff)
		}
	}
}

// TestConfigurationsInDocs: what people copy is a configuration that holds. What
// it names on the host need not be there: config check says that, and no more.
func TestConfigurationsInDocs(t *testing.T) {
	whole := regexp.MustCompile("(?ms)^```yaml\n((?:name|notify|heartbeat|drain):.*?)^```")
	for file, want := range map[string]int{"README.md": 1, "docs/NOTICES.md": 2, "docs/RESPOND.md": 1, "docs/DRAIN.md": 1} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := whole.FindAllSubmatch(text, -1)
		if len(found) != want {
			t.Errorf("%s has %d configurations, want %d", file, len(found), want)
		}
		for _, block := range found {
			dir := t.TempDir()
			path := filepath.Join(dir, "foreshock.yaml")
			ranges := `{"prefixes": [{"ip_prefix": "198.51.100.0/24", "region": "eu-west-1", "service": "EC2"}]}`
			for name, text := range map[string]string{path: string(block[1]), filepath.Join(dir, "ip-ranges.json"): ranges} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var printed, complaint bytes.Buffer
			if code := run(t.Context(), []string{"config", "check", path}, nil, &printed, &complaint); code != 0 {
				t.Errorf("%s: code %d: %s\n%s", file, code, &complaint, block[1])
			}
		}
	}
}

// TestCommandsInReadme: each line of the README's list is a command with flags
// that there are, and each command is in it.
func TestCommandsInReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(text), "\n## Commands\n\n```sh\n")
	if !found {
		t.Fatal("README.md has no list of commands")
	}
	list, _, _ = strings.Cut(list, "```")
	seen := map[string]bool{"agent": true, "help": true, "version": true} // make run is the agent
	word := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(line, " #")
		args := word.FindAllString(line, -1)
		cmd, rest, err := newRoot().Find(args[1:])
		if err != nil || args[0] != "foreshock" || !cmd.HasParent() {
			t.Errorf("no command: %s: %v", line, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		seen[args[1]] = true
	}
	for _, cmd := range newRoot().Commands() {
		if !seen[cmd.Name()] {
			t.Errorf("the README's list has no foreshock %s", cmd.Name())
		}
	}
}
