package recording

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/tcp"
)

// same compares what was recorded with what was read: times by their instant,
// and a list that is empty with one that is not there.
var same = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateNaNs(),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b tcp.Counters) bool { return a == b }),
}

// change gives every leaf of a value, by reflection, another one with some
// probability, so that a field that somebody adds is filled without this test
// knowing it. What it cannot fill fails the test.
func change(t *rapid.T, v reflect.Value, often float64) {
	switch v.Interface().(type) {
	case time.Time, netip.Addr, netip.AddrPort, netip.Prefix, tcp.Counters:
		if rapid.Float64Range(0, 1).Draw(t, "p") < often {
			v.Set(reflect.ValueOf(leaf(t, v.Interface())))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Field(i).CanSet() {
				t.Fatalf("%s.%s is not exported: teach this test how to fill it", v.Type(), v.Type().Field(i).Name)
			}
			change(t, v.Field(i), often)
		}
	case reflect.Array:
		for i := range v.Len() {
			change(t, v.Index(i), often)
		}
	case reflect.Slice:
		n := v.Len()
		if rapid.Float64Range(0, 1).Draw(t, "p") < often {
			n = rapid.IntRange(0, 3).Draw(t, "length")
		}
		next := reflect.MakeSlice(v.Type(), n, n)
		reflect.Copy(next, v)
		v.Set(next)
		for i := range n {
			share := often
			if i >= v.Len() {
				share = 1
			}
			change(t, v.Index(i), share)
		}
	default:
		if rapid.Float64Range(0, 1).Draw(t, "p") < often {
			number := rapid.SampledFrom([]uint64{0, 1, 2, 7, 100, 255, 65535, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1, uint64(time.Second), uint64(3 * time.Millisecond)})
			v.Set(scalar(t, v.Type(), number.Draw(t, "number")))
		}
	}
}

// scalar is a value of a type, of the same bits as n where it has so many.
func scalar(t *rapid.T, of reflect.Type, n uint64) reflect.Value {
	v := reflect.New(of).Elem()
	if of == reflect.TypeFor[measure.Signal]() {
		n %= uint64(measure.NumSignals) // another one has no number to be stored by
	}
	switch of.Kind() {
	case reflect.Bool:
		v.SetBool(n&1 == 1)
	case reflect.String:
		v.SetString([]string{"", "web", "shop/s1", "\x00\xff"}[n%4])
	case reflect.Float64:
		v.SetFloat(float64(n) / 3)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(n & (1<<of.Bits() - 1))
	default:
		t.Fatalf("a field of kind %s: teach this test how to fill it", of.Kind())
	}
	return v
}

var addresses = []netip.Addr{
	{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::"),
}

func leaf(t *rapid.T, of any) any {
	addr := rapid.SampledFrom(addresses).Draw(t, "address")
	switch of.(type) {
	case time.Time:
		return rapid.SampledFrom([]time.Time{{}, time.Unix(1795000000, 123456789), time.Unix(1795000000, 0), time.Unix(-1, 999999999), time.Unix(1<<40, 1)}).Draw(t, "time").UTC()
	case netip.Addr:
		return addr
	case netip.AddrPort:
		return netip.AddrPortFrom(addr, rapid.Uint16().Draw(t, "port"))
	case netip.Prefix:
		return netip.PrefixFrom(addr, rapid.SampledFrom([]int{0, 24, 32, 56, 128, 200}).Draw(t, "bits"))
	default:
		var c tcp.Counters
		for n := range tcp.Counter(tcp.NumCounters) {
			if rapid.Bool().Draw(t, "seen") {
				c.Set(n, rapid.Uint64().Draw(t, "counter"))
			}
		}
		return c
	}
}

// drawSteps makes a row of steps, each much as one before it.
func drawSteps(t *rapid.T) []measure.Step {
	var out []measure.Step
	wild := measure.Step{}
	n := rapid.IntRange(1, 8).Draw(t, "steps")
	for len(out) < n {
		s := wild
		if len(out) > 0 {
			s = copyOf(out[rapid.IntRange(0, len(out)-1).Draw(t, "like")])
		}
		change(t, reflect.ValueOf(&s).Elem(), rapid.SampledFrom([]float64{0, 0.05, 0.5, 1}).Draw(t, "often"))
		if s.Left {
			s = measure.Step{Namespace: s.Namespace, At: s.At, Offset: s.Offset, Left: true}
		}
		// Segments say when they are from in nanoseconds.
		s.Offset %= time.Hour
		out = append(out, s)
	}
	return out
}

// copyOf returns a step that shares nothing with another.
func copyOf(s measure.Step) measure.Step {
	return deepCopy(reflect.ValueOf(s)).Interface().(measure.Step)
}

func deepCopy(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(deepCopy(v.Index(i)))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if out.Field(i).CanSet() {
				out.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
	}
	return out
}

// encode returns the segments of a row of steps.
func encode(t testing.TB, limits Limits, steps []measure.Step) []Segment {
	t.Helper()
	e := NewEncoder(limits)
	var out []Segment
	for _, s := range steps {
		done, err := e.Add(s)
		if err != nil {
			t.Fatal(err)
		}
		if done != nil {
			out = append(out, *done)
		}
	}
	if done := e.Flush(); done != nil {
		out = append(out, *done)
	}
	return out
}

// decode returns copies of the steps of segments.
func decode(t testing.TB, segments []Segment) []measure.Step {
	t.Helper()
	var out []measure.Step
	for _, s := range segments {
		if err := Decode(s.Data, func(s measure.Step) error { out = append(out, copyOf(s)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
