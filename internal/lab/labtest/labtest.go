// Package labtest gives tests the lab: worlds that skip the test where none
// can be made, and that go when the test does.
//
//	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}}})
//	web := labtest.Serve(t, w.Host("server"), lab.ApachePrefork{Workers: 3})
//
// The test's TestMain must call [lab.Child] first.
package labtest

import (
	"errors"
	"testing"

	"github.com/foreshock/foreshock/internal/lab"
)

// World makes a world that is removed when the test ends. It skips the test,
// with the reason, where no world can be made.
func World(t testing.TB, cfg lab.Config) *lab.World {
	t.Helper()
	w, err := lab.New(t.Context(), cfg)
	Need(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// Serve starts a server that ends with the world. It skips the test where the
// server's package is not installed.
func Serve(t testing.TB, h *lab.Host, software lab.Software) *lab.Server {
	t.Helper()
	s, err := h.Serve(t.Context(), software)
	Need(t, err)
	return s
}

// Need skips the test when err says that no world can be made here or that a
// program is not installed, and fails it at any other error.
func Need(t testing.TB, err error) {
	t.Helper()
	if _, missing := errors.AsType[*lab.ErrMissing](err); missing || errors.Is(err, lab.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
