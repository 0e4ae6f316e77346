// Package spaces decides which of a host's network namespaces are read, and
// what they are called.
//
//	roster := spaces.New(spaces.Most)
//	open, gone := roster.Scan(now, found, name)  // what netns.List found
//	for _, s := range open { … roster.Refused(s.ID, now, err) when it cannot be opened … }
//
// A namespace is read once two scans have found it, so that those that come
// and go many times a second cost nothing but the scan.
package spaces

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/observe/owner"
	"github.com/foreshock/foreshock/internal/tcp"
)

const (
	// Most is how many namespaces are read at most, our own left out: 4 open
	// files and about 50 KiB each.
	Most = 1024
	// settle is how long a namespace must have been there before it is read.
	settle = 1500 * time.Millisecond
	// retryAfter is when one that could not be opened is tried again.
	retryAfter = 30 * time.Second
	// maxLabel bounds a name, in bytes.
	maxLabel = 64
)

// Space is a namespace with the name it keeps for as long as it lives.
type Space struct {
	netns.Found
	// Label is unique among those read: "shop", and "shop~2" for a second one.
	Label string
}

// Refusal is a namespace that cannot be read, and why.
type Refusal struct {
	Space
	Reason string
}

// Roster remembers the namespaces of a host between scans. It is a pure value;
// see New.
type Roster struct {
	most    int
	entries map[tcp.Namespace]*entry
	labels  map[string]bool
	read    int
}

type entry struct {
	space Space
	first time.Time // when a scan first found it, at this path
	read  bool
	over  bool // beyond the most that are read, as of the last scan
	// Of one that could not be opened.
	reason string
	retry  time.Time
}

// New returns a Roster that lets at most so many namespaces be read.
func New(most int) *Roster {
	return &Roster{most: most, entries: map[tcp.Namespace]*entry{}, labels: map[string]bool{}}
}

// Scan takes what a scan at now found, and returns the namespaces to open, in
// the order of the scan, and those that are gone and must be closed: a reader
// keeps its namespace alive. name is asked once for each that is opened. Our
// own is passed over.
func (r *Roster) Scan(now time.Time, found []netns.Found, name func(netns.Found) string) (open []Space, gone []tcp.Namespace) {
	there := make(map[tcp.Namespace]bool, len(found))
	for i := range found {
		there[found[i].ID] = true
	}
	for id, e := range r.entries {
		if there[id] {
			continue
		}
		if e.read {
			r.read--
			gone = append(gone, id)
		}
		delete(r.labels, e.space.Label)
		delete(r.entries, id)
	}
	slices.Sort(gone)
	for _, f := range found {
		if f.Own {
			continue
		}
		e := r.entries[f.ID]
		if e == nil || !e.read && e.space.Path != f.Path {
			// The kernel gives the number of a namespace that ended to the next
			// one: at another path it is another, unless a reader holds it.
			if e != nil {
				delete(r.labels, e.space.Label)
			}
			r.entries[f.ID] = &entry{space: Space{Found: f}, first: now}
			continue
		}
		e.space.Found, e.over = f, false
		if e.read || now.Sub(e.first) < settle || now.Before(e.retry) {
			continue
		}
		if r.read >= r.most {
			e.over = true
			continue
		}
		if e.space.Label == "" {
			e.space.Label = r.unique(name(f))
		}
		e.read, e.reason = true, ""
		r.read++
		open = append(open, e.space)
	}
	return open, gone
}

// Refused says that a namespace that Scan gave to open could not be; it is
// tried again half a minute later.
func (r *Roster) Refused(id tcp.Namespace, now time.Time, why error) {
	e := r.entries[id]
	if e == nil || !e.read {
		return
	}
	e.read, e.reason, e.retry = false, why.Error(), now.Add(retryAfter)
	r.read--
}

// Clear forgets every namespace, and returns those that were read.
func (r *Roster) Clear() (gone []tcp.Namespace) {
	_, gone = r.Scan(time.Time{}, nil, nil)
	return gone
}

// Status is how the namespaces of the host stand, our own left out.
type Status struct {
	// Read counts those that are read, Waiting those found a moment ago, Over
	// those beyond the most that are read.
	Read, Waiting, Over int
	// Refused are those that cannot be read, by name.
	Refused []Refusal
}

// Status returns how things stand since the last Scan.
func (r *Roster) Status() Status {
	s := Status{Read: r.read}
	for _, e := range r.entries {
		switch {
		case e.read:
		case e.over:
			s.Over++
		case e.reason != "":
			s.Refused = append(s.Refused, Refusal{e.space, e.reason})
		default:
			s.Waiting++
		}
	}
	slices.SortFunc(s.Refused, func(a, b Refusal) int { return cmp.Compare(a.Label, b.Label) })
	return s
}

// unique takes a name for a namespace, and numbers it when it is taken.
func (r *Roster) unique(name string) string {
	label := name
	for n := 2; r.labels[label]; n++ {
		label = fmt.Sprintf("%s~%d", name, n)
	}
	r.labels[label] = true
	return label
}

// Name is what a namespace is called: by its name below /run/netns, by the pod
// or the container of its first process, or by that process. A name that a
// container engine made up ("cni-" and a random number) comes last but for the
// namespace's number. cgroup is the text of /proc/PID/cgroup of the first
// process, nil where there is none.
func Name(f netns.Found, cgroup []byte) string {
	named := strings.HasPrefix(f.Path, "/run/netns/")
	name := f.Name
	if madeUp := strings.HasPrefix(name, "cni-") || strings.HasPrefix(name, "netns-"); !named || madeUp {
		m := owner.ParseCgroup(cgroup)
		const short = 12 // digits of a container's id that its engine shows
		if pod := owner.Pod(m.Path); pod != "" {
			name = "pod-" + pod
		} else if m.Container != "" {
			name = m.Container[:short]
		}
	}
	if name == "" {
		name = fmt.Sprintf("netns-%d", f.ID)
	}
	if len(name) > maxLabel {
		name = strings.ToValidUTF8(name[:maxLabel], "")
	}
	return name
}
