package agent

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/foreshock/foreshock/internal/api"
)

// TestWhatHooksGetIsDocumented holds docs/RESPOND.md to the keys of what a hook
// gets and of the bundle.
func TestWhatHooksGetIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/RESPOND.md")
	if err != nil {
		t.Fatal(err)
	}
	for title, of := range map[string]reflect.Type{
		"### What a hook gets": reflect.TypeFor[HookInput](),
		"## The bundle":        reflect.TypeFor[api.Bundle](),
	} {
		_, text, found := strings.Cut(string(raw), "\n"+title)
		if !found {
			t.Fatalf("docs/RESPOND.md has no section %q", title)
		}
		text, _, _ = strings.Cut(text, "\n#")
		for f := range of.Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !strings.Contains(text, "`"+key+"`") {
				t.Errorf("%q of docs/RESPOND.md does not name the key %s", title, key)
			}
		}
	}
}
