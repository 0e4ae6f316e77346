package limits

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/scope"
)

// apache is the state of Apache's configuration while it is read, in the order
// in which Apache itself reads it.
type apache struct {
	*reading
	env        map[string]string
	defines    map[string]define
	modules    map[string]truth // by identifier and by source
	version    version
	serverRoot string
	runtimeDir string // for a relative PidFile
	mpm        string
	settings   mpmSettings
}

type define struct {
	value string
	truth truth
}

// setting is a number that a directive set; count 0 is not set.
type setting struct {
	count     int
	directive string
	at        position
}

func readApache(r *reading) scope.Workers {
	a := &apache{
		reading: r, env: r.process.environment(),
		defines: map[string]define{}, modules: map[string]truth{},
	}
	if patch, ok := r.builtIn(apacheVersion); ok {
		a.version, _ = versionOf("2.4." + patch)
	}
	for _, name := range []string{"core.c", "http_core.c", "mod_so.c", "so_module", "core_module", "http_module"} {
		a.modules[name] = yes
	}
	a.mpm = r.compiledMPM()
	if a.mpm != "" {
		a.loaded("mpm_"+a.mpm+"_module", a.mpm+".c", yes)
	}
	options := apacheOptions(r.process.arguments())
	for _, name := range options.defines {
		a.defines[name] = define{truth: yes}
	}
	main := a.mainFile(options)
	for _, text := range options.before {
		a.lines([]byte(text), position{}, yes, 0)
	}
	a.file(main, position{}, yes, 0)
	for _, text := range options.after {
		a.lines([]byte(text), position{}, yes, 0)
	}
	if a.pidFile == "" {
		if built, _ := r.builtIn(apachePidFile); path.IsAbs(built) {
			a.pidFile = built
		}
	}
	if a.mpm == "" && len(a.doubts) == 0 {
		a.doubt("%s loads no prefork, worker or event MPM, and which one the program has built in cannot be told", main)
	}
	if a.mpm == "" {
		return scope.Workers{Software: "apache"}
	}
	w := a.settings.workers(a.mpm, a.reading)
	a.checkServerLimit()
	return w
}

// checkServerLimit notes limits that a reload does not change.
// Apache: server/mpm/*/*.c, check_config keeps the first ServerLimit and
// ThreadLimit until it is stopped.
func (a *apache) checkServerLimit() {
	start := a.process.startTime()
	for _, s := range []setting{a.settings.serverLimit, a.settings.threadLimit} {
		if s.count == 0 || start.IsZero() {
			continue
		}
		for _, m := range a.files.marks {
			if m.name == s.at.file && m.mtime.After(start.Add(slack)) && a.reloaded().After(m.mtime) {
				a.note("%s is newer than the server: a new %s is only taken up by a restart, not by a reload", m.name, s.directive)
			}
		}
	}
}

// compiledMPM finds the MPM that is built into the program: each has the name
// of its source in the module's record (STANDARD20_MODULE_STUFF). Programs
// that load their MPM hold none of these names.
func (r *reading) compiledMPM() string {
	var found []string
	for _, mpm := range []string{"prefork", "worker", "event"} {
		if strings.HasSuffix(path.Base(r.exe), "-"+mpm) || strings.HasSuffix(path.Base(r.exe), "."+mpm) {
			return mpm
		}
		if _, ok := r.builtIn(mpmMarker(mpm)); ok {
			found = append(found, mpm)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// mpmMarker is the text that a program with that MPM holds.
func mpmMarker(mpm string) string { return "\x00" + mpm + ".c\x00" }

// options are what Apache's command line says about its configuration.
type options struct {
	root, file    string
	defines       []string
	before, after []string // directives, -C and -c
}

// apacheOptions understands the command line.
// Apache: server/main.c, AP_SERVER_BASEARGS.
func apacheOptions(args []string) options {
	var o options
	letterOptions(args, "CcDdfkeEx", func(letter byte, value string) {
		switch letter {
		case 'C':
			o.before = append(o.before, value)
		case 'c':
			o.after = append(o.after, value)
		case 'D':
			o.defines = append(o.defines, value)
		case 'd':
			o.root = value
		case 'f':
			o.file = value
		}
	})
	return o
}

// mainFile finds the first file and sets the server's root: as the command
// line says, as the program was built, or as the usual builds are.
func (a *apache) mainFile(o options) string {
	builtRoot, _ := a.builtIn(apacheRoot)
	builtFile, _ := a.builtIn(apacheFile)
	a.serverRoot = cmp.Or(builtRoot, "/etc/apache2")
	if o.root != "" {
		a.serverRoot = within(a.process.directory(), o.root)
	}
	switch file := cmp.Or(o.file, builtFile); {
	case file != "":
		return within(a.serverRoot, file)
	case o.root != "":
		return a.firstFile(a.serverRoot+"/apache2.conf", a.serverRoot+"/conf/httpd.conf", a.serverRoot+"/httpd.conf")
	}
	usual := []string{
		"/etc/apache2/apache2.conf",               // Debian
		"/etc/httpd/conf/httpd.conf",              // Red Hat
		"/usr/local/apache2/conf/httpd.conf",      // upstream
		"/etc/apache2/httpd.conf",                 // Alpine, SUSE
		"/usr/local/etc/apache24/conf/httpd.conf", // ports
	}
	if path.Base(a.exe) != "apache2" {
		usual = append(usual[1:], usual[0])
	}
	file := a.firstFile(usual...)
	a.serverRoot = strings.TrimSuffix(path.Dir(file), "/conf")
	return file
}

// file reads one file, in sections that are in force as far as live says.
func (a *apache) file(name string, from position, live truth, depth int) {
	if data, ok := a.read(name, from, depth); ok {
		a.lines(data, position{file: name}, live, depth)
	}
}

// lines evaluates the directives of one file. Sections do not reach beyond it.
func (a *apache) lines(data []byte, at position, live truth, depth int) {
	sections := []truth{live}
	for _, l := range apacheLines(data) {
		at.line = l.line
		now := sections[len(sections)-1]
		switch {
		case strings.HasPrefix(l.name, "</"):
			if len(sections) > 1 {
				sections = sections[:len(sections)-1]
			}
		case strings.HasPrefix(l.name, "<"):
			sections = append(sections, min(now, a.condition(l)))
		case now != no:
			a.directive(l, at, now, depth)
		}
		if a.over() {
			return // no limit can come of it any more
		}
	}
}

// condition answers a section's. Sections that are none, such as
// <VirtualHost>, are always in force; the body of a <Macro> is not before it
// is used.
func (a *apache) condition(l apacheLine) truth {
	args := apacheWords(a.expand(l.rest))
	if len(args) == 0 {
		return yes
	}
	name, negated := strings.CutPrefix(args[0], "!")
	var t truth
	switch l.name {
	case "<ifmodule":
		t = a.modules[name]
	case "<ifdefine":
		t = a.defines[name].truth
	case "<iffile":
		t = truthOf(a.files.exists(within(a.serverRoot, name)))
	case "<ifversion":
		return ifVersion(a.version, args)
	case "<ifdirective", "<ifsection":
		return unknown
	case "<macro":
		return no
	default:
		return yes
	}
	if negated {
		return t.not()
	}
	return t
}

// directive carries out those that matter here.
func (a *apache) directive(l apacheLine, at position, live truth, depth int) {
	args := apacheWords(a.expand(l.rest))
	if len(args) == 0 {
		return
	}
	switch l.name {
	case "include", "includeoptional":
		a.include(args[0], l.name == "includeoptional", at, live, depth)
	case "define":
		// No longer defined surely when it was and this one is in doubt.
		a.defines[args[0]] = define{value: strings.Join(args[1:min(2, len(args))], ""), truth: max(live, a.defines[args[0]].truth)}
	case "undefine":
		if live == yes {
			delete(a.defines, args[0])
		} else if d, ok := a.defines[args[0]]; ok {
			a.defines[args[0]] = define{value: d.value, truth: unknown}
		}
	case "loadmodule":
		if len(args) > 1 {
			a.loaded(args[0], sourceOf(args[1]), live)
			a.loadMPM(args[0], at, live)
		}
	case "serverroot":
		a.serverRoot = within("/", args[0])
	case "defaultruntimedir":
		a.runtimeDir = within(a.serverRoot, args[0])
	case "pidfile":
		a.pidFile = within(cmp.Or(a.runtimeDir, a.serverRoot), args[0])
	default:
		if s := a.settings.named(l.name); s != nil {
			a.set(s, l, args[0], at, live)
		}
	}
}

func (a *apache) loaded(id, source string, live truth) {
	a.modules[id] = max(live, a.modules[id])
	a.modules[source] = max(live, a.modules[source])
}

func (a *apache) loadMPM(id string, at position, live truth) {
	mpm, ok := strings.CutPrefix(id, "mpm_")
	if !ok {
		return
	}
	mpm = strings.TrimSuffix(mpm, "_module")
	switch {
	case !slices.Contains([]string{"prefork", "worker", "event"}, mpm):
		a.doubt("%s: LoadModule: an MPM that is not known", at)
		return
	case live == unknown:
		a.doubt("%s: whether this MPM is loaded depends on a condition that cannot be told", at)
	case a.mpm != "" && a.mpm != mpm:
		a.doubt("%s: a second MPM is loaded, %s beside %s", at, mpm, a.mpm)
	}
	a.mpm = mpm
}

func (a *apache) set(s *setting, l apacheLine, text string, at position, live truth) {
	n, err := count(text)
	switch {
	case err != nil:
		a.doubt("%s: %s: %v", at, apacheNames[l.name], err)
	case live == unknown:
		a.doubt("%s: whether %s %d holds depends on a condition that cannot be told", at, apacheNames[l.name], n)
	}
	*s = setting{count: n, directive: apacheNames[l.name], at: at}
}

// include reads the files that a pattern stands for; of a directory all files
// below it. Apache: server/config.c, ap_process_resource_config.
func (a *apache) include(pattern string, optional bool, at position, live truth, depth int) {
	pattern = within(a.serverRoot, pattern)
	names := a.glob(pattern, at)
	if len(names) == 0 && !optional && live == yes {
		a.doubt("%s: Include: no file matches", at)
	}
	for _, name := range names {
		if a.over() {
			return
		}
		switch {
		case a.files.isDir(name):
			a.directory(name, at, live, depth)
		case optional && !a.files.exists(name) && !hasWildcard(pattern):
		case live == unknown && !a.files.exists(name):
		default:
			a.file(name, at, live, depth+1)
		}
	}
}

func (a *apache) directory(dir string, at position, live truth, depth int) {
	if depth > maxDepth {
		a.tooDeep(at)
		return
	}
	names, err := a.files.list(dir)
	if err != nil {
		a.doubt("%s cannot be searched: %s%s", at.named(dir), reason(err), forOthers(err))
		return
	}
	for _, name := range names {
		if name = path.Join(dir, name); a.files.isDir(name) {
			a.directory(name, at, live, depth+1)
		} else {
			a.file(name, at, live, depth+1)
		}
	}
}

// expand replaces ${NAME} by what is defined, else by the environment. What is
// neither stays as it is, as in Apache: server/util.c, ap_resolve_env.
func (a *apache) expand(text string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := a.variable(name)
		if !closed || !known {
			b.WriteString("${")
			text = rest
			continue
		}
		b.WriteString(value)
		text = after
	}
}

func (a *apache) variable(name string) (string, bool) {
	if d, ok := a.defines[name]; ok && d.value != "" {
		return d.value, true
	}
	value, ok := a.env[name]
	return value, ok
}
