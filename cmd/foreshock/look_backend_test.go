package main

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// TestLookByBackendEverywhere: a process that the configuration names is found
// in whatever namespace it is, with its connections there, and under no other
// namespace's name.
func TestLookByBackendEverywhere(t *testing.T) {
	w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "shop"}, {Name: "other"}}})
	shell := filepath.Join(t.TempDir(), "pooler") // a program that nobody else runs
	bash, err := os.ReadFile("/bin/bash")
	if err != nil {
		t.Skipf("bash is missing: %v", err)
	}
	if err := os.WriteFile(shell, bash, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"shop", "other"} { // the same address in both
		err := w.Host(host).Do(func() error {
			ln, err := net.Listen("tcp", "127.0.0.1:5432")
			if err == nil {
				t.Cleanup(func() { _ = ln.Close() })
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// It connects twice, says so and waits for the end of its input.
	pooler := w.Host("shop").Command(t.Context(), shell, "-c", "exec 3<>/dev/tcp/127.0.0.1/5432 4<>/dev/tcp/127.0.0.1/5432; echo; read -r")
	stdin, stdout := must(pooler.StdinPipe()), must(pooler.StdoutPipe())
	if err := pooler.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = pooler.Wait() })
	if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil {
		t.Fatalf("the pool did not connect: %v", err)
	}
	cfg := config.Default()
	cfg.Backends = []config.Backends{
		{Name: "db", Process: config.Process{Exe: shell}},
		{Name: "list", Discover: config.Discover{Static: []config.Member{{Name: "far", Remote: netip.MustParseAddrPort("192.0.2.9:5432")}}}},
	}
	label := filepath.Base(w.Host("shop").Path())
	for _, source := range []observe.Source{observe.Auto, observe.Procfs} {
		t.Run(string(source), func(t *testing.T) {
			c, err := look(lookOptions{by: "backend", source: source, states: tcp.AllStates, config: cfg})
			if err != nil {
				t.Fatal(err)
			}
			ours := slices.DeleteFunc(slices.Clone(c.backends), func(b scope.Backend) bool { return b.Group != "db" && b.Group != "list" })
			want := []scope.Backend{
				{Name: "list/far", Group: "list", Remote: cfg.Backends[1].Discover.Static[0].Remote, Source: "configured", Configured: true},
				{Name: "db/127.0.0.1:5432", Group: "db", Remote: netip.MustParseAddrPort("127.0.0.1:5432"), Process: "pooler", PIDs: []int{pooler.Process.Pid}, Source: "observed", Configured: true, Namespace: label},
			}
			if diff := cmp.Diff(want, ours, cmpopts.IgnoreFields(scope.Backend{}, "Cgroups", "Limit"), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Fatalf("backends (-want +got):\n%s", diff)
			}
			rows, _, _ := c.breakdown.Rows(0, compareKeys)
			for _, r := range rows {
				if r.Key.backend != scope.None && c.backends[r.Key.backend].Group == "db" {
					if r.States[tcp.Established] != 2 {
						t.Errorf("%d connections to the database, want 2", r.States[tcp.Established])
					}
					if got := c.label(r.Key); got[0] != "db/127.0.0.1:5432@"+label || !strings.HasPrefix(got[1], "pooler (") {
						t.Errorf("called %q", got)
					}
				}
			}
			cfg.Observe.Namespaces = config.HostNamespace
			c, err = look(lookOptions{by: "backend", source: source, states: tcp.AllStates, config: cfg})
			cfg.Observe.Namespaces = config.AllNamespaces
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(c.backends, func(b scope.Backend) bool { return b.Namespace != "" }) {
				t.Error("other namespaces are read, though the configuration says not to")
			}
		})
	}
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

// TestPoolsOf: a configuration's pools go before the known balancers.
func TestPoolsOf(t *testing.T) {
	cfg := config.Default()
	cfg.Backends = []config.Backends{{Name: "shop", Process: config.Process{Name: "haproxy"}}}
	selectors, pools := poolsOf(cfg)
	if len(selectors) != len(pools) || pools[0].Name != "shop" || !pools[0].Configured || selectors[0].Name != "haproxy" {
		t.Errorf("pools %+v, chosen by %+v", pools, selectors)
	}
	_, known := poolsOf(config.Default())
	if len(known) != len(pools)-1 {
		t.Errorf("%d pools without a configuration, %d with one of it", len(known), len(pools))
	}
}
