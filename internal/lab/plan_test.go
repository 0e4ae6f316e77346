package lab

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestArrivals(t *testing.T) {
	ms := func(values ...int) []time.Duration {
		var all []time.Duration
		for _, v := range values {
			all = append(all, time.Duration(v)*time.Millisecond)
		}
		return all
	}
	for _, test := range []struct {
		name     string
		points   []RatePoint
		duration time.Duration
		limit    int
		want     []time.Duration
	}{
		{"steady", []RatePoint{{0, 4}}, time.Second, 100, ms(125, 375, 625, 875)},
		{"limited", []RatePoint{{0, 4}}, time.Second, 2, ms(125, 375)},
		{"a late first point reaches back", []RatePoint{{time.Second, 2}}, time.Second, 100, ms(250, 750)},
		{"silence", []RatePoint{{0, 0}}, time.Hour, 100, nil},
		// The integral of 2t is t²: one half at 0.707 s, one and a half at
		// 1.225 s, …
		{"from nothing", []RatePoint{{0, 0}, {2 * time.Second, 4}}, 2 * time.Second, 100, ms(707, 1225, 1581, 1871)},
		{"down to nothing", []RatePoint{{0, 4}, {2 * time.Second, 0}}, 10 * time.Second, 100, ms(129, 419, 775, 1293)},
		{"cut within a ramp", []RatePoint{{0, 0}, {2 * time.Second, 4}}, time.Second, 100, ms(707)},
		{"two slopes", []RatePoint{{0, 1}, {time.Second, 1}, {2 * time.Second, 3}}, 2 * time.Second, 100, ms(500, 1366, 1823)},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := newRamp(test.points)
			if err != nil {
				t.Fatal(err)
			}
			var got []time.Duration
			for _, at := range r.arrivals(test.duration, test.limit, nil) {
				got = append(got, at.Round(time.Millisecond))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("arrivals (-want +got):\n%s", diff)
			}
		})
	}
	for name, points := range map[string][]RatePoint{
		"none": nil, "negative": {{0, -1}}, "too fast": {{0, 2e6}}, "not in order": {{time.Second, 1}, {time.Second, 2}}, "before the start": {{-1, 1}},
	} {
		if _, err := newRamp(points); err == nil {
			t.Errorf("ramp with %s is accepted", name)
		}
	}
}

// TestArrivalsMatchSlowTwin compares the closed form with small steps through
// the rate: as many arrivals, in order, within the load.
func TestArrivalsMatchSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := []RatePoint{{PerSecond: rapid.Float64Range(0, 50).Draw(t, "first")}}
		for range rapid.IntRange(0, 4).Draw(t, "more") {
			points = append(points, RatePoint{
				At:        points[len(points)-1].At + time.Duration(rapid.IntRange(100, 5000).Draw(t, "step"))*time.Millisecond,
				PerSecond: rapid.Float64Range(0, 50).Draw(t, "rate"),
			})
		}
		duration := time.Duration(rapid.IntRange(1, 20_000).Draw(t, "duration")) * time.Millisecond
		r, err := newRamp(points)
		if err != nil {
			t.Fatal(err)
		}
		area, step := 0.0, time.Millisecond
		for at := step / 2; at < duration; at += step {
			area += r.at(at) * step.Seconds()
		}
		due := r.arrivals(duration, 1<<20, nil)
		if got, want := float64(len(due)), area; got < want-1.01 || got > want+1.01 {
			t.Fatalf("%v arrivals, want about %v of %v", got, want, r)
		}
		random := r.arrivals(duration, 1<<20, rand.New(rand.NewPCG(1, 0)))
		for _, list := range [][]time.Duration{due, random} {
			for i, at := range list {
				if at < 0 || at > duration || i > 0 && at < list[i-1] {
					t.Fatalf("arrival %d at %v: %v", i, at, list)
				}
			}
		}
		if diff := cmp.Diff(random, r.arrivals(duration, 1<<20, rand.New(rand.NewPCG(1, 0)))); diff != "" {
			t.Fatalf("one seed, two sequences:\n%s", diff)
		}
	})
}

func TestSummarize(t *testing.T) {
	begin := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	record := func(at time.Duration, total float64, outcome Outcome) Record {
		return Record{Start: begin.Add(at), Mono: int64(time.Hour + at), TotalMS: total, Outcome: outcome}
	}
	// In the order they ended, as in a log.
	records := []Record{
		record(100*time.Millisecond, 50, OK),
		record(0, 500, OK),
		record(1200*time.Millisecond, 10, Refused),
		record(200*time.Millisecond, 2500, OK),
		record(300*time.Millisecond, 10000, Timeout),
	}
	want := Summary{
		Requests:    5,
		Outcomes:    map[Outcome]int{OK: 3, Refused: 1, Timeout: 1},
		FirstSlow:   begin.Add(2200 * time.Millisecond),
		FirstFailed: begin.Add(1210 * time.Millisecond),
	}
	if diff := cmp.Diff(want, Summarize(records, 2*time.Second)); diff != "" {
		t.Errorf("Summarize (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Summary{Outcomes: map[Outcome]int{}}, Summarize(nil, time.Second)); diff != "" {
		t.Errorf("Summarize of nothing (-want +got):\n%s", diff)
	}
}

const logText = `{"start":"2026-11-21T04:00:00.1Z","mono_ns":3600000000000,"connect_ms":0.1,"total_ms":500.2,"outcome":"ok","status":200}
{"start":"2026-11-21T04:00:00.2Z","mono_ns":3600100000000,"connect_ms":0,"total_ms":0.3,"outcome":"refused","error":"connection refused","later":"field"}
{"start":"2026-11-21T04:00:0`

func TestReadRecords(t *testing.T) {
	got, err := ReadRecords(strings.NewReader(logText))
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{Start: time.Date(2026, 11, 21, 4, 0, 0, 1e8, time.UTC), Mono: 3600e9, ConnectMS: 0.1, TotalMS: 500.2, Outcome: OK, Status: 200},
		{Start: time.Date(2026, 11, 21, 4, 0, 0, 2e8, time.UTC), Mono: 36001e8, TotalMS: 0.3, Outcome: Refused, Error: "connection refused"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ReadRecords (-want +got):\n%s", diff)
	}
	if _, err := ReadRecords(strings.NewReader("{}\nnonsense\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("ReadRecords of nonsense: %v, want its line", err)
	}
}

// FuzzReadRecords: no panic, nothing with an error, and a summary that counts
// every record.
func FuzzReadRecords(f *testing.F) {
	f.Add([]byte(logText))
	f.Fuzz(func(t *testing.T, text []byte) {
		records, err := ReadRecords(bytes.NewReader(text))
		if err != nil && records != nil {
			t.Errorf("%d records with error %v", len(records), err)
		}
		if n := bytes.Count(text, []byte("\n")); err == nil && len(records) != n {
			t.Errorf("%d records of %d lines", len(records), n)
		}
		counted := 0
		for _, n := range Summarize(records, time.Second).Outcomes {
			counted += n
		}
		if counted != len(records) {
			t.Errorf("summary counts %d of %d records", counted, len(records))
		}
	})
}

func TestSynPacket(t *testing.T) {
	p := synPacket(netip.MustParseAddrPort("198.18.0.2:1024"), netip.MustParseAddrPort("10.77.0.1:20000"), 0x01020304)
	if got := binary.BigEndian.Uint16(p[2:]); int(got) != len(p) {
		t.Errorf("length field %d, want %d", got, len(p))
	}
	// A receiver's check: with the checksum in place the sum is all ones.
	sum := checksum(0, p[12:20])
	sum = checksum(sum, []byte{0, 6, 0, 20})
	if sum = checksum(sum, p[20:]); sum != 0xffff {
		t.Errorf("a receiver's checksum is %#x, want 0xffff", sum)
	}
}

func TestTake(t *testing.T) {
	left := OddSockets{TimeWait: 250_000, CloseWait: 30, SynSent: 20, SynRecv: 30_000}
	var parts []OddSockets
	for left != (OddSockets{}) {
		parts = append(parts, left.take(40))
	}
	want := []OddSockets{
		{TimeWait: 200_000, CloseWait: 30, SynSent: 10, SynRecv: maxSynRecv},
		{TimeWait: 50_000, SynSent: 10, SynRecv: 30_000 - maxSynRecv},
	}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Errorf("take (-want +got):\n%s", diff)
	}
}

func TestLoadRefused(t *testing.T) {
	good := Load{URL: "http://192.0.2.1/", Rate: []RatePoint{{PerSecond: 1}}, Duration: time.Second}
	if _, err := good.withDefaults(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Load){
		"https":             func(l *Load) { l.URL = "https://192.0.2.1/" },
		"a host name":       func(l *Load) { l.URL = "http://localhost/" },
		"IPv4 as IPv6":      func(l *Load) { l.URL = "http://[::ffff:192.0.2.1]/" },
		"no rate":           func(l *Load) { l.Rate = nil },
		"no duration":       func(l *Load) { l.Duration = 0 },
		"an endless load":   func(l *Load) { l.Duration = MaxLoad + 1 },
		"negative patience": func(l *Load) { l.Timeout = -1 },
		"too many kept":     func(l *Load) { l.KeepAlive, l.Connections = true, idleConnections+1 },
		"none of the kept":  func(l *Load) { l.Connections = 1 },
		"fresh each -1":     func(l *Load) { l.FreshEvery = -1 },
	} {
		l := good
		change(&l)
		if _, err := l.withDefaults(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
