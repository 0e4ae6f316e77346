package main

import (
	"errors"
	"fmt"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/netns"
	"github.com/foreshock/foreshock/internal/scope"
	"github.com/foreshock/foreshock/internal/tcp"
)

// space is one network namespace that is open, on the way to its groups.
type space struct {
	netns.Found
	label     string // empty for our own
	reader    observe.Reader
	listeners []tcp.Socket
	services  *scope.Index // only to tell clients apart: their names do not matter
	// By backend: whom everybody there talks to, and how many connections go to
	// peers beyond those.
	peers []discover.Peer
	left  int
}

// where begins what is said of a namespace other than our own.
func (g *space) where() string {
	if g.label == "" {
		return ""
	}
	return fmt.Sprintf("namespace %s: ", g.label)
}

// spaceRead is a namespace that a look took in, or tried to.
type spaceRead struct {
	id     tcp.Namespace
	label  string // empty for our own
	unread string // why it could not be read; empty when it was
}

// openSpaces opens every namespace that may be read, our own first, and looks
// who listens there, and what more the grouping has to know before it counts.
// One that cannot be read is said to be so, and takes nothing from the others.
// The caller closes what is returned, also with an error.
func (c *counted) openSpaces(more func(*space) error) ([]space, error) {
	found, limits, err := netns.List("/proc")
	if err != nil {
		return nil, err
	}
	for _, reason := range limits.Reasons {
		c.limits = append(c.limits, "namespaces of processes: "+reason)
	}
	scratch := tcp.NewScratch()
	used := map[string]bool{}
	listening, skipped := false, false
	var out []space
	for _, n := range found {
		if !n.Own && c.options.config.Observe.Namespaces == config.HostNamespace {
			skipped = true
			continue
		}
		g := space{Found: n}
		if !n.Own {
			g.label = n.Name
			for i := 2; used[g.label]; i++ {
				g.label = fmt.Sprintf("%s~%d", n.Name, i)
			}
			used[g.label] = true
		}
		err := c.open(&g, scratch, more)
		switch {
		case errors.Is(err, netns.ErrStuck), err != nil && n.Own:
			return out, err
		case errors.Is(err, netns.ErrGone):
			c.limits = append(c.limits, g.where()+"it ended while looking")
			continue
		}
		c.spaces = append(c.spaces, spaceRead{id: g.ID, label: g.label})
		if err != nil {
			c.refuse(&g, err)
			continue
		}
		listening = listening || listensAt(c.options.listen, g.listeners)
		out = append(out, g)
	}
	if skipped {
		c.limits = append(c.limits, "other network namespaces than this one: observe: namespaces: host of the configuration leaves them out")
	}
	c.unlessListening(listening)
	return out, nil
}

// open opens one namespace and takes its first looks.
func (c *counted) open(g *space, scratch *tcp.Scratch, more func(*space) error) error {
	var opened observe.Space
	var err error
	if g.Own {
		opened, err = observe.OpenOwn(c.options.source, scratch)
	} else {
		opened, err = observe.OpenIn("/proc", g.Found, c.options.source, scratch)
	}
	if err != nil {
		return err
	}
	if opened.Counters != nil {
		_ = opened.Counters.Close() // only sockets are counted here
	}
	g.reader = opened.Reader
	if g.listeners, err = listenersOf(g.reader); err == nil {
		services, _ := discover.Services(g.listeners, nil, nil)
		g.services = scope.NewIndex(services)
		err = more(g)
	}
	if err != nil {
		return errors.Join(err, g.reader.Close())
	}
	if opened.Fallback != nil {
		c.limits = append(c.limits, fmt.Sprintf("%ssock_diag is refused, /proc is read instead: %v", g.where(), opened.Fallback))
	}
	if g.Own {
		c.limits = append(c.limits, g.reader.Abilities().Missing()...)
	}
	return nil
}

// closeSpaces lets go of the namespaces.
func closeSpaces(spaces []space) {
	for i := range spaces {
		_ = spaces[i].reader.Close() // only read from
	}
}

// countIn counts one namespace. The error is our own namespace's: without it
// there is no answer; another's is said, and takes nothing from the others.
func (c *counted) countIn(g *space, find func(*tcp.Socket) key) error {
	err := c.count(g.reader, g.where(), true, find)
	if err != nil && !g.Own {
		c.refuse(g, err)
		return nil
	}
	return err
}

// refuse says that a namespace could not be read.
func (c *counted) refuse(g *space, err error) {
	c.complete = false
	c.limits = append(c.limits, g.where()+err.Error())
	for i := range c.spaces {
		if c.spaces[i].id == g.ID {
			c.spaces[i].unread = err.Error()
		}
	}
}

// labelOf is what a namespace is called; empty for our own.
func (c *counted) labelOf(id tcp.Namespace) string {
	for i := range c.spaces {
		if c.spaces[i].id == id {
			return c.spaces[i].label
		}
	}
	return ""
}
