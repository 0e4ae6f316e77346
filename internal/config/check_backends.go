package config

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The range of status, and what it is where there is a balancer to ask.
// Foreshock needs the answer only beside the kernel's, so that ten seconds is
// soon enough; oftener than each second would be a load of its own.
const (
	MinStatus     = time.Second
	MaxStatus     = 10 * time.Minute
	DefaultStatus = 10 * time.Second
)

func checkBackends(p *problems, raw []rawBackends) []Backends {
	var out []Backends
	names := uniqueNames{what: "pool", example: "shop", twice: ownName, lines: map[string]int{}}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		key := fmt.Sprintf("backends[%d]", i)
		b := Backends{Name: names.check(p, key, r.At, r.Name)}
		// A member is called "shop/s1": with a slash in the pool's name, two
		// members could share one.
		if r.Name.Good && strings.Contains(b.Name, "/") {
			p.add(r.Name.At, key+".name", b.Name, fmt.Sprintf("%s.name %s has a slash", key, quote(b.Name)), "write it without: a slash parts the pool from its member")
		}
		if !r.Process.there() {
			p.add(r.At, key+".process", b.Name, fmt.Sprintf("%s %s does not say whose connections are meant", key, quote(b.Name)), "add process: {unit: haproxy.service}, or another of its keys")
		} else {
			b.Process = checkProcess(p, key+".process", r.Process)
		}
		if r.Discover.there() {
			b.Discover = checkDiscover(p, key+".discover", r.Discover)
		}
		b.Status = checkStatus(p, key, r)
		out = append(out, b)
	}
	return out
}

// maxComm is the longest short name of a process, in bytes: the kernel cuts
// longer ones. Kernel: TASK_COMM_LEN, include/linux/sched.h, with its NUL.
const maxComm = 15

// unitName is what holds processes and has a name of the service manager's.
// systemd.unit(5), "Unit name validity"; slices hold other units only.
var unitName = regexp.MustCompile(`^[0-9A-Za-z:_.\\@-]+\.(service|scope|socket|mount|swap)$`)

// maxUnit is the longest name of a unit. systemd.unit(5).
const maxUnit = 255

// containerStart is the beginning of a container's id, as long as the tools
// that list containers print it.
var containerStart = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

func checkProcess(p *problems, key string, raw rawProcess) Process {
	var out Process
	refuse := func(s scalar, name, problem, hint string) {
		p.add(s.At, key+"."+name, s.Text, fmt.Sprintf("%s.%s %s %s", key, name, quote(s.Text), problem), hint)
	}
	if !raw.Spoiled && !raw.Name.Given && !raw.Exe.Given && !raw.Unit.Given && !raw.Container.Given && !raw.Cgroup.Given && !raw.Listens.Given {
		p.add(raw.At, key, "", key+" chooses no process", "give it one of name, exe, unit, container, cgroup and listens")
	}
	if s := raw.Name; s.Good && checkName(p, key+".name", s.scalar) {
		switch {
		case s.Text == "":
			p.add(s.At, key+".name", "", key+".name is empty", "write the name that ps -o comm shows, or remove the key")
		case len(s.Text) > maxComm:
			refuse(s.scalar, "name", fmt.Sprintf("is longer than %d bytes, and the kernel keeps no more", maxComm), "write the name that ps -o comm shows, or use exe")
		default:
			out.Name = s.Text
		}
	}
	if s := raw.Exe; s.Good {
		out.Exe = checkPath(p, key+".exe", s.scalar, maxPath, "/usr/sbin/haproxy")
	}
	if s := raw.Unit; s.Good {
		switch {
		case len(s.Text) <= maxUnit && unitName.MatchString(s.Text):
			out.Unit = s.Text
		case strings.HasSuffix(s.Text, ".slice"):
			refuse(s.scalar, "unit", "holds other units, not processes", "write cgroup: /"+shorten(s.Text)+", or its whole path where it is deeper")
		case unitName.MatchString(s.Text + ".service"):
			refuse(s.scalar, "unit", "has no ending that a unit with processes has", fmt.Sprintf("did you mean %q?", s.Text+".service"))
		default:
			refuse(s.scalar, "unit", "is not the name of a unit", "write it as systemctl status shows it: haproxy.service")
		}
	}
	if s := raw.Container; s.Good {
		if containerStart.MatchString(s.Text) {
			out.Container = s.Text
		} else {
			refuse(s.scalar, "container", "is not a container's id", "write 12 to 64 of its hexadecimal digits, as docker ps shows them; names of containers are not known to the kernel")
		}
	}
	if s := raw.Cgroup; s.Good {
		out.Cgroup = checkCgroup(p, key+".cgroup", s.scalar)
	}
	if s := raw.Listens; s.Good {
		out.Listens, _ = checkListener(p, key+".listens", s.scalar)
	}
	return out
}

// The longest paths, in bytes, both without their NUL.
const (
	maxPath   = 4095 // PATH_MAX, include/uapi/linux/limits.h
	maxSocket = 107  // sun_path, unix(7)
)

// checkPath checks an absolute path of at most longest bytes.
func checkPath(p *problems, key string, s scalar, longest int, example string) string {
	problem, hint := "", "write it as "+example
	switch {
	case !strings.HasPrefix(s.Text, "/"):
		problem = "is not an absolute path"
	case !printable(s.Text):
		problem = "has a character that cannot be printed"
	case len(s.Text) > longest:
		problem, hint = fmt.Sprintf("is longer than %d bytes", longest), "the kernel takes no longer one: is it the right path?"
	case s.Text != path.Clean(s.Text):
		problem, hint = "is not in its shortest form", "write it as "+quote(path.Clean(s.Text))
	default:
		return s.Text
	}
	p.add(s.At, key, s.Text, fmt.Sprintf("%s %s %s", key, quote(s.Text), problem), hint)
	return ""
}

// checkCgroup checks a path as /proc/PID/cgroup has it.
func checkCgroup(p *problems, key string, s scalar) string {
	const example = "/system.slice/haproxy.service"
	switch mounted, found := strings.CutPrefix(s.Text, "/sys/fs/cgroup/"); {
	case s.Text == "/":
		p.add(s.At, key, s.Text, key+" \"/\" is every process of this host", "name the group below it, as "+example)
	case found:
		p.add(s.At, key, s.Text, fmt.Sprintf("%s %s has the place in it where the hierarchy is mounted", key, quote(s.Text)), "write it as /proc/PID/cgroup shows it: "+quote("/"+mounted))
	default:
		return checkPath(p, key, s, maxPath, example)
	}
	return ""
}

func checkDiscover(p *problems, key string, raw rawDiscover) Discover {
	var out Discover
	var kinds []string
	if r := raw.HAProxy; r.there() {
		kinds = append(kinds, "haproxy")
		switch {
		case !r.Socket.Given && !r.Spoiled:
			p.add(r.At, key+".haproxy.socket", "", key+".haproxy has no socket", "add socket: /run/haproxy/admin.sock, HAProxy's stats socket")
		case r.Socket.Good:
			out.HAProxySocket = checkPath(p, key+".haproxy.socket", r.Socket.scalar, maxSocket, "/run/haproxy/admin.sock")
		}
	}
	if r := raw.Traefik; r.there() {
		kinds = append(kinds, "traefik")
		out.TraefikAPI, out.TraefikFile = checkTraefik(p, key+".traefik", r)
	}
	if len(raw.DNS) > 0 {
		kinds = append(kinds, "dns")
		out.DNS = checkTargets(p, key+".dns", raw.DNS)
	}
	if len(raw.Static) > 0 {
		kinds = append(kinds, "static")
		out.Static = checkMembers(p, key+".static", raw.Static)
	}
	switch {
	case len(kinds) == 0 && !raw.Spoiled:
		p.add(raw.At, key, "", key+" does not say where the members come from", "give it one of haproxy, traefik, dns and static, or remove it to take the addresses that the process talks to")
	case len(kinds) > 1:
		p.add(raw.At, key, "", fmt.Sprintf("%s has %d sources: %s", key, len(kinds), strings.Join(kinds, ", ")), "keep one of them; a second pool of the same process may have another")
	}
	return out
}

func checkTraefik(p *problems, key string, raw rawTraefik) (api, file string) {
	switch {
	case raw.API.Given && raw.File.Given:
		p.add(raw.At, key, "", key+" has both an api and a file", "keep one of them")
	case !raw.API.Given && !raw.File.Given && !raw.Spoiled:
		p.add(raw.At, key, "", key+" has neither an api nor a file", `add api: "http://127.0.0.1:8080" or file: /etc/traefik/dyn.yml`)
	}
	if raw.API.Good {
		const example = "http://127.0.0.1:8080"
		switch text := checkURL(p, key+".api", raw.API.scalar, example); {
		case strings.Contains(text, "?"):
			p.add(raw.API.At, key+".api", "", key+".api has a query", "write the base address, as "+example)
		case strings.HasSuffix(text, "/api"), strings.Contains(text, "/api/"), strings.Contains(text, "/dashboard"):
			p.add(raw.API.At, key+".api", "", key+".api names a page below the base address", "write the base address, as "+example)
		default:
			api = strings.TrimRight(text, "/")
		}
	}
	if raw.File.Good {
		file = checkPath(p, key+".file", raw.File.scalar, maxPath, "/etc/traefik/dyn.yml")
	}
	return api, file
}

// hostName is a name that resolvers are asked for. Underscores are no part of
// a host's name but common in those of containers. RFC 1123, section 2.1.
var hostName = regexp.MustCompile(`^([0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?\.)*[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?\.?$`)

// maxHostName is the longest name in characters, with its points. RFC 1035, section 2.3.4.
const maxHostName = 253

func checkTargets(p *problems, key string, raw []rawTarget) []string {
	var out []string
	lines := map[string]int{}
	for i, r := range raw {
		at := fmt.Sprintf("%s[%d]", key, i)
		if !r.Good {
			continue
		}
		host, digits, ok := cutPort(r.Text)
		problem, hint := "", `write it as "shop.internal:8080"`
		switch port, err := strconv.ParseUint(digits, 10, 16); {
		case isAddress(r.Text) || isAddress(host):
			problem, hint = "is an address, not a name", "addresses are listed in static"
		case !ok:
			problem, hint = "has no port", "add the port, as "+quote(r.Text+":8080")
		case err != nil || port == 0 || strconv.FormatUint(port, 10) != digits:
			problem, hint = "has no port from 1 to 65535", `write the number, as "shop.internal:8080"`
		case len(strings.TrimSuffix(host, ".")) > maxHostName || !hostName.MatchString(host):
			problem = "is not a name that can be looked up"
		case lines[strings.ToLower(r.Text)] != 0:
			problem, hint = fmt.Sprintf("is there twice, first on line %d", lines[strings.ToLower(r.Text)]), "keep one of them"
		default:
			lines[strings.ToLower(r.Text)] = r.At.Line
			out = append(out, r.Text)
			continue
		}
		p.add(r.At, at, r.Text, fmt.Sprintf("%s %s %s", at, quote(r.Text), problem), hint)
	}
	return out
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

func checkMembers(p *problems, key string, raw []rawMember) []Member {
	var out []Member
	names, addresses := map[string]int{}, map[netip.AddrPort]int{}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		at := fmt.Sprintf("%s[%d]", key, i)
		if !r.Address.Given {
			p.add(r.At, at+".address", r.Name.Text, at+" has no address", `add address: "192.0.2.10:8080"`)
		}
		var m Member
		if r.Address.Good {
			remote, ok := checkRemote(p, at, r.Address.scalar)
			if ok && addresses[remote] != 0 {
				p.add(r.Address.At, at, r.Address.Text, fmt.Sprintf("%s %s is there twice, first on line %d", at, quote(r.Address.Text), addresses[remote]), "keep one of them")
			} else if ok {
				addresses[remote] = r.Address.At.Line
				m = Member{Name: remote.String(), Remote: remote}
			}
		}
		if s := r.Name; s.Good && checkName(p, at+".name", s.scalar) {
			if s.Text == "" {
				p.add(s.At, at+".name", "", at+".name is empty", "give it a name, or remove the key to call it by its address")
			}
			m.Name = s.Text
		}
		if m.Remote.IsValid() && m.Name != "" && names[m.Name] != 0 {
			p.add(r.At, at+".name", m.Name, fmt.Sprintf("%s: the name %s is there twice, first on line %d", at, quote(m.Name), names[m.Name]), "give each member its own name")
		}
		names[m.Name] = r.At.Line
		out = append(out, m)
	}
	return out
}

// checkRemote reads "192.0.2.10:8080" or "[2001:db8::1]:8080".
func checkRemote(p *problems, key string, s scalar) (netip.AddrPort, bool) {
	problem, hint := "is not an address and a port", `write it as "192.0.2.10:8080" or "[2001:db8::1]:8080"`
	host, port, _ := cutPort(s.Text)
	switch ap, err := netip.ParseAddrPort(s.Text); {
	case err != nil && hostName.MatchString(host) && plainNumber.MatchString(port) && !isAddress(host):
		problem, hint = "has a name for an address", "names are listed in dns, which looks them up again and again"
	case err != nil || ap.Addr().Zone() != "":
	case ap.Port() == 0:
		problem, hint = "has no port from 1 to 65535", "write the port that the member listens on"
	case ap.Addr().IsUnspecified() || ap.Addr().Unmap().IsUnspecified():
		problem, hint = "is every address, not one", "write the address that connections go to"
	default:
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
	}
	p.add(s.At, key, s.Text, fmt.Sprintf("%s %s %s", key, quote(s.Text), problem), hint)
	return netip.AddrPort{}, false
}

// checkStatus reads "10s" or "off", and gives the default where a balancer can
// be asked.
func checkStatus(p *problems, key string, raw rawBackends) time.Duration {
	d := &raw.Discover
	asked := d.Spoiled || d.HAProxy.there() || d.Traefik.Spoiled || d.Traefik.API.Given
	key += ".status"
	switch {
	case raw.Status.Good && raw.Status.Text == "off":
		return 0
	case raw.Status.Good && !asked:
		p.add(raw.Status.At, key, raw.Status.Text, fmt.Sprintf("%s %s has no balancer to ask", key, quote(raw.Status.Text)), "add discover: {haproxy: {socket: …}} or {traefik: {api: …}}, or remove status")
		return 0
	case raw.Status.Good && !strings.ContainsAny(raw.Status.Text, "0123456789"):
		p.add(raw.Status.At, key, raw.Status.Text, key+" "+quote(raw.Status.Text)+" is neither a duration nor off", "write it as 10s, or off")
		return 0
	case raw.Status.Good:
		return checkDuration(p, key, raw.Status.scalar, MinStatus, MaxStatus)
	case asked:
		return DefaultStatus
	}
	return 0
}
