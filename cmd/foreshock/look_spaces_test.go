package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/tcp"
)

// scripted is a reader of one socket, with or without tcp_info, or of an error.
type scripted struct {
	abilities tcp.Ability
	err       error
}

func (r scripted) Read(_ tcp.Request, add func([]tcp.Socket)) (tcp.Look, error) {
	if r.err != nil {
		return tcp.Look{}, r.err
	}
	add([]tcp.Socket{{State: tcp.Established}})
	look := tcp.Look{Reader: "procfs", Completeness: tcp.Complete}
	if r.abilities.Has(tcp.CanInfo) {
		look.Reader = sourceWithInfo
	}
	return look, nil
}

func (r scripted) Abilities() tcp.Ability { return r.abilities }
func (r scripted) Close() error           { return nil }

// TestCountIn: what another namespace hides or refuses is said of it alone, and
// what our own refuses leaves no answer.
func TestCountIn(t *testing.T) {
	refused := errors.New("look at sockets: permission denied")
	c := counted{complete: true, spaces: []spaceRead{{id: 1}, {id: 2, label: "blue"}, {id: 3, label: "shut"}}, breakdown: measure.NewBreakdown[key](9)}
	in := func(id tcp.Namespace, r scripted) error {
		g := space{Found: netns.Found{ID: id, Own: id == 1}, label: c.labelOf(id), reader: r}
		return c.countIn(&g, func(*tcp.Socket) key { return key{namespace: id} })
	}
	for id, r := range []scripted{{abilities: tcp.AllAbilities}, {}, {err: refused}} {
		if err := in(tcp.Namespace(1+id), r); err != nil {
			t.Fatal(err)
		}
	}
	type result struct {
		Reader   string
		Complete bool
		Limits   []string
		Unread   string
		Info     map[tcp.Namespace]bool
		AllInfo  bool
	}
	want := result{
		Reader: sourceWithInfo, Limits: []string{"namespace shut: " + refused.Error()}, Unread: refused.Error(),
		Info: map[tcp.Namespace]bool{1: true, 2: false},
	}
	got := result{
		Reader: c.reader, Complete: c.complete, Limits: c.limits, Unread: c.spaces[2].unread,
		Info:    map[tcp.Namespace]bool{1: c.seesInfo(key{namespace: 1}), 2: c.seesInfo(key{namespace: 2})},
		AllInfo: c.seesInfoBut(nil),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is said (-want +got):\n%s", diff)
	}
	if err := in(1, scripted{err: refused}); !errors.Is(err, refused) {
		t.Errorf("our own namespace: error %v, want %v", err, refused)
	}
}
