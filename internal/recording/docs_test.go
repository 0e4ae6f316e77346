package recording

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

var update = flag.Bool("update", false, "write the lists of columns in docs/RECORDING.md anew")

// TestColumnsAreDocumented holds the lists of docs/RECORDING.md to what the
// codec writes, field by field, and every number of a value to a column.
func TestColumnsAreDocumented(t *testing.T) {
	const file = "../../docs/RECORDING.md"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tally := columnsOf(t, new(measure.Tally), tallyColumns, func(x *columns, v any) { x.tally(v.(*measure.Tally)) })
	socket := columnsOf(t, new(tcp.Socket), socketColumns, func(x *columns, v any) { x.socket(v.(*tcp.Socket)) })
	type header struct {
		Look     tcp.Look
		Interval time.Duration
	}
	look := columnsOf(t, new(header), lookColumns, func(x *columns, v any) {
		x.look(&v.(*header).Look, &v.(*header).Interval, time.Time{})
	})
	want := string(raw)
	for what, list := range map[string]string{
		"header": listOf(look, 0), "tally": listOf(tally, tallyDurations), "socket": listOf(socket, socketDurations),
	} {
		begin, end := "<!-- columns of a "+what+" -->\n", "<!-- end -->"
		before, rest, found := strings.Cut(want, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no place for the columns of a %s", file, what)
		}
		want = before + begin + list + end + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(raw), want); diff != "" {
		t.Errorf("the columns are others than in %s (-docs +program): those that are there must stay, or it is another version of the format; -update writes the lists\n%s", file, diff)
	}
}

// listOf is how a row of columns is written: in lines of eight, arrays as one.
func listOf(names []string, durations int) string {
	var parts []string
	for i := 0; i < len(names); i++ {
		array, first, _ := strings.Cut(names[i], "[")
		last := i
		for last+1 < len(names) && first != "" && strings.HasPrefix(names[last+1], array+"[") {
			last++
		}
		switch {
		case last > i:
			parts = append(parts, fmt.Sprintf("%d–%d %s[0–%d]", i, last, array, last-i))
		case i < durations:
			parts = append(parts, fmt.Sprintf("%d %s, a duration", i, names[i]))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", i, names[i]))
		}
		i = last
	}
	return strings.Join(parts, " · ") + "\n"
}

// columnsOf finds the column of each number of a value: the one that is another
// when the number is.
func columnsOf(t *testing.T, value any, n int, take func(*columns, any)) []string {
	t.Helper()
	row := func() []uint64 {
		x := columns{values: make([]uint64, n)}
		take(&x, value)
		if x.at != n {
			t.Fatalf("%T has %d columns, not %d", value, x.at, n)
		}
		return x.values
	}
	names := make([]string, n)
	zero := row()
	note := func(name string) {
		for i, v := range row() {
			if v != zero[i] {
				if names[i] != "" {
					t.Errorf("column %d is %s, and %s too", i, names[i], name)
				}
				names[i] = name
			}
		}
	}
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		switch x := v.Addr().Interface().(type) {
		case *time.Time:
			*x = x.Add(time.Hour)
			note(name + ", seconds")
			v.Set(was)
			*x = x.Add(time.Nanosecond)
			note(name + ", nanoseconds")
			v.Set(was)
			return
		case *tcp.Counters:
			for c := range tcp.Counter(tcp.NumCounters) {
				x.Set(c, 0)
			}
			note(name + " that were seen, bit n for the nth below")
			zero = row()
			for c := range tcp.Counter(tcp.NumCounters) {
				x.Set(c, 1)
				note(name + " " + c.String())
				x.Set(c, 0)
			}
			v.Set(was)
			zero = row()
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() && (name != "" || v.Type().Field(i).Name != "Scope") {
					walk(v.Field(i), strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."))
				}
			}
		case reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i), fmt.Sprintf("%s[%d]", name, i))
			}
		case reflect.Slice, reflect.String: // not columns
		default:
			v.Set(one(v.Type()))
			note(name)
			v.Set(was)
		}
	}
	walk(reflect.ValueOf(value).Elem(), "")
	for i, name := range names {
		if name == "" {
			t.Errorf("column %d of %T is no field's", i, value)
		}
	}
	return names
}

func one(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch {
	case of.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	default:
		v.SetUint(1)
	}
	return v
}
