package measure

import (
	"time"

	"github.com/foreshock/foreshock/internal/tcp"
)

// maxFlows bounds the connections remembered per scope: 256 KiB at most. A
// scope with more is sampled by hash, so what is counted on the sample stands
// for 2^shift times as many.
const maxFlows = 4096

// flow remembers one connection between looks.
type flow struct {
	key          uint64 // 0 is an empty place
	first, since int32  // 1/100 s since the tallier's first look
	asked        int32  // since when the client has been asking and nothing was sent to it; notAsking
	resent, sent uint32 // segments sent again, and with data, over its life
	state        tcp.State
	look         uint8 // the look at all states that saw it last
	uncounted    bool  // first met by a look that cannot tell new from old
	held         bool  // a process has it
}

// notAsking marks a flow whose client waits for nothing.
const notAsking = -1

// flows remembers the connections of one scope: since when each is known, and
// since when it is in its state. The kernel's record has no age.
type flows struct {
	table []flow // open addressing, linear probing; a power of two long
	used  int
	shift uint8 // only keys whose low shift bits are zero are kept
	// countShift is the sample that was complete at the last look at all
	// states: only in it does "not known" mean "new".
	countShift uint8
	look       uint8
	looked     time.Time // when the last look at all states was made
}

// flowKey names a connection: by its cookie, else by its ends.
func flowKey(s *tcp.Socket) uint64 {
	h := s.Cookie
	if s.Has&tcp.HasCookie == 0 {
		l, r := s.Local.Addr().As16(), s.Remote.Addr().As16()
		for i, b := range l {
			h = h*0x100000001b3 ^ uint64(b) ^ uint64(r[i])<<32
		}
		h = mix(h) ^ uint64(s.Local.Port())<<16 ^ uint64(s.Remote.Port())
	}
	h = mix(h)
	if h == 0 {
		h = 1 << 63
	}
	return h
}

// mix spreads every bit over all others (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func (f *flows) sampled(key uint64, shift uint8) bool { return key&(1<<shift-1) == 0 }

// place returns where key is, or where it would go.
func (f *flows) place(key uint64) *flow {
	mask := uint64(len(f.table) - 1)
	for i := key >> 32 & mask; ; i = (i + 1) & mask {
		if p := &f.table[i]; p.key == key || p.key == 0 {
			return p
		}
	}
}

// sighting is what flows knows of one socket of a look.
type sighting struct {
	key      uint64
	known    bool // it is in the sample
	repeated bool // this look already passed it: rows may repeat under churn
	new      bool
	age      time.Duration
	stateAge time.Duration
	asking   time.Duration // for how long the client has been sending a request
	// counts: it is in the sample that was complete at the last judged look at
	// all states, so what it does stands for countScale connections. Only of
	// those anything below is said: a socket that a denser sample lets in has a
	// life behind it that nobody saw.
	counts bool
	// resent and sent are the segments sent again, and with data, since it was
	// seen last; all of them when it is new.
	resent, sent uint32
	turned       bool // its state is another than when it was seen last, or it is new
	finished     bool // it came to TIME_WAIT since it was seen last: both ends have closed
}

// see records a socket of a look that began at now centiseconds. whole is true
// for a look at all states.
func (f *flows) see(s *tcp.Socket, now int32, whole bool) sighting {
	key := flowKey(s)
	if !f.sampled(key, f.shift) {
		return sighting{}
	}
	if 2*(f.used+1) > len(f.table) {
		f.grow()
		if !f.sampled(key, f.shift) {
			return sighting{}
		}
	}
	p := f.place(key)
	out := sighting{key: key, known: true, counts: f.sampled(key, f.countShift)}
	if p.key == 0 {
		*p = flow{key: key, first: now, since: now, asked: notAsking, resent: s.Info.TotalRetransmits, sent: s.Info.DataSegsOut, state: s.State, look: f.look, uncounted: !whole, held: s.Inode != 0}
		p.ask(s, now)
		f.used++
		if out.counts {
			out.new = whole
			out.resent, out.sent, out.turned, out.finished = p.resent, p.sent, true, s.State == tcp.TimeWait
		}
		return out
	}
	if whole {
		out.repeated = p.look == f.look && !p.uncounted
		if p.uncounted {
			p.uncounted = false
			out.new = out.counts
		}
		p.look = f.look
	}
	// A connection whose client gave up in the queue begins anew with the
	// process that takes it: what it does from then on is that one's doing.
	if held := s.Inode != 0; p.state != s.State || p.held != held {
		out.turned = out.counts && p.state != s.State
		out.finished = s.State == tcp.TimeWait && out.turned
		p.state, p.held, p.since = s.State, held, now
	}
	if s.Has&tcp.HasInfo != 0 && s.Info.TotalRetransmits > p.resent {
		if out.counts {
			out.resent = s.Info.TotalRetransmits - p.resent
		}
		p.resent = s.Info.TotalRetransmits
	}
	if s.Has&tcp.HasInfo != 0 && s.Info.DataSegsOut > p.sent {
		if out.counts {
			out.sent = s.Info.DataSegsOut - p.sent
		}
		p.sent = s.Info.DataSegsOut
	}
	out.asking = p.ask(s, now)
	out.age = time.Duration(now-p.first) * 10 * time.Millisecond
	out.stateAge = time.Duration(now-p.since) * 10 * time.Millisecond
	return out
}

// ask follows for how long the client has been sending a request: since the
// first look that found it busy, unless something was sent to it since.
func (p *flow) ask(s *tcp.Socket, now int32) time.Duration {
	if !s.Busy() {
		p.asked = notAsking
		return 0
	}
	if p.asked == notAsking {
		p.asked = now
	}
	asking := time.Duration(now-p.asked) * 10 * time.Millisecond
	if s.Has&tcp.HasInfo != 0 && s.Info.DataSegsOut > 0 && s.Info.LastDataSent < asking {
		p.asked, asking = now, 0
	}
	return asking
}

// grow makes room: a larger table, or at the bound a thinner sample.
func (f *flows) grow() {
	if f.used >= maxFlows {
		f.shift++
		f.countShift = max(f.countShift, f.shift)
		f.rebuild(len(f.table), func(p *flow) bool { return f.sampled(p.key, f.shift) })
		return
	}
	f.rebuild(max(64, 2*len(f.table)), func(*flow) bool { return true })
}

// rebuild moves the flows that keep says to keep into a table of size places.
func (f *flows) rebuild(size int, keep func(*flow) bool) {
	old := f.table
	f.table = make([]flow, size)
	f.used = 0
	for i := range old {
		if p := &old[i]; p.key != 0 && keep(p) {
			*f.place(p.key) = *p
			f.used++
		}
	}
}

// beginWhole starts a look at all states.
func (f *flows) beginWhole() { f.look++ }

// endWhole drops what a complete look at all states did not see and returns
// how many that were, and how many of them had been ESTABLISHED, unscaled. The
// sample is made denser again when few are left.
func (f *flows) endWhole(at time.Time) (gone, vanished int) {
	for i := 0; i < len(f.table); {
		p := &f.table[i]
		if p.key == 0 || p.look == f.look && !p.uncounted {
			i++
			continue
		}
		if !p.uncounted && f.sampled(p.key, f.countShift) {
			gone++
			if p.state == tcp.Established {
				vanished++
			}
		}
		f.remove(uint64(i)) // another flow may have moved here: look again
	}
	f.countShift = f.shift
	if f.shift > 0 && f.used < maxFlows/4 {
		f.shift-- // countShift stays for one look: the thinner sample is the known one
	}
	f.looked = at
	return gone, vanished
}

// remove empties place i and closes the gap behind it, so that probing still
// finds every flow (Knuth, volume 3, section 6.4, algorithm R).
func (f *flows) remove(i uint64) {
	mask := uint64(len(f.table) - 1)
	f.used--
	for j := (i + 1) & mask; f.table[j].key != 0; j = (j + 1) & mask {
		home := f.table[j].key >> 32 & mask
		if (j-home)&mask >= (j-i)&mask {
			f.table[i] = f.table[j]
			i = j
		}
	}
	f.table[i] = flow{}
}

// scale is how many sockets one of the sample stands for.
func (f *flows) scale() uint32 { return 1 << min(f.shift, 31) }

// countScale is how many one of those that count stands for.
func (f *flows) countScale() uint32 { return 1 << min(f.countShift, 31) }
