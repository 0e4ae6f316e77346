package owner

import "slices"

// relative is a process that may be of the same server as another.
type relative struct {
	Chosen
	// drained is true when it was seen to listen nowhere.
	drained bool
}

// family adds to the balancers that were chosen for what they listen on the
// rest of each: after a reload the old workers finish what they have begun
// without a listener, and a master need not keep one. Of other programs only
// those that listen are taken: an interpreter runs unrelated ones under one
// name.
func (c *choice) family(i int) {
	near := c.relatives(i)
	// A worker that drains is the child of a master who is the parent of one
	// that listens: so until nobody is added.
	for grown := true; grown; {
		grown = false
		near = slices.DeleteFunc(near, func(r relative) bool {
			if !slices.ContainsFunc(c.out[i], r.of) {
				return false
			}
			c.out[i] = append(c.out[i], r.Chosen)
			grown = true
			return true
		})
	}
}

// relatives returns who runs the same balancer as one that was chosen.
func (c *choice) relatives(i int) []relative {
	chosen := slices.Clone(c.out[i])
	var out []relative
	for _, pid := range c.rest[i] {
		if slices.ContainsFunc(chosen, func(o Chosen) bool { return o.PID == pid }) {
			continue // found by its later descriptors
		}
		p, err := see(c.proc, pid)
		if err != nil {
			continue // it ended
		}
		software := p.software()
		if software != "" && slices.ContainsFunc(chosen, func(o Chosen) bool { return Balancer(o.Name, o.Exe) == software }) {
			if d, err := p.describe(c.hierarchy); err == nil {
				out = append(out, relative{d, c.drained(p)})
			}
		}
		p.close()
	}
	return out
}

// of reports whether r is of the same server as o: its parent, its child, or
// one that drains in the same service or container, or below the same parent.
func (r relative) of(o Chosen) bool {
	switch {
	case r.Namespace != 0 && o.Namespace != 0 && r.Namespace != o.Namespace, r.Container != o.Container, !r.sameProgram(o):
		return false
	case r.Parent == o.PID, r.PID == o.Parent:
		return true
	case !r.drained:
		return false
	case r.Parent > 1 && r.Parent == o.Parent:
		return true
	}
	return r.sameService(o)
}

// drained reports whether a process listens nowhere, as far as its first
// descriptors tell. One that cannot be read is not.
func (c *choice) drained(p *seen) bool {
	if c.search.left < perSecond {
		return false // too little is left to tell
	}
	fds, err := p.descriptors()
	if err != nil {
		return false
	}
	defer fds.Close()
	c.search.wanted = c.listening
	found, _, err := c.search.descriptors(fds, 0, perSecond)
	return err == nil && len(found) == 0
}

// sameProgram compares programs, and names where a program may not be read.
// Builds of one balancer are the same: an upgrade has both for a while.
func (p Chosen) sameProgram(o Chosen) bool {
	if software := Balancer(p.Name, p.Exe); software != "" {
		return Balancer(o.Name, o.Exe) == software
	}
	if p.Exe != "" && o.Exe != "" {
		return p.Exe == o.Exe
	}
	return p.Name == o.Name
}

// sameService reports whether two processes are in one container or one
// service unit.
func (p Chosen) sameService(o Chosen) bool {
	return p.Container == o.Container && p.Unit == o.Unit && (p.Container != "" || isService(p.Unit))
}
