package drain

import (
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	lab.Child()
	os.Exit(m.Run())
}

func staged(t *testing.T, cell Cell) *stage {
	t.Helper()
	st, err := build(t.Context(), &cell)
	labtest.Need(t, err)
	t.Cleanup(func() {
		if err := st.world.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	if wait(t.Context(), d) != nil {
		t.Fatal("the test ended")
	}
}

// answering are those that have something to say.
func answering() []Resolver {
	return slices.DeleteFunc(Zoo(), func(r Resolver) bool { return r.Kind == KindBogus || r.Kind == KindHangs })
}

// TestZoo: each name server answers after a switch as its kind does. The classes
// that an agent gives them are held against this.
func TestZoo(t *testing.T) {
	if testing.Short() {
		t.Skip("ten name servers for 15 s: left out with -short")
	}
	t.Parallel()
	var cell Cell
	cell.TTL, cell.CutOff = 3*time.Second, []string{"far"}
	for _, r := range Zoo() {
		cell.Resolvers = append(cell.Resolvers, r.Name)
	}
	st := staged(t, cell)
	web := st.world.Host("web")
	dig := func(r Resolver) lab.Digged {
		said, err := web.Dig(t.Context(), r.Addr, Site)
		labtest.Need(t, err)
		return said
	}
	for _, r := range answering() {
		want := oldAddr
		if r.Kind == KindWrong {
			want = wrongAddr
		}
		if said := dig(r); len(said.Addresses) != 1 || said.Addresses[0] != want {
			t.Fatalf("%s before the switch: %+v: %s", r.Name, said, st.servers[r.Name].Log())
		}
	}
	for _, r := range Zoo() {
		if want := map[Kind]string{KindBogus: "SERVFAIL", KindHangs: "no answer"}[r.Kind]; want != "" && dig(r).Failure != want {
			t.Errorf("%s does not fail with %s: %+v", r.Name, want, dig(r))
		}
	}
	labtest.Need(t, st.flip(t.Context()))
	pause(t, cell.TTL+2*time.Second)
	for _, r := range answering() {
		said := dig(r)
		want := map[Kind]string{KindServer: "new", KindHonest: "new", KindExtender: "old", KindStale: "old", KindWrong: "other"}[r.Kind]
		if got := sideOf(said.Addresses); got != want {
			t.Errorf("%s answers %s after the TTL, want %s: %+v", r.Name, got, want, said)
		}
		if extended := said.TTL > cell.TTL; extended != (r.Kind == KindExtender || r.Kind == KindStale) && r.Kind != KindWrong {
			t.Errorf("%s gives a TTL of %v", r.Name, said.TTL)
		}
	}
}

// TestPopulations: each population does after a switch what its habit is, with the
// old address alive and dead.
func TestPopulations(t *testing.T) {
	if testing.Short() {
		t.Skip("clients for half a minute: left out with -short")
	}
	t.Parallel()
	for _, dead := range []bool{false, true} {
		name := map[bool]string{false: "old alive", true: "old dead"}[dead]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cell := Cell{TTL: 3 * time.Second, OldDead: dead, Resolvers: []string{"unbound", "unbound-min-900"}, Populations: fourHabits(8)}
			st := staged(t, cell)
			labtest.Need(t, st.visit(t.Context()))
			pause(t, 3*time.Second)
			labtest.Need(t, st.flip(t.Context()))
			later := st.flipped.Add(11 * time.Second)
			pause(t, time.Until(later.Add(time.Second)))
			crowds, err := st.finish()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range crowds {
				before, after := c.At(st.flipped.Add(-200*time.Millisecond)), c.At(later)
				t.Logf("%s: before %+v, later %+v, %d failures", c.Name, before, after, failures(c.Visits, st.flipped, later))
				if before.Old < 6 || before.New+before.Other > 0 {
					t.Errorf("%s: before the switch %+v", c.Name, before)
				}
				// What is cut off stays with its old answer; who asks goes over, the pool
				// once its connections are broken.
				switch stays := c.Habit != lab.Honest && (c.Habit != lab.Pooled || !dead) || c.Via == "unbound-min-900"; {
				case !stays && (after.Old > 0 || after.New < 6):
					t.Errorf("%s has not gone over: %+v", c.Name, after)
				case stays && after.New > 0, stays && !dead && after.Old < 6, stays && dead && (after.Old > 0 || failures(c.Visits, st.flipped, later) == 0):
					t.Errorf("%s should have stayed: %+v", c.Name, after)
				}
			}
			if dead {
				// They try again and again, so that at most times somebody connects.
				most := 0
				for at := later.Add(-5 * time.Second); at.Before(later); at = at.Add(100 * time.Millisecond) {
					most = max(most, truthAt(crowds, at, everybody).ConnectingOld)
				}
				if most == 0 {
					t.Error("nobody is connecting to the dead address")
				}
			}
		})
	}
}

func fourHabits(clients int) []Population {
	return []Population{
		{Name: "honest", Habit: lab.Honest, Host: "web", Via: "unbound", Clients: clients},
		{Name: "cached", Habit: lab.Cached, Host: "web", Via: "unbound", Clients: clients},
		{Name: "pooled", Habit: lab.Pooled, Host: "web", Via: "unbound", Clients: clients},
		{Name: "behind", Habit: lab.Honest, Host: "isp", Via: "unbound-min-900", Clients: clients},
	}
}

// sideOf is what an answer says: "old", "new", "mixed", "other", "none".
func sideOf(addresses []netip.Addr) string {
	old, fresh := slices.Contains(addresses, oldAddr), slices.Contains(addresses, newAddr)
	switch {
	case len(addresses) == 0:
		return "none"
	case old && fresh:
		return "mixed"
	case old:
		return "old"
	case fresh:
		return "new"
	}
	return "other"
}
