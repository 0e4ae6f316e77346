package spaces

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/tcp"
)

var begin = time.Unix(1_790_000_000, 0)

func byName(f netns.Found) string { return Name(f, nil) }

// of makes what a scan finds: our own and one namespace for each id, whose
// first process is the hundredfold.
func of(ids ...tcp.Namespace) []netns.Found {
	found := []netns.Found{{ID: 1, Own: true, Name: "init", PID: 1}}
	for _, id := range ids {
		found = append(found, netns.Found{ID: id, PID: int(id) * 100, Path: fmt.Sprintf("/proc/%d/ns/net", id*100), Name: "nginx", Processes: 1})
	}
	return found
}

func labels(spaces []Space) []string {
	var out []string
	for _, s := range spaces {
		out = append(out, s.Label)
	}
	return out
}

func TestScan(t *testing.T) {
	r := New(Most)
	step := func(after time.Duration, found []netns.Found, wantOpen []string, wantGone []tcp.Namespace) {
		t.Helper()
		open, gone := r.Scan(begin.Add(after), found, byName)
		if diff := cmp.Diff(wantOpen, labels(open)); diff != "" {
			t.Errorf("at %v to open (-want +got)\n%s", after, diff)
		}
		if diff := cmp.Diff(wantGone, gone); diff != "" {
			t.Errorf("at %v gone (-want +got)\n%s", after, diff)
		}
	}
	step(0, of(2, 3), nil, nil)
	step(time.Second, of(2, 3), nil, nil) // two scans, but too soon after one another
	step(2*time.Second, of(2, 3, 4), []string{"nginx", "nginx~2"}, nil)
	step(4*time.Second, of(2, 3, 4), []string{"nginx~3"}, nil)
	step(6*time.Second, of(3, 4, 5), nil, []tcp.Namespace{2})
	// The name of one that ended is free again; those that live keep theirs.
	step(8*time.Second, of(3, 4, 5), []string{"nginx"}, nil)
	// A namespace that is read is known by its number, whatever its first
	// process is by now.
	other := of(3, 4, 5)
	other[1].Path, other[1].PID = "/proc/999/ns/net", 999
	step(10*time.Second, other, nil, nil)
	step(12*time.Second, nil, nil, []tcp.Namespace{3, 4, 5})
	if diff := cmp.Diff(Status{}, r.Status()); diff != "" {
		t.Errorf("in the end (-want +got)\n%s", diff)
	}
}

// TestNumbersAreReused: the kernel gives the number of an ended namespace to
// the next one at once.
func TestNumbersAreReused(t *testing.T) {
	r := New(Most)
	for i := range 500 { // each scan finds another namespace of one number
		found := of(7)
		found[1].Path = fmt.Sprintf("/proc/%d/ns/net", 1000+i)
		if open, gone := r.Scan(begin.Add(time.Duration(i)*2*time.Second), found, byName); open != nil || gone != nil {
			t.Fatalf("scan %d: to open %v, gone %v; each lives for less than two scans", i, open, gone)
		}
	}
	if got := len(r.entries); got != 1 {
		t.Errorf("%d namespaces are remembered, want the last", got)
	}
}

func TestRefused(t *testing.T) {
	r := New(Most)
	r.Scan(begin, of(2), byName)
	open, _ := r.Scan(begin.Add(2*time.Second), of(2), byName)
	if len(open) != 1 {
		t.Fatalf("to open: %v", open)
	}
	r.Refused(2, begin.Add(2*time.Second), errors.New("operation not permitted"))
	s := r.Status()
	if s.Read != 0 || len(s.Refused) != 1 || s.Refused[0].Label != "nginx" || s.Refused[0].Reason != "operation not permitted" {
		t.Errorf("status %+v", s)
	}
	if open, _ := r.Scan(begin.Add(20*time.Second), of(2), byName); open != nil {
		t.Errorf("tried again after 18 s: %v", open)
	}
	if open, _ := r.Scan(begin.Add(33*time.Second), of(2), byName); len(open) != 1 || open[0].Label != "nginx" {
		t.Errorf("not tried again after half a minute: %v", open)
	}
}

func TestMost(t *testing.T) {
	r := New(2)
	r.Scan(begin, of(2, 3, 4, 5), byName)
	open, _ := r.Scan(begin.Add(2*time.Second), of(2, 3, 4, 5), byName)
	if diff := cmp.Diff(Status{Read: 2, Over: 2}, r.Status()); len(open) != 2 || diff != "" {
		t.Errorf("%d to open; status (-want +got)\n%s", len(open), diff)
	}
	// One that ends makes room.
	if open, _ := r.Scan(begin.Add(4*time.Second), of(3, 4, 5), byName); len(open) != 1 || r.Status().Over != 1 {
		t.Errorf("to open %v, status %+v", open, r.Status())
	}
}

// TestRosterHolds: whatever is found, those read are told once when to open
// and once when to close, never more than the most are, and labels are unique.
func TestRosterHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 4
		r := New(most)
		read := map[tcp.Namespace]string{}
		now := begin
		for range rapid.IntRange(1, 60).Draw(t, "scans") {
			now = now.Add(time.Duration(rapid.IntRange(100, 3000).Draw(t, "pause")) * time.Millisecond)
			ids := rapid.SliceOfNDistinct(rapid.Uint64Range(2, 12), 0, 8, func(id uint64) uint64 { return id }).Draw(t, "there")
			var there []tcp.Namespace
			for _, id := range ids {
				there = append(there, tcp.Namespace(id))
			}
			open, gone := r.Scan(now, of(there...), byName)
			for _, id := range gone {
				if _, ok := read[id]; !ok || slices.Contains(there, id) {
					t.Fatalf("%d is to be closed; read %v, there %v", id, read, there)
				}
				delete(read, id)
			}
			for _, s := range open {
				for id, label := range read {
					if id == s.ID || label == s.Label {
						t.Fatalf("%+v is opened beside %v", s, read)
					}
				}
				if rapid.IntRange(0, 4).Draw(t, "refused") == 0 {
					r.Refused(s.ID, now, errors.New("no"))
				} else {
					read[s.ID] = s.Label
				}
			}
			if got := r.Status(); len(read) > most || got.Read != len(read) || got.Waiting < 0 {
				t.Fatalf("%d are read, status %+v", len(read), got)
			}
		}
	})
}

func TestName(t *testing.T) {
	const id = "5cc461575aab941b14146243b1ef47c75cc461575aab941b14146243b1ef47c7"
	tests := []struct {
		name   string
		found  netns.Found
		cgroup string
		want   string
	}{
		{"a name of its own", netns.Found{Path: "/run/netns/shop", Name: "shop", PID: 7}, "0::/docker/" + id + "\n", "shop"},
		{"a container", netns.Found{Path: "/proc/7/ns/net", Name: "nginx", PID: 7}, "0::/system.slice/docker-" + id + ".scope\n", "5cc461575aab"},
		{
			"a pod, under a name that its network plug-in made up", netns.Found{Path: "/run/netns/cni-6a2b", Name: "cni-6a2b", PID: 7},
			"0::/kubepods/burstable/pod0f3c5a1e-1111-4222-8333-444455556666/" + id + "\n", "pod-0f3c5a1e",
		},
		{"a made-up name and nothing better", netns.Found{Path: "/run/netns/cni-6a2b", Name: "cni-6a2b"}, "", "cni-6a2b"},
		{"a process", netns.Found{Path: "/proc/7/ns/net", Name: "dnsmasq", PID: 7}, "0::/system.slice/x.service\n", "dnsmasq"},
		{"nothing", netns.Found{ID: 4026532000, Path: "/proc/7/ns/net", PID: 7}, "", "netns-4026532000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Name(tt.found, []byte(tt.cgroup)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestRefusedAndOver: one that was refused, and whose turn comes while the most
// are read, is over, and nothing else.
func TestRefusedAndOver(t *testing.T) {
	r, now := New(1), time.Unix(1000, 0)
	name := func(f netns.Found) string { return f.Name }
	a, b := netns.Found{ID: 1, Path: "a", Name: "a"}, netns.Found{ID: 2, Path: "b", Name: "b"}
	r.Scan(now, []netns.Found{a}, name)
	now = now.Add(2 * settle)
	r.Scan(now, []netns.Found{a}, name)
	r.Refused(1, now, errors.New("not allowed"))
	r.Scan(now, []netns.Found{a, b}, name)
	now = now.Add(2 * settle)
	r.Scan(now, []netns.Found{a, b}, name)
	now = now.Add(2 * retryAfter)
	r.Scan(now, []netns.Found{a, b}, name)
	if got := r.Status(); got.Read != 1 || got.Over != 1 || got.Waiting != 0 || len(got.Refused) != 0 {
		t.Errorf("%+v, want one read and one over", got)
	}
}
