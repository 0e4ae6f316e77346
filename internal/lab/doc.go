// Package lab builds small worlds of network namespaces with real servers in
// them, loads them, breaks them and removes them, whatever happens to the
// process that made them. Tests and benchmarks use it.
//
// A [World] is a parent namespace with a small TCP hash table of its own and
// [Host]s beside it, joined by a bridge or, behind a host that is their router,
// by links of their own ([Host.Treat]). A host runs real servers
// ([ApachePrefork], [ApacheEvent], [Nginx], [ApacheBalancer], [HAProxy],
// [Traefik]) and the lab's own [App] through [Host.Serve], in a container where
// [HostConfig] says so. It sends load through [Host.StartLoad], holds a
// program's connections through [Host.StartPool], asks an API again and again
// through [Host.StartPoller], and holds populations of sockets through
// [Host.Populate] and [Host.FanOut]. Everything stays inside the
// namespaces: the machine's own interfaces are never touched.
//
//	func TestMain(m *testing.M) {
//		lab.Child() // the app, the load and the populations are this binary again
//		os.Exit(m.Run())
//	}
//
//	func TestQueue(t *testing.T) {
//		w := labtest.World(t, lab.Config{Hosts: []lab.HostConfig{{Name: "server"}, {Name: "client"}}})
//		web := labtest.Serve(t, w.Host("server"), lab.ApachePrefork{Workers: 3})
//		run, err := w.Host("client").StartLoad(t.Context(), lab.Load{
//			URL:      "http://" + web.Addr().String() + "/sleep?ms=500",
//			Rate:     []lab.RatePoint{{PerSecond: 2}, {At: 30 * time.Second, PerSecond: 10}},
//			Duration: 30 * time.Second,
//		})
//		if err != nil {
//			t.Fatal(err)
//		}
//		log, err := run.Wait(t.Context())
//		…
//	}
//
// The client's log ([Record], [Summarize]) is the truth that detections are
// held against. Its times are on the wall clock and on CLOCK_MONOTONIC, which
// is one clock for all processes of a machine, so that they compare with an
// agent's.
//
// # What is left after a crash
//
// Namespaces and run directories are called fs-PID-STARTTIME-xxxx after the
// process that owns them. [Reap] removes those whose owner is gone and kills
// what still runs inside them; [New] calls it first. Children get SIGKILL
// from the kernel when their parent dies, but a server's own workers do not:
// the reaper finds them by their namespace. Owners are looked up in the
// reaper's pid namespace, so do not share /run between pid namespaces.
//
// A World is safe for concurrent use.
package lab
