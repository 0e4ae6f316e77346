package main

import (
	"bytes"
	"os"
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
