package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Running is what a call has started in a world: a process of the lab's own, or
// several for one purpose. It ends with Stop, or with the world.
type Running struct {
	host     *Host
	children []*child // in the order of their start
}

// run starts a child with a role, and returns once it has reported.
func (h *Host) run(ctx context.Context, roleName string, config, report any) (*Running, error) {
	c, err := h.startChild(ctx, roleName, config, report)
	if err != nil {
		return nil, err
	}
	r := &Running{host: h, children: []*child{c}}
	if err := h.world.adopt(r); err != nil {
		return nil, err
	}
	return r, nil
}

// launch starts one more child, on any host, whose report is still to be read.
func (r *Running) launch(ctx context.Context, on *Host, roleName string, config any, extra ...*os.File) error {
	c, err := on.launchChild(ctx, roleName, config, extra...)
	if err == nil {
		r.children = append(r.children, c)
	}
	return err
}

// PID returns the process, the first where there are several.
func (r *Running) PID() int { return r.children[0].Process.Pid }

// Ended is closed when the first process has ended.
func (r *Running) Ended() <-chan struct{} { return r.children[0].ended }

// Check returns what ended the first process, nil while it runs.
func (r *Running) Check() error {
	select {
	case <-r.Ended():
		c := r.children[0]
		return fmt.Errorf("process %d ended: %w: %s", r.PID(), cmp.Or(c.result, io.EOF), c.said)
	default:
		return nil
	}
}

// Stop ends it at once. Stopping twice is no error.
func (r *Running) Stop() error {
	r.host.world.disown(r)
	return r.halt()
}

func (r *Running) halt() error {
	// All at once: those with many sockets take a while to let go of them.
	for _, c := range r.children {
		_ = c.stdin.Close()
	}
	var errs []error
	for _, c := range r.children {
		errs = append(errs, c.halt())
	}
	return errors.Join(errs...)
}
