package notify

import (
	"os"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/judge"
)

// TestEveryEndIsDocumented holds docs/NOTICES.md to the ends that are sent.
func TestEveryEndIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/NOTICES.md")
	if err != nil {
		t.Fatal(err)
	}
	_, ends, found := strings.Cut(string(raw), "`end`: ")
	if !found {
		t.Fatal("docs/NOTICES.md does not say what `end` may be")
	}
	ends, _, _ = strings.Cut(ends, "|")
	for _, end := range judge.Ends() {
		if !strings.Contains(ends, "`"+end.String()+"`") {
			t.Errorf("docs/NOTICES.md does not name the end %s among %s", end, ends)
		}
	}
}
