module github.com/foreshock/foreshock/internal/lab/peers

go 1.26.8

replace github.com/foreshock/foreshock => ../../..

require (
	github.com/foreshock/foreshock v0.0.0-00010101000000-000000000000
	github.com/prometheus/procfs v0.23.0
	github.com/vishvananda/netlink v1.3.1
	golang.org/x/sys v0.49.0
)

require (
	github.com/gaissmai/bart v0.30.0 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
)
