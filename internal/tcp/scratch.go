package tcp

// ScratchSize is the length of a scratch's buffer: what the kernel fills at
// most per receive of a netlink socket (net/netlink/af_netlink.c,
// netlink_recvmsg caps max_recvmsg_len so), and more than any page of /proc.
const ScratchSize = 32 << 10

// Scratch is memory for the reading of one look. Readers that are never used
// at the same time, as those of a host's namespaces, can share one.
type Scratch struct {
	Buffer []byte   // ScratchSize bytes as they come from the kernel
	Batch  []Socket // room for BatchSize decoded sockets
}

// NewScratch returns a Scratch for any one reader.
func NewScratch() *Scratch {
	return &Scratch{Buffer: make([]byte, ScratchSize), Batch: make([]Socket, 0, BatchSize)}
}
