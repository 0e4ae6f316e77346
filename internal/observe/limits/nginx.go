package limits

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/foreshock/foreshock/internal/scope"
)

// nginx is what matters of nginx's configuration.
type nginx struct {
	*reading
	dir         string // of the main file: includes are relative to it
	processes   nginxValue
	connections nginxValue
	descriptors nginxValue
	single      bool     // master_process off
	passes      position // the first directive that passes requests on, by name
	passName    string
	listeners   map[string]bool
	listens     bool // the server block being read says where
}

type nginxValue struct {
	text string
	at   position
}

func readNginx(r *reading) scope.Workers {
	n := &nginx{reading: r, listeners: map[string]bool{}}
	options := nginxOptions(r.process)
	main := n.mainFile(options)
	n.dir = path.Dir(main)
	if options.globals != "" {
		n.items([]byte(options.globals), position{file: "nginx -g"}, nil, 0)
	}
	n.file(main, position{}, nil, 0)
	w := scope.Workers{Software: "nginx", Held: scope.HeldByRequest, TurnsAway: true}
	w.Limit, w.Origin = n.limit()
	return w
}

// nginxLine is what nginx's command line says about its configuration.
type nginxLine struct{ prefix, file, globals string }

// nginxOptions understands the command line, or the title that nginx's master
// writes over it: the arguments again, joined by blanks, quotes lost.
// nginx: src/os/unix/ngx_process_cycle.c, ngx_master_process_cycle.
func nginxOptions(p process) nginxLine {
	args := p.arguments()
	if title, ok := p.title("nginx: master process"); ok {
		args = splitTitle(strings.Fields(title))
	}
	var o nginxLine
	letterOptions(args, "pcge", func(letter byte, value string) {
		switch letter {
		case 'p':
			o.prefix = value
		case 'c':
			o.file = value
		case 'g':
			o.globals = value
		}
	})
	return o
}

// splitTitle puts the words behind -g together again, up to the next option:
// directives end in ";", so that an option can only follow one of these.
func splitTitle(words []string) []string {
	var args []string
	for i := 0; i < len(words); i++ {
		args = append(args, words[i])
		if words[i] != "-g" {
			continue
		}
		from := i + 1
		for i++; i < len(words) && (i == from || !strings.HasSuffix(words[i-1], ";") || words[i][0] != '-'); i++ {
		}
		args = append(args, strings.Join(words[from:i], " "))
		i--
	}
	return args
}

// mainFile finds the first file: as the command line says, as the program was
// built (it prints its configure arguments at -V), or as the usual builds are.
func (n *nginx) mainFile(o nginxLine) string {
	if o.prefix == "" && path.IsAbs(o.file) {
		return path.Clean(o.file) // the program need not be searched
	}
	built, _ := n.builtIn(builtPrefix)
	prefix := cmp.Or(built, "/usr/local/nginx")
	if o.prefix != "" {
		prefix = within(n.process.directory(), o.prefix)
	}
	if o.file != "" {
		return within(prefix, o.file)
	}
	if file, _ := n.builtIn(builtConf); file != "" {
		return within(prefix, file)
	}
	usual := []string{"/etc/nginx/nginx.conf", prefix + "/conf/nginx.conf", "/usr/local/openresty/nginx/conf/nginx.conf"}
	if o.prefix != "" {
		usual[0], usual[1] = usual[1], usual[0]
	}
	return n.firstFile(usual...)
}

func (n *nginx) file(name string, from position, within []string, depth int) {
	if data, ok := n.read(name, from, depth); ok {
		n.items(data, position{file: name}, within, depth)
	}
}

// items evaluates one file, whose directives are inside the blocks within.
func (n *nginx) items(data []byte, at position, blocks []string, depth int) {
	items, err := nginxItems(data)
	if err != nil {
		n.doubt("%s: %v", at.file, err)
		return
	}
	for _, item := range items {
		at.line = item.line
		switch {
		case item.name == "":
			blocks = n.end(blocks)
		case item.name == "include" && len(item.args) == 1:
			n.include(item.args[0], at, blocks, depth)
		default:
			n.directive(item, at, blocks)
			if item.block {
				// Clipped, so that files included side by side do not share it.
				blocks = append(slices.Clip(blocks), item.name)
			}
		}
		if n.over() {
			return // no limit can come of it any more
		}
	}
}

// end leaves the innermost block. A web server that does not say where it
// listens does so on port 80. src/http/ngx_http_core_module.c,
// ngx_http_core_server.
func (n *nginx) end(blocks []string) []string {
	if slices.Equal(blocks, []string{"http", "server"}) && !n.listens {
		n.listeners["*:80"] = true
	}
	return blocks[:len(blocks)-1]
}

func (n *nginx) include(pattern string, at position, blocks []string, depth int) {
	pattern = within(n.dir, pattern)
	for _, name := range n.glob(pattern, at) {
		n.file(name, at, blocks, depth+1)
		if n.over() {
			return
		}
	}
}

// passing are the directives that open a connection of their own for each
// request: nginx counts it among worker_connections too.
var passing = []string{"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"}

func (n *nginx) directive(item nginxItem, at position, blocks []string) {
	block := ""
	if len(blocks) > 0 {
		block = blocks[len(blocks)-1]
	}
	if item.name == "server" && item.block {
		n.listens = false
		return
	}
	if len(item.args) == 0 {
		return
	}
	value := nginxValue{item.args[0], at}
	switch {
	case item.name == "worker_processes" && block == "":
		n.processes = value
	case item.name == "worker_connections" && block == "events":
		n.connections = value
	case item.name == "worker_rlimit_nofile" && block == "":
		n.descriptors = value
	case item.name == "master_process" && block == "":
		n.single = value.text == "off"
	case item.name == "listen" && block == "server":
		n.listeners[nginxAddress(value.text)] = true
		n.listens = true
	case n.passName == "" && slices.Contains(passing, item.name):
		n.passName, n.passes = item.name, at
	}
}

// nginxAddress spells an address of listen in one way: without an address it
// is any, without a port 80.
func nginxAddress(text string) string {
	if _, err := strconv.Atoi(text); err == nil {
		return "*:" + text
	}
	if !strings.Contains(strings.TrimPrefix(text[strings.LastIndexByte(text, ']')+1:], "unix:"), ":") && !strings.HasPrefix(text, "unix:") {
		text += ":80"
	}
	return strings.Replace(text, "0.0.0.0:", "*:", 1)
}

// defaultConnections is nginx's: src/event/ngx_event.c, DEFAULT_CONNECTIONS.
const defaultConnections = 512

// limit works out how many requests all processes can hold at once.
func (n *nginx) limit() (limit int, origin string) {
	each, eachWords := n.perProcess()
	if each <= 0 {
		return 0, ""
	}
	processes, processWords := n.processCount()
	if processes <= 0 {
		return 0, ""
	}
	if processes > maxCount/each {
		n.doubt("%d × %d connections are more than any machine has", processes, each)
		return 0, ""
	}
	// Of each process' connections its listeners and the channel to the
	// master take one each: src/event/ngx_event.c, ngx_event_process_init;
	// src/os/unix/ngx_process_cycle.c, ngx_worker_process_init.
	own := len(n.listeners)
	if !n.single {
		own++
	}
	if each <= own {
		n.doubt("worker_connections %d does not suffice for nginx's own %d (listeners and the channel to its master)", each, own)
		return 0, ""
	}
	limit = processes * (each - own)
	origin = fmt.Sprintf("%s × (%s less %d of nginx's own)", processWords, eachWords, own)
	if n.passName != "" {
		limit /= 2
		origin += fmt.Sprintf(", halved: a request that is passed on holds two connections (%s, %s)", n.passName, n.passes)
	}
	return limit, origin
}

// perProcess is the number of connections that one process can hold.
func (n *nginx) perProcess() (int, string) {
	each, words := defaultConnections, fmt.Sprintf("nginx's default of %d worker_connections", defaultConnections)
	if n.connections.text != "" {
		var err error
		if each, err = count(n.connections.text); err != nil {
			n.doubt("%s: worker_connections: %v", n.connections.at, err)
			return 0, ""
		}
		words = fmt.Sprintf("worker_connections %d, %s,", each, n.connections.at)
	}
	files, from := n.openFiles()
	if files > 0 && files < each {
		n.note("%s %d is below worker_connections %d: each process can hold %d connections at most", from, files, each, files)
		return files, fmt.Sprintf("%s %d", from, files)
	}
	return each, words
}

// openFiles is how many descriptors a process may have, as configured or as
// it is; 0 when unknown.
func (n *nginx) openFiles() (int, string) {
	if n.descriptors.text == "" {
		return n.process.descriptors(), "the limit of open files"
	}
	files, err := count(n.descriptors.text)
	if err != nil {
		n.doubt("%s: worker_rlimit_nofile: %v", n.descriptors.at, err)
		return 0, ""
	}
	return files, "worker_rlimit_nofile"
}

// processCount is how many processes serve. What "auto" comes to depends on
// the C library (online processors, or those the process may use), so that the
// workers that run are counted where they are seen.
func (n *nginx) processCount() (int, string) {
	running := n.running()
	text := n.processes.text
	switch {
	case n.single:
		return 1, "one process (master_process off)"
	case text == "":
		return 1, "nginx's default of 1 worker_processes"
	case text == "auto" && running > 0:
		return running, fmt.Sprintf("%d worker_processes (auto, %s)", running, n.processes.at)
	case text == "auto":
		cpus := n.process.cpus()
		if cpus == 0 {
			n.doubt("%s: worker_processes auto: neither the workers nor the processors of the process can be counted", n.processes.at)
		}
		return cpus, fmt.Sprintf("%d worker_processes (auto: processors of the process; %s)", cpus, n.processes.at)
	}
	processes, err := count(text)
	if err != nil {
		n.doubt("%s: worker_processes: %v", n.processes.at, err)
		return 0, ""
	}
	if running > 0 && running != processes {
		n.note("%d workers run where worker_processes says %d: the configuration may not be in use yet", running, processes)
	}
	return processes, fmt.Sprintf("worker_processes %d (%s)", processes, n.processes.at)
}

// running counts the master's workers, but for those that a reload has told to
// end: src/os/unix/ngx_process_cycle.c, ngx_worker_process_cycle.
func (n *nginx) running() int {
	workers := 0
	for _, child := range n.process.children() {
		if rest, ok := child.title("nginx: worker process"); ok && rest == "" {
			workers++
		}
	}
	return workers
}
