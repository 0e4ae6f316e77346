package scope

// portMap maps ports to small numbers; zero is none. It is as large as what is
// in it asks for: a namespace with one service needs 64 bytes, and not the
// 128 KiB of a table of all ports, of which hundreds of namespaces would have
// one each. The zero value is not usable; see newPortMap.
type portMap struct {
	entries []portEntry // open addressing, linear probing; a power of two long
	used    int
}

type portEntry struct{ port, at uint16 } // at 0: an empty place

// leastPorts is how long the shortest table is.
const leastPorts = 16

func newPortMap() portMap { return portMap{entries: make([]portEntry, leastPorts)} }

// place is where port is, or where it would go. Listening ports are often
// neighbours, and the kernel gives out the others one by one, so the low bits
// spread them well.
func (m *portMap) place(port uint16) *portEntry {
	mask := len(m.entries) - 1
	for i := int(port) & mask; ; i = (i + 1) & mask {
		if e := &m.entries[i]; e.port == port || e.at == 0 {
			return e
		}
	}
}

func (m *portMap) get(port uint16) uint16 {
	if e := m.place(port); e.port == port {
		return e.at
	}
	return 0
}

// set gives port a number other than zero.
func (m *portMap) set(port, at uint16) {
	e := m.place(port)
	if e.at == 0 {
		m.used++
		if 4*m.used > len(m.entries) { // mostly empty: most sockets are of ports that nobody claims
			old := m.entries
			m.entries = make([]portEntry, 2*len(old))
			for _, x := range old {
				if x.at != 0 {
					*m.place(x.port) = x
				}
			}
			e = m.place(port)
		}
	}
	*e = portEntry{port, at}
}
