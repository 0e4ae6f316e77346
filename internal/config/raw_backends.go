package config

// The raw types of the backends section; raw.go says what raw types are.

type rawBackends struct {
	section
	Name     rawText     `yaml:"name" jsonschema:"required" jsonschema_description:"The pool's name, unique in the file and without a slash."`
	Process  rawProcess  `yaml:"process" example:"{unit: haproxy.service}" jsonschema:"required" jsonschema_description:"Whose connections are meant. Every key that is given must match; all processes that match count, also those that start later."`
	Discover rawDiscover `yaml:"discover" empty:"yes" example:"{haproxy: {socket: /run/haproxy/admin.sock}}" jsonschema_description:"Where the members come from. Default: the addresses that the process is seen to talk to."`
	Status   rawStatus   `yaml:"status" jsonschema_description:"How often HAProxy or Traefik is asked what it thinks of its backends, from 1s to 10m, or off. Default: 10s with haproxy or traefik's api, else off."`
}

type rawProcess struct {
	section
	Name      rawText     `yaml:"name" jsonschema_description:"The short name, as in /proc/PID/comm: at most 15 bytes."`
	Exe       rawAbsolute `yaml:"exe" jsonschema_description:"The program's absolute path."`
	Unit      rawUnit     `yaml:"unit" jsonschema_description:"The service unit, with its ending: haproxy.service."`
	Container rawText     `yaml:"container" jsonschema_description:"The container's id, or its first 12 digits or more."`
	Cgroup    rawAbsolute `yaml:"cgroup" jsonschema_description:"The cgroup's path below the root of the hierarchy, or one above it."`
	Listens   rawListen   `yaml:"listens" jsonschema_description:"Whoever listens there: \":443\" on any address, \"192.0.2.1:443\", \"[::1]:443\"."`
}

type rawDiscover struct {
	section
	HAProxy rawHAProxy  `yaml:"haproxy" example:"{socket: /run/haproxy/admin.sock}" jsonschema_description:"Ask HAProxy."`
	Traefik rawTraefik  `yaml:"traefik" example:"{api: \"http://127.0.0.1:8080\"}" jsonschema_description:"Ask Traefik, or read the file of its file provider."`
	DNS     []rawTarget `yaml:"dns" example:"[\"shop.internal:8080\"]" jsonschema_description:"Names with ports, looked up again and again."`
	Static  []rawMember `yaml:"static" example:"[\"192.0.2.10:8080\"]" jsonschema_description:"The members themselves."`
}

type rawHAProxy struct {
	section
	Socket rawAbsolute `yaml:"socket" jsonschema:"required" jsonschema_description:"Path of the runtime socket: HAProxy's stats socket."`
}

type rawTraefik struct {
	section
	API  rawURL      `yaml:"api" jsonschema_description:"Base address of Traefik's API."`
	File rawAbsolute `yaml:"file" jsonschema_description:"Path of the file that Traefik's file provider reads."`
}

// rawMember is an address alone, or a mapping.
type rawMember struct {
	section
	Name    rawText   `yaml:"name" jsonschema_description:"The member's name, unique in the pool. Default: its address."`
	Address rawRemote `yaml:"address" jsonschema:"required" jsonschema_description:"Its IP address and port."`
}
