package notify

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// TestTheJSONIsDocumented holds the two tables of docs/NOTICES.md to the keys of
// a notice and of its incidents, in both directions, and each row of a list to
// the keys of what it lists.
func TestTheJSONIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/NOTICES.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(raw), "\n## The webhook's JSON")
	if !found {
		t.Fatal("docs/NOTICES.md has no section on the webhook's JSON")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	envelope, incidents, found := strings.Cut(text, "\nEach of `incidents`:")
	if !found {
		t.Fatal("docs/NOTICES.md does not describe the incidents of a notice")
	}
	for _, table := range []struct {
		name, text string
		of         reflect.Type
	}{{"notice", envelope, reflect.TypeFor[Notice]()}, {"incident", incidents, reflect.TypeFor[Item]()}} {
		rows := rowsOf(table.text)
		documented, want := map[string]bool{}, map[string]bool{}
		for key := range rows {
			documented[key] = true
		}
		for f := range table.of.Fields() {
			key := jsonKey(f)
			want[key] = true
			if f.Type.Kind() != reflect.Slice || f.Type.Elem().Kind() != reflect.Struct || f.Type.Elem() == reflect.TypeFor[Item]() {
				continue
			}
			for of := range f.Type.Elem().Fields() {
				if inner := jsonKey(of); !strings.Contains(rows[key], "`"+inner+"`") {
					t.Errorf("%s: the row of %s does not name its key %s", table.name, key, inner)
				}
			}
		}
		if diff := cmp.Diff(want, documented); diff != "" {
			t.Errorf("keys of a %s (-JSON +docs/NOTICES.md):\n%s", table.name, diff)
		}
	}
}

func jsonKey(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// rowsOf are the rows of the tables in a text by each key of their first column.
func rowsOf(text string) map[string]string {
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|(.*)$").FindAllStringSubmatch(text, -1) {
		for _, key := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
			rows[key[1]] = row[2]
		}
	}
	return rows
}
