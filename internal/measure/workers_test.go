package measure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestSlowClients follows one connection second by second and says from when
// on, if ever, its client counts as slow.
func TestSlowClients(t *testing.T) {
	type at = func(age time.Duration) tcp.Info
	const never = -1
	tests := []struct {
		name string
		info at
		want int // seconds after the connection was first seen
	}{
		{"says nothing", func(time.Duration) tcp.Info { return tcp.Info{} }, 10},
		{"a header line each 8 s", func(age time.Duration) tcp.Info {
			return tcp.Info{BytesReceived: 100 + 20*uint64(age/(8*time.Second)), LastDataReceived: age % (8 * time.Second), LastDataSent: age, DataSegsIn: 5}
		}, 10},
		{"a whole request that waits for its answer", func(age time.Duration) tcp.Info {
			return tcp.Info{BytesReceived: 400, LastDataReceived: age, LastDataSent: age, DataSegsIn: 1}
		}, never},
		{"an upload", func(age time.Duration) tcp.Info {
			return tcp.Info{BytesReceived: 1000 + uint64(age.Seconds()*20_000), LastDataReceived: 0, LastDataSent: age, DataSegsIn: 50}
		}, never},
		{"keep-alive, a request each 5 s answered at once", func(age time.Duration) tcp.Info {
			since := age % (5 * time.Second)
			return tcp.Info{BytesReceived: 400, LastDataReceived: since + 50*time.Millisecond, LastDataSent: since, DataSegsIn: 3, DataSegsOut: 3}
		}, never},
		{"keep-alive, answered after 2 s, asked again each 5 s", func(age time.Duration) tcp.Info {
			since := age % (5 * time.Second)
			if since < 2*time.Second {
				return tcp.Info{BytesReceived: 400, LastDataReceived: since, LastDataSent: since + 3*time.Second, DataSegsIn: 3, DataSegsOut: 3}
			}
			return tcp.Info{BytesReceived: 400, LastDataReceived: since, LastDataSent: since - 2*time.Second, DataSegsIn: 3, DataSegsOut: 3}
		}, never},
		{"a server that speaks first", func(age time.Duration) tcp.Info {
			return tcp.Info{DataSegsOut: 1, LastDataSent: age, LastDataReceived: age}
		}, never},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tallier := tallierOf(web(), nil)
			got := never
			for second := range 60 {
				age := time.Duration(second) * time.Second
				s := tcp.Socket{
					Local: netip.MustParseAddrPort("127.0.0.1:80"), Remote: netip.MustParseAddrPort("192.0.2.7:4000"), State: tcp.Established,
					Inode: 5, Cookie: 9, Has: tcp.HasCookie | tcp.HasInfo, Info: tt.info(age),
				}
				y := count(tallier, look(tcp.Request{Tier: tcp.Focus, States: tcp.AllStates, Info: true}, begin.Add(age)), []tcp.Socket{s}).Scopes[0]
				if y.SlowClients > 0 && got == never {
					got = second
				}
				if got != never && (y.SlowClients != 1 || len(y.Prefixes) != 1 || y.Prefixes[0].Slow != 1) {
					t.Fatalf("after %d s %d slow clients, prefixes %v", second, y.SlowClients, y.Prefixes)
				}
			}
			if got != tt.want {
				t.Errorf("slow after %d s, want %d", got, tt.want)
			}
		})
	}
}

// TestTakenFromTheQueueIsNoLeak: a connection whose client gave up in the
// queue is the process's only from when it is accepted.
func TestTakenFromTheQueueIsNoLeak(t *testing.T) {
	tallier := tallierOf(web(), nil)
	var got []uint32
	for second := range 24 {
		s := tcp.Socket{Local: netip.MustParseAddrPort("127.0.0.1:80"), Remote: netip.MustParseAddrPort("192.0.2.7:4000"), State: tcp.CloseWait, Cookie: 1, Has: tcp.HasCookie}
		if second >= 12 {
			s.Inode = 7
		}
		y := count(tallier, look(tcp.Request{Tier: tcp.Full, States: tcp.AllStates}, begin.Add(time.Duration(second)*time.Second)), []tcp.Socket{s}).Scopes[0]
		if second >= 12 {
			got = append(got, y.Leaked)
		}
	}
	if diff := cmp.Diff([]uint32{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, got); diff != "" {
		t.Errorf("leaked, each second since it was accepted (-want +got):\n%s", diff)
	}
}

func TestLeakedAndStuck(t *testing.T) {
	tallier := tallierOf(web(), nil)
	at := func(state tcp.State, inode, cookie uint64) tcp.Socket {
		return tcp.Socket{Local: netip.MustParseAddrPort("127.0.0.1:80"), Remote: netip.MustParseAddrPort("192.0.2.7:4000"), State: state, Inode: inode, Cookie: cookie, Has: tcp.HasCookie}
	}
	retransmits := at(tcp.FinWait1, 0, 4)
	retransmits.Timer, retransmits.Retransmits = tcp.TimerRetransmit, 2
	sockets := []tcp.Socket{at(tcp.CloseWait, 5, 1), at(tcp.CloseWait, 0, 2), at(tcp.LastAck, 0, 3), retransmits}
	type counts struct{ Leaked, Stuck uint32 }
	var got []counts
	for _, second := range []int{0, 9, 11, 29, 31} {
		y := count(tallier, look(whole, begin.Add(time.Duration(second)*time.Second)), sockets).Scopes[0]
		got = append(got, counts{y.Leaked, y.StuckClosing})
	}
	// The CLOSE_WAIT in the queue is nobody's leak; LAST_ACK may take 30 s.
	want := []counts{{0, 1}, {0, 1}, {1, 1}, {1, 1}, {1, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leaked and stuck after 0, 9, 11, 29 and 31 s (-want +got):\n%s", diff)
	}
}

// TestPrefixesAgainstExactCounts compares the bounded counter with a plain
// map: who holds a tenth or more is named, with a count too large by at most a
// thirty-second of all.
func TestPrefixesAgainstExactCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var p prefixes
		exact := map[netip.Prefix]uint32{}
		total := uint32(0)
		heavy := 1 + rng.IntN(4)
		for range 50 + rng.IntN(3000) {
			third := byte(rng.IntN(heavy))
			if rng.IntN(3) == 0 {
				third = byte(rng.IntN(256))
			}
			addr := netip.AddrFrom4([4]byte{198, 51, third, byte(rng.IntN(256))})
			if rng.IntN(8) == 0 {
				addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, third, byte(rng.IntN(256)), 15: byte(rng.IntN(256))})
			}
			bits := 24
			if addr.Is6() {
				bits = 56
			}
			prefix, err := addr.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			exact[prefix]++
			total++
			p.add(addr, false)
		}
		named := map[netip.Prefix]uint32{}
		for _, h := range p.top() {
			named[h.Prefix] = h.Held
			if h.Held < exact[h.Prefix] || h.Held > exact[h.Prefix]+total/maxPrefixes {
				t.Errorf("round %d: %s holds %d of %d, counted %d", round, h.Prefix, exact[h.Prefix], total, h.Held)
			}
		}
		if len(named) == topPrefixes {
			continue // more may be heavy than are named
		}
		for prefix, n := range exact {
			if n*10 >= total && named[prefix] == 0 {
				t.Errorf("round %d: %s holds %d of %d and is not named", round, prefix, n, total)
			}
		}
	}
}

func TestTrendOfNoise(t *testing.T) {
	// Steady noise must hardly ever look like growth, also when neighbouring
	// samples are alike.
	for alike, most := range map[float64]float64{0: 0.01, 0.5: 0.02, 0.8: 0.04} {
		t.Run(fmt.Sprint(alike), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			w := NewWindow(fullInSpan, 64)
			value, beyond := 0.0, 0
			const samples = 20_000
			for i := range samples {
				value = alike*value + math.Sqrt(1-alike*alike)*rng.NormFloat64()
				w.Add(begin.Add(time.Duration(i)*time.Second), 10+value)
				if trend, ok := w.Trend(); ok && w.Covers() >= fullInSpan && trend.Beyond(fillingErrors) {
					beyond++
				}
			}
			if share := float64(beyond) / samples; share > most {
				t.Errorf("%.1f %% of all instants of steady noise look like growth, want at most %.0f %%", 100*share, 100*most)
			}
		})
	}
}

func TestForecast(t *testing.T) {
	// 4 workers and one more every 4 s: 20 are occupied 64 s later.
	m := New("")
	var v *View
	for second := range 41 {
		at := begin.Add(time.Duration(second) * time.Second)
		v = m.Step(at, focus(at, Tally{Accepted: uint32(4 + second/4), Capacity: Capacity{Held: scope.HeldByConnection, Workers: 20}}))
	}
	web := v.Scope(webID)
	if got := web.Get(WorkersFullIn); got.Validity != Known || math.Abs(got.Value-24) > 3 {
		t.Errorf("full in %+v, want 24 s", got)
	}
	if got := web.Get(WorkersFullInError); got.Validity != Known || got.Value > 10 {
		t.Errorf("± %+v, want a few seconds", got)
	}
	if got := web.Get(WorkersRise); got.Validity != Known || got.Value != 25 {
		t.Errorf("7 were occupied %+v ago, want 25 s", got)
	}
}

func TestUnknownLimitHasNoForecast(t *testing.T) {
	m := New("")
	var v *View
	for second := range 61 {
		at := begin.Add(time.Duration(second) * time.Second)
		v = m.Step(at, focus(at, Tally{Busy: uint32(second)}))
	}
	var got []string
	for _, sig := range []Signal{WorkersOccupied, WorkersLimit, WorkersFullIn, WorkersFullInError, WorkersFullInFast} {
		r := v.Scope(webID).Get(sig)
		got = append(got, fmt.Sprintf("%s %v %s", sig, r.Value, r.Validity))
	}
	want := []string{
		"workers_occupied 60 known", "workers_limit 0 no_limit", "workers_full_in_seconds 0 no_limit",
		"workers_full_in_error_seconds 0 no_limit", "workers_full_in_fast_seconds 0 no_limit",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLearnedLimit: only a stretch of 5 s with connections waiting teaches, and
// more that are served at once raise what was learned.
func TestLearnedLimit(t *testing.T) {
	m := New("")
	limit := func(from, seconds int, occupied uint32, depth uint64) string {
		var v *View
		for second := from; second < from+seconds; second++ {
			at := begin.Add(time.Duration(second) * time.Second)
			p := pulse(at, depth, uint64(second), 0)
			m.Step(at, p)
			v = m.Step(at, focus(at, Tally{Accepted: occupied, Queue: p.Scopes[0].Queue, Capacity: Capacity{Held: scope.HeldByConnection}}))
		}
		r := v.Scope(webID).Get(WorkersLimit)
		return fmt.Sprintf("%v %s", r.Value, r.Validity)
	}
	var got []string
	got = append(got,
		limit(0, 10, 20, 2),   // two may wait by chance
		limit(10, 4, 11, 30),  // too short
		limit(14, 10, 5, 0),   // the queue is empty again
		limit(24, 10, 20, 30), // long enough
		limit(34, 10, 5, 0),   // kept
		limit(44, 2, 24, 0),   // a reload gave it more
	)
	want := []string{"0 no_limit", "0 no_limit", "0 no_limit", "20 known", "20 known", "24 known"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCapacityIsInTheTally(t *testing.T) {
	services := web()
	services[0].Workers = scope.Workers{Held: scope.HeldByRequest, Limit: 400}
	services[0].Descriptors = scope.Descriptors{Used: 7, Limit: 1024}
	tallier := tallierOf(services, nil)
	want := Capacity{Held: scope.HeldByRequest, Workers: 400, DescriptorsUsed: 7, DescriptorsLimit: 1024}
	if diff := cmp.Diff(want, count(tallier, look(whole, begin), nil).Scopes[0].Capacity); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tallier.SetCapacity(0, Capacity{Workers: 5})
	got := count(tallier, look(whole, begin.Add(time.Second)), nil).Scopes
	if diff := cmp.Diff([]Capacity{{Workers: 5}, {}}, []Capacity{got[0].Capacity, got[1].Capacity}, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
}

// TestContradictedLimit: a limit that half as many again exceed for 30 s is not
// this server's, and is believed again once it has fitted for a minute.
func TestContradictedLimit(t *testing.T) {
	m := New("")
	second := 0
	limit := func(seconds int, occupied uint32) string {
		var v *View
		for range seconds {
			at := begin.Add(time.Duration(second) * time.Second)
			v = m.Step(at, focus(at, Tally{Busy: occupied, Capacity: Capacity{Held: scope.HeldByRequest, Workers: 20}}))
			second++
		}
		r := v.Scope(webID).Get(WorkersLimit)
		return fmt.Sprintf("%v %s", r.Value, r.Validity)
	}
	got := []string{limit(60, 28), limit(20, 60), limit(60, 10), limit(32, 60), limit(50, 10), limit(20, 10)}
	want := []string{"20 known", "20 known", "20 known", "20 contradicted", "20 contradicted", "20 known"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
