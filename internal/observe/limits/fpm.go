package limits

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/scope"
)

// fpm is what matters of PHP-FPM's configuration.
type fpm struct {
	*reading
	prefix string  // empty: see below
	most   setting // process.max; 0 is no limit
	pools  []*fpmPool
	env    map[string]string
}

type fpmPool struct {
	name     string
	listen   string
	children setting // pm.max_children
	at       position
}

func readFPM(r *reading) scope.Workers {
	f := &fpm{reading: r, env: r.process.environment()}
	main := f.mainFile()
	f.file(main, position{}, "", 0)
	w := scope.Workers{Software: "php-fpm", Held: scope.HeldByConnection}
	w.Limit, w.Origin = f.limit(main)
	return w
}

// mainFile finds the first file: the master's title names it
// (sapi/fpm/fpm/fpm_env.c, fpm_env_setproctitle), else the command line, the
// text of the build, or the usual builds.
func (f *fpm) mainFile() string {
	if title, ok := f.process.title("php-fpm: master process ("); ok {
		if name, ok := strings.CutSuffix(title, ")"); ok && name != "" {
			return within(f.process.directory(), name)
		}
	}
	file := ""
	args := f.process.arguments()
	for i, arg := range args {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		name, joined, ok := strings.Cut(arg, "=")
		if ok {
			value = joined
		}
		switch name {
		case "-y", "--fpm-config":
			file = within(f.process.directory(), value)
		case "-p", "--prefix":
			f.prefix = within(f.process.directory(), value)
		}
	}
	if file != "" {
		return file
	}
	if dir, _ := f.builtIn(builtSysconf); dir != "" {
		return within(dir, "php-fpm.conf")
	}
	version := strings.Trim(path.Base(f.exe), "phfm-")
	return f.firstFile("/etc/php/"+version+"/fpm/php-fpm.conf", "/etc/php-fpm.conf", f.below("etc/php-fpm.conf"), "/etc/php"+strings.ReplaceAll(version, ".", "")+"/php-fpm.conf")
}

// below is a path below the prefix that the command line gives, else the one
// that the program was built with. The program is searched only for a path that
// needs it.
func (f *fpm) below(parts ...string) string {
	last := parts[len(parts)-1]
	if path.IsAbs(last) {
		return path.Clean(last)
	}
	if f.prefix == "" {
		built, _ := f.builtIn(builtPrefix)
		f.prefix = cmp.Or(built, "/usr/local")
	}
	return within(f.prefix, path.Join(parts...))
}

// file reads one file and returns the section it ends in: sections reach
// beyond an include.
func (f *fpm) file(name string, from position, section string, depth int) string {
	data, ok := f.read(name, from, depth)
	if !ok {
		return section
	}
	lines, err := iniLines(data)
	if err != nil {
		f.doubt("%s: %v", name, err)
		return section
	}
	for _, l := range lines {
		at := position{name, l.line}
		switch {
		case l.section:
			section = l.key
			if !strings.EqualFold(section, "global") {
				f.pool(section, at)
			}
		case l.key == "include":
			for _, file := range f.glob(f.below(f.expand(l.value)), at) {
				section = f.file(file, at, section, depth+1)
			}
		default:
			f.set(section, l, at)
		}
		if f.over() {
			break
		}
	}
	return section
}

// pool returns the pool of that name, which several sections can make up.
func (f *fpm) pool(name string, at position) *fpmPool {
	for _, p := range f.pools {
		if strings.EqualFold(p.name, name) {
			return p
		}
	}
	p := &fpmPool{name: name, at: at}
	f.pools = append(f.pools, p)
	return p
}

func (f *fpm) set(section string, l iniLine, at position) {
	value := f.expand(l.value)
	if section == "" || strings.EqualFold(section, "global") {
		switch l.key {
		case "process.max":
			f.most = f.number(l.key, value, at)
		case "pid":
			if value != "" {
				f.pidFile = f.below("var", value)
			}
		}
		return
	}
	p := f.pool(section, at)
	switch l.key {
	case "listen":
		p.listen = strings.ReplaceAll(value, "$pool", p.name)
	case "pm.max_children":
		p.children = f.number(l.key, value, at)
	}
}

// number reads a whole number; 0 is none.
func (f *fpm) number(key, text string, at position) setting {
	if text == "0" {
		return setting{directive: key, at: at}
	}
	n, err := count(text)
	if err != nil {
		f.doubt("%s: %s: %v", at, key, err)
	}
	return setting{count: n, directive: key, at: at}
}

// expand replaces ${NAME} by the environment. PHP: Zend/zend_ini_parser.y.
func (f *fpm) expand(text string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			b.WriteString(rest)
			return b.String()
		}
		b.WriteString(f.env[name])
		text = after
	}
}

// limit adds up the pools that listen where the service does.
func (f *fpm) limit(main string) (limit int, origin string) {
	var serving []string
	all, sockets := 0, 0
	for _, p := range f.pools {
		if p.children.count == 0 && p.claims(f.listen) {
			f.doubt("%s: pm.max_children of this pool is not set", p.at)
			continue
		}
		all += p.children.count
		if p.onUnixSocket() {
			sockets++
		}
		if p.claims(f.listen) {
			limit += p.children.count
			serving = append(serving, fmt.Sprintf("pm.max_children %d of pool %s, %s", p.children.count, p.name, p.children.at))
		}
		if all > maxCount {
			f.doubt("the pools' pm.max_children are more than %d together", maxCount)
			return 0, ""
		}
	}
	switch {
	case len(serving) == 0 && len(f.doubts) > 0:
		return 0, ""
	case len(serving) == 0 && sockets > 0 && sockets == len(f.pools):
		f.doubt("the pools in %s listen on unix sockets only, which are not TCP", main)
		return 0, ""
	case len(serving) == 0:
		f.doubt("no pool in %s listens on the service's addresses", main)
		return 0, ""
	case len(serving) > 1:
		f.note("%d pools are one service here: they share this limit, but not their workers; name each pool's address as a service of its own", len(serving))
	}
	origin = strings.Join(serving[:min(len(serving), maxRemarks)], " + ")
	if len(serving) > maxRemarks {
		origin += fmt.Sprintf(" + %d more pools", len(serving)-maxRemarks)
	}
	if most := f.most.count; most > 0 && most < all {
		f.note("process.max %d (%s) is below the pools' pm.max_children together, %d: pools take workers from each other", most, f.most.at, all)
		if most < limit {
			return most, fmt.Sprintf("process.max %d, %s", most, f.most.at)
		}
	}
	return limit, origin
}

// onUnixSocket: what is neither a number nor has a colon.
// PHP: sapi/fpm/fpm/fpm_sockets.c, fpm_sockets_domain_from_address.
func (p *fpmPool) onUnixSocket() bool {
	return strings.Trim(p.listen, "0123456789") != "" && !strings.Contains(p.listen, ":")
}

// claims reports whether the pool listens on one of the addresses. A host name
// is taken to be any address of ours, and so is a port alone.
func (p *fpmPool) claims(listen []netip.AddrPort) bool {
	if p.listen == "" || p.onUnixSocket() {
		return false
	}
	host, text := "", p.listen
	if colon := strings.LastIndexByte(p.listen, ':'); colon >= 0 {
		host, text = strings.Trim(p.listen[:colon], "[]"), p.listen[colon+1:]
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	anywhere := err != nil || addr.IsUnspecified()
	for _, l := range listen {
		if l.Port() == uint16(port) && (anywhere || l.Addr().IsUnspecified() || l.Addr().Unmap() == addr.Unmap()) {
			return true
		}
	}
	return false
}
