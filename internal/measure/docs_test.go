package measure

import (
	"os"
	"strings"
	"testing"
)

// TestEverySignalIsDocumented holds docs/SIGNALS.md to the list of signals.
func TestEverySignalIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/SIGNALS.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range Signals() {
		d := s.Definition()
		if d.Name == "" || d.Unit == "" || d.Help == "" || d.Tier == 0 {
			t.Errorf("signal %d is not defined: %+v", s, d)
		}
		if names[d.Name] {
			t.Errorf("two signals are called %s", d.Name)
		}
		names[d.Name] = true
		if !strings.Contains(string(raw), "`"+d.Name+"`") {
			t.Errorf("docs/SIGNALS.md does not name %s", d.Name)
		}
		if d.Unit == UnitSeconds != strings.HasSuffix(d.Name, "_seconds") || (d.Unit == UnitPerSecond) != strings.HasSuffix(d.Name, "_per_second") {
			t.Errorf("signal %s does not end in its unit, %s", d.Name, d.Unit)
		}
	}
}
