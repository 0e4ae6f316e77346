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
	judged := map[Cause]bool{UserRule: true}
	for _, r := range New(1).rules {
		judged[r.cause] = true
	}
	for _, c := range Causes() {
		if !judged[c] {
			t.Errorf("nothing ever finds %s", c)
		}
		if !strings.Contains(string(raw), "### `"+c.String()+"`") {
			t.Errorf("docs/SIGNALS.md has no section on %s", c)
		}
	}
}
