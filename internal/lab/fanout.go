package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// FanOut is a pool of clients whose connections only stand there: so many from
// one host to each address of another. The clients' processes are called
// lab-fanout.
type FanOut struct {
	// To is the host of the servers, one at each of its addresses.
	To *Host
	// Port is where the servers listen.
	Port uint16
	// Each is how many connections go to each server.
	Each int
}

// RunningFanOut is a fan-out that stands. Its connections are reset as it ends.
type RunningFanOut struct {
	*Running
	// Clients is how many processes hold the clients' ends.
	Clients int
}

// fanOutConfig is one client's part: connections First to First+Count-1 of
// all, dealt to the servers in turn.
type fanOutConfig struct {
	Servers      []netip.AddrPort
	First, Count int
}

// takeConfig is one server's part. It has the listener as descriptor 3.
type takeConfig struct{ Count int }

// FanOut makes the connections and returns once they all stand. ctx bounds the
// making only. Both ends are spread over as few processes as the limit on
// descriptors allows.
func (h *Host) FanOut(ctx context.Context, f FanOut) (*RunningFanOut, error) {
	run := &RunningFanOut{Running: &Running{host: h}}
	if err := run.make(ctx, f); err != nil {
		return nil, errors.Join(fmt.Errorf("fan out from %s: %w", h.name, err), run.halt())
	}
	if err := h.world.adopt(run.Running); err != nil {
		return nil, err
	}
	return run, nil
}

func (r *RunningFanOut) make(ctx context.Context, f FanOut) error {
	if f.To == nil || f.To == r.host {
		return errors.New("name another host for the servers")
	}
	servers := make([]netip.AddrPort, 0, len(f.To.addrs))
	for _, a := range f.To.addrs {
		servers = append(servers, netip.AddrPortFrom(a, f.Port))
	}
	all := f.Each * len(servers)
	if f.Port == 0 || f.Each <= 0 || all > MaxPopulation/2 {
		return fmt.Errorf("%d connections to port %d of each of %d servers: want a port, one or more to each, %d at the most", f.Each, f.Port, len(servers), MaxPopulation/2)
	}
	room, err := descriptorRoom()
	if err != nil {
		return err
	}
	parts := shares(all, room)
	if parts == nil {
		return errors.New("the limit on descriptors leaves no room for connections")
	}
	if err := r.launchServers(ctx, f, parts); err != nil {
		return err
	}
	first := 0
	for _, n := range parts {
		if err := r.launch(ctx, r.host, "fanout", fanOutConfig{Servers: servers, First: first, Count: n}); err != nil {
			return err
		}
		r.Clients++
		first += n
	}
	// The clients first: when one of them fails, the servers wait for good.
	for _, c := range slices.Backward(r.children) {
		if err := c.read(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// launchServers starts the processes that share one listener on the far host.
func (r *RunningFanOut) launchServers(ctx context.Context, f FanOut, parts []int) error {
	var listener *os.File
	err := f.To.Do(func() error {
		fd, err := listenOn(netip.AddrPortFrom(netip.IPv4Unspecified(), f.Port), 4096, resetOnClose)
		if err == nil {
			listener = os.NewFile(uintptr(fd), "listener")
		}
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	for _, n := range parts {
		if err := r.launch(ctx, f.To, "take", takeConfig{Count: n}, listener); err != nil {
			return err
		}
	}
	return nil
}

// shares cuts n into the fewest parts of at most room, as even as can be; nil
// when there is no room.
func shares(n, room int) []int {
	if room < 1 {
		return nil
	}
	parts := make([]int, (n+room-1)/room)
	for i := range parts {
		parts[i] = n / len(parts)
		if i < n%len(parts) {
			parts[i]++
		}
	}
	return parts
}

// runFanOut is the child that holds clients' ends.
func runFanOut(ctx context.Context, c fanOutConfig, _ <-chan json.RawMessage, ready func(any) error) error {
	for i := range c.Count {
		if i%256 == 0 && ctx.Err() != nil {
			return nil
		}
		// Without a bind the kernel gives one port to many destinations.
		if _, err := connectFrom(netip.IPv4Unspecified(), c.Servers[(c.First+i)%len(c.Servers)]); err != nil {
			return fmt.Errorf("connection %d: %w", c.First+i, err)
		}
	}
	if err := ready(struct{}{}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// takePause bounds how long a server waits for a client before it looks
// whether it shall end.
const takePause = 100 * time.Millisecond

// runTake is the child that holds servers' ends.
func runTake(ctx context.Context, c takeConfig, _ <-chan json.RawMessage, ready func(any) error) error {
	const listener = 3
	// Another may have taken the one that poll has seen.
	if err := unix.SetNonblock(listener, true); err != nil {
		return fmt.Errorf("prepare listener: %w", err)
	}
	for taken := 0; taken < c.Count; {
		if ctx.Err() != nil {
			return nil
		}
		_, err := accept(listener)
		switch {
		case err == nil:
			taken++
		case errors.Is(err, unix.EAGAIN):
			wanted := []unix.PollFd{{Fd: listener, Events: unix.POLLIN}}
			if _, err := unix.Poll(wanted, int(takePause.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("wait for a client: %w", err)
			}
		default:
			return err
		}
	}
	if err := ready(struct{}{}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
