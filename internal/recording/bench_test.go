package recording

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// balancer is a host with so many backends under load, looked at as the agent
// does: a pulse four times a second, all sockets once, those that are not
// established once.
type balancer struct {
	random   *rand.Rand
	at       time.Time
	full     []measure.Tally
	odd      []measure.Tally
	pulse    []measure.Tally
	counters tcp.Counters
	tick     int
}

func newBalancer(backends int) *balancer {
	b := &balancer{random: rand.New(rand.NewPCG(1, 2)), at: start}
	service := measure.Tally{Scope: scope.ID{Kind: scope.KindService, Name: "haproxy:443"}, Queue: measure.Queue{Listeners: 1, Limit: 4096, Set: 1 << 60}}
	service.Capacity = measure.Capacity{Held: scope.HeldByRequest, DescriptorsUsed: 5000, DescriptorsLimit: 65536}
	all := []measure.Tally{service}
	for i := range backends {
		group := fmt.Sprintf("pool%d", i/10)
		all = append(all, measure.Tally{
			Scope: scope.ID{Kind: scope.KindBackend, Name: fmt.Sprintf("%s/s%d", group, i%10)}, Group: group,
			Capacity: measure.Capacity{Ports: 28232, TimeWaitReused: true},
		})
	}
	all = append(all, measure.Tally{Scope: scope.Rest})
	b.full, b.odd, b.pulse = all, append([]measure.Tally(nil), all...), append([]measure.Tally(nil), all...)
	return b
}

// next is the next look: of each second four pulses, a look at the odd states
// and one at all.
func (b *balancer) next() measure.Step {
	around := func(mean int) uint32 { return uint32(max(0, mean+int(b.random.NormFloat64()*float64(mean)/12))) }
	jitter := time.Duration(b.random.IntN(2_000_000))
	look := tcp.Look{Namespace: 4026531840, Reader: "sock_diag", Abilities: tcp.AllAbilities, Completeness: tcp.Complete}
	var of []measure.Tally
	interval := time.Second
	switch b.tick % 6 {
	default:
		b.at = start.Add(time.Duration(b.tick/6)*time.Second + time.Duration(b.tick%6)*250*time.Millisecond + jitter)
		of, interval = b.pulse, 250*time.Millisecond
		look.Request = tcp.Request{Tier: tcp.Pulse, States: tcp.ListenOnly}
		for n := range tcp.Counter(tcp.NumCounters) {
			v, _ := b.counters.Get(n)
			b.counters.Set(n, v+uint64(b.random.IntN(2000)))
		}
		look.Counters = b.counters
		of[0].Queue.Depth = uint64(b.random.IntN(4))
	case 4:
		of = b.odd
		look.Request = tcp.Request{Tier: tcp.Odd, States: tcp.OddStates}
		b.states(of, around)
		for i := range of {
			of[i].States[tcp.Established] = 0
		}
	case 5:
		of = b.full
		look.Request = tcp.Request{Tier: tcp.Full, States: tcp.AllStates, Info: true}
		b.states(of, around)
		b.loads(of, around, jitter)
	}
	b.tick++
	look.Begin, look.Duration, look.CPU = b.at, 9*time.Millisecond+jitter, 8*time.Millisecond+jitter/2
	look.Sockets, look.Bytes = int(around(8000)), int64(around(8000))*232
	return measure.Step{At: b.at, Tallies: measure.Tallies{Look: look, Interval: interval, Scopes: of}}
}

func (b *balancer) states(of []measure.Tally, around func(int) uint32) {
	for i := range of {
		y := &of[i]
		y.States[tcp.TimeWait], y.States[tcp.Established] = around(60), around(80)
		y.States[tcp.FinWait2], y.States[tcp.SynSent] = uint32(b.random.IntN(2)), uint32(b.random.IntN(20)/19)
	}
}

func (b *balancer) loads(of []measure.Tally, around func(int) uint32, jitter time.Duration) {
	for i := range of {
		y := &of[i]
		y.Accepted = y.States[tcp.Established]
		y.Flows = measure.Flows{Known: true, New: around(30), Gone: around(30), Since: time.Second + jitter, Scale: 1}
		y.Pending = around(12)
		y.Peer = measure.Peer{
			Answering: around(70), HeardAgo: time.Duration(b.random.IntN(12)) * time.Millisecond, ByChance: uint32(b.random.IntN(4)),
			LongestPending: time.Duration(20+b.random.IntN(300)) * time.Millisecond, Sent: around(200), Finished: around(28), TimeWaitFree: around(55),
			Resent: uint32(b.random.IntN(40) / 38),
		}
		y.Peer.Answers = measure.Histogram{around(50), around(12), around(5), uint32(b.random.IntN(3)), uint32(b.random.IntN(10) / 9)}
		y.PendingFor = measure.Histogram{around(9), around(2), uint32(b.random.IntN(2))}
	}
}

// BenchmarkEncode is a balancer's looks, in segments of 10 s: those of the agent,
// six a second, and looks at all sockets alone, one a second. Per operation one
// tally.
func BenchmarkEncode(b *testing.B) {
	for _, backends := range []int{10, 98} {
		for _, fullOnly := range []bool{false, true} {
			b.Run(fmt.Sprintf("scopes=%d/full_only=%v", backends+2, fullOnly), func(b *testing.B) {
				w, e := newBalancer(backends), NewEncoder(Limits{})
				bytes, tallies := 0, 0
				b.ReportAllocs()
				for n := 0; n < b.N; n += backends + 2 {
					b.StopTimer()
					s := w.next()
					for fullOnly && s.Tallies.Look.Request.Tier != tcp.Full {
						s = w.next()
					}
					b.StartTimer()
					done, err := e.Add(s)
					if err != nil {
						b.Fatal(err)
					}
					if done != nil {
						bytes += len(done.Data)
						tallies = n
					}
				}
				if tallies == 0 {
					return
				}
				perTally := float64(bytes) / float64(tallies)
				perDay := 86400 * float64(backends+2)
				if !fullOnly {
					perDay *= 6
				}
				b.ReportMetric(perTally, "bytes/tally")
				b.ReportMetric(perTally*perDay/1e6, "MB/day")
			})
		}
	}
}

// BenchmarkDecode is the same, read.
func BenchmarkDecode(b *testing.B) {
	for _, backends := range []int{10, 98} {
		b.Run(fmt.Sprintf("scopes=%d", backends+2), func(b *testing.B) {
			w := newBalancer(backends)
			var steps []measure.Step
			for range 360 {
				steps = append(steps, copyOf(w.next()))
			}
			segments := encode(b, Limits{}, steps)
			d := NewDecoder()
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				for _, s := range segments {
					if err := d.Reset(s.Data); err != nil {
						b.Fatal(err)
					}
					for n < b.N {
						r, err := d.Next()
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							b.Fatal(err)
						}
						n += len(r.Step.Tallies.Scopes)
					}
				}
			}
		})
	}
}

// TestMemoryOfAFlightRecorder measures what a balancer's 15 minutes take: the
// agent's budget for all that it has is 16 MB.
func TestMemoryOfAFlightRecorder(t *testing.T) {
	w := newBalancer(98)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	e, ring := NewEncoder(Limits{}), NewRing(15*time.Minute, 4<<20)
	for range 6 * 60 * 16 {
		done, err := e.Add(w.next())
		if err != nil {
			t.Fatal(err)
		}
		if done != nil {
			ring.Add(*done)
		}
	}
	all := heap() - before
	segments := ring.Segments(time.Time{}, start.Add(time.Hour))
	t.Logf("100 scopes: %d KB, of them %d KB segments", all/1000, ring.Size()/1000)
	if span := segments[len(segments)-1].To.Sub(segments[0].From); span < 15*time.Minute {
		t.Errorf("the ring holds %s", span)
	}
	if all > 5<<20 {
		t.Errorf("a flight recorder of 100 scopes takes %d KB", all/1000)
	}
	runtime.KeepAlive(e)
}
