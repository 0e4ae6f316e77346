package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Program is a program on a host, from its start until it has been waited for.
type Program struct {
	*Cmd
	said   *tail         // the end of what it wrote to its error output
	ended  chan struct{} // closed when it has ended
	result error         // of the wait; read after ended
}

// Launch is Start, and a wait beside the caller. Said keeps what the program
// writes to its error output, and to its output where that has no other place.
func (c *Cmd) Launch() (*Program, error) {
	p := &Program{Cmd: c, said: &tail{}, ended: make(chan struct{})}
	c.Stderr = p.said
	if c.Stdout == nil {
		c.Stdout = p.said
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.result = c.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID returns the process, also after its end.
func (p *Program) PID() int { return p.Process.Pid }

// Said returns the end of what the program wrote, at most 2 KiB.
func (p *Program) Said() string { return p.said.String() }

// Check returns what ended the program, with its own words, nil while it runs.
func (p *Program) Check() error {
	select {
	case <-p.ended:
		return fmt.Errorf("process %d ended: %w: %s", p.PID(), cmp.Or(p.result, io.EOF), p.said)
	default:
		return nil
	}
}

// End sends the program a signal, gives it time to end, then kills it, with its
// workers where it leads a group of processes, and waits for it. Ending twice is
// no error.
func (p *Program) End(signal os.Signal) error {
	_ = p.Process.Signal(signal)
	if waitFor(p.ended, stopWait) {
		return nil
	}
	if p.SysProcAttr.Setpgid { // p is not waited for, so its group cannot be another's
		_ = unix.Kill(-p.PID(), unix.SIGKILL)
	}
	_ = p.Process.Kill()
	if !waitFor(p.ended, killWait) {
		return fmt.Errorf("process %d did not end within %v of SIGKILL", p.PID(), killWait)
	}
	return nil
}

// Running is what a call has started in a world: a process of the lab's own, or
// several for one purpose. It ends with Stop, or with the world.
type Running struct {
	host     *Host
	children []*child // in the order of their start
}

// run starts a child with a role, and returns once it has reported.
func (h *Host) run(ctx context.Context, roleName string, config any) (*Running, error) {
	c, err := h.startChild(ctx, roleName, config, nil)
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
	if err != nil {
		return fmt.Errorf("start lab child %s: %w", roleName, err)
	}
	r.children = append(r.children, c)
	return nil
}

// PID returns the process, the first where there are several.
func (r *Running) PID() int { return r.children[0].PID() }

// Ended is closed when the first process has ended.
func (r *Running) Ended() <-chan struct{} { return r.children[0].ended }

// Check returns what ended the first process, nil while it runs.
func (r *Running) Check() error { return r.children[0].Check() }

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
