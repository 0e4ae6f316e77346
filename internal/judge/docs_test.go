package judge

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEveryCauseIsDocumented holds docs/SIGNALS.md to the list of causes, and
// the tables of their triggers to severity, hold and observations.
func TestEveryCauseIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/SIGNALS.md")
	if err != nil {
		t.Fatal(err)
	}
	triggers := map[Cause][]string{UserRule: nil, AgentTrouble: nil}
	for _, r := range slices.Concat(slices.Collect(maps.Values(causeRules()))...) {
		for _, tr := range r.triggers {
			triggers[r.cause] = append(triggers[r.cause], fmt.Sprint(tr.severity, " ", tr.hold, " ", tr.observations))
		}
	}
	for _, c := range Causes() {
		want, judged := triggers[c]
		if !judged {
			t.Errorf("nothing ever finds %s", c)
		}
		_, section, found := strings.Cut(string(raw), "### `"+c.String()+"`")
		if !found {
			t.Errorf("docs/SIGNALS.md has no section on %s", c)
		}
		section, _, _ = strings.Cut(section, "\n### ")
		section, _, _ = strings.Cut(section, "\n## ")
		// A cause of services and of backends may have one table for both.
		slices.Sort(want)
		want = slices.Compact(want)
		have := tableOfTriggers(t, section)
		slices.Sort(have)
		if diff := cmp.Diff(want, slices.Compact(have)); diff != "" {
			t.Errorf("triggers of %s (-code +docs/SIGNALS.md):\n%s", c, diff)
		}
	}
}

// tableOfTriggers reads severity, hold and observations of the rows.
func tableOfTriggers(t *testing.T, section string) []string {
	t.Helper()
	var out []string
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| trigger") {
			continue
		}
		hold, err := time.ParseDuration(strings.ReplaceAll(strings.TrimSpace(cells[3]), " ", ""))
		if err != nil {
			t.Errorf("row %q: %v", line, err)
		}
		out = append(out, fmt.Sprint(strings.TrimSpace(cells[2]), " ", hold, " ", strings.TrimSpace(cells[4])))
	}
	return out
}

// TestWhatExplainsWhatIsDocumented holds the table of docs/SIGNALS.md to what
// comes of each cause, and how long before.
func TestWhatExplainsWhatIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/SIGNALS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## What explains what\n")
	section, _, _ = strings.Cut(section, "\n## ")
	want, got := map[string]string{}, map[string]string{}
	for c, of := range byRegion {
		want["`"+c.String()+"` of a region"] = fmt.Sprintf("%v %s", of.causes, of.within)
	}
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(line, "| `") || strings.HasPrefix(line, "| `local_fault`") {
			continue
		}
		explains := strings.TrimSpace(cells[2])
		if explains == "of the backends in it: the same" {
			explains = fmt.Sprintf("%v", ofLostWay)
		}
		names := strings.Fields(strings.NewReplacer("`", "", ",", "", "[", "", "]", "").Replace(explains))
		within, err := time.ParseDuration(strings.ReplaceAll(strings.TrimSpace(cells[3]), " ", ""))
		if err != nil {
			t.Fatalf("row %q: %v", line, err)
		}
		got[strings.TrimSpace(cells[1])] = fmt.Sprintf("%v %s", names, within)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what explains what (-code +docs/SIGNALS.md):\n%s", diff)
	}
}
