package owner

import "slices"

// Servers splits what a selector chose into servers, as two balancers may run
// in one namespace, and others in their containers: a server is a master with
// its workers, or all that run the same program in one container or service
// unit, of one network namespace. Each is sorted by pid, and they by their
// first.
func Servers(chosen []Chosen) [][]Chosen {
	var out [][]Chosen
	for _, p := range slices.SortedFunc(slices.Values(chosen), byPID) {
		// p joins all that it is related to, and so may tie two together.
		joined := []Chosen{p}
		out = slices.DeleteFunc(out, func(server []Chosen) bool {
			if !slices.ContainsFunc(server, p.sameServer) {
				return false
			}
			joined = append(joined, server...)
			return true
		})
		slices.SortFunc(joined, byPID)
		out = append(out, joined)
	}
	slices.SortFunc(out, func(a, b []Chosen) int { return byPID(a[0], b[0]) })
	return out
}

// sameServer reports whether two processes are of one server for certain.
func (p Chosen) sameServer(o Chosen) bool {
	switch {
	case p.Namespace != o.Namespace, p.Container != o.Container, !p.sameProgram(o):
		return false
	case p.Parent == o.PID, p.PID == o.Parent:
		return true
	}
	return p.sameService(o)
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
