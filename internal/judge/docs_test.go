package judge

import (
	"os"
	"strings"
	"testing"
)

// TestEveryCauseIsDocumented holds docs/SIGNALS.md to the list of causes and
// their severities.
func TestEveryCauseIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/SIGNALS.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := New(1).rules
	if len(rules) != len(Causes()) {
		t.Errorf("%d rules for %d causes", len(rules), len(Causes()))
	}
	for _, r := range rules {
		if !strings.Contains(string(raw), "### `"+r.cause.String()+"`") {
			t.Errorf("docs/SIGNALS.md has no section on %s", r.cause)
		}
	}
}
