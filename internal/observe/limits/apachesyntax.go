package limits

import (
	"path"
	"strings"
)

// apacheLine is one directive of Apache's, or the start or end of a section.
type apacheLine struct {
	line int    // the number of its first line
	name string // lower case; "<ifmodule" starts a section, "</ifmodule" ends it
	rest string // as written, without a section's closing bracket
}

// apacheLines splits a file into directives. A backslash at a line's end joins
// the next line to it, comments included; comments are whole lines. Every text
// has directives: what is wrong with them is for the server to say.
// Apache: server/util.c, ap_cfg_getline; server/config.c, ap_build_config_sub.
func apacheLines(data []byte) []apacheLine {
	var out []apacheLine
	number := 0
	var joined strings.Builder
	first := 0
	for line := range strings.Lines(string(data)) {
		number++
		if joined.Len() == 0 {
			first = number
		}
		line = strings.TrimRight(line, "\r\n")
		if head, ok := strings.CutSuffix(line, `\`); ok {
			joined.WriteString(head)
			joined.WriteByte(' ') // so that a joined line is not empty; blanks at a join are no part of a word
			continue
		}
		joined.WriteString(line)
		if l, ok := apacheDirective(joined.String()); ok {
			l.line = first
			out = append(out, l)
		}
		joined.Reset()
	}
	if l, ok := apacheDirective(joined.String()); ok {
		l.line = first
		out = append(out, l)
	}
	return out
}

func apacheDirective(text string) (apacheLine, bool) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' {
		return apacheLine{}, false
	}
	name, rest := text, ""
	if at := strings.IndexAny(text, " \t\v\f"); at >= 0 {
		name, rest = text[:at], strings.TrimSpace(text[at:])
	}
	if name[0] == '<' {
		if rest == "" {
			name = strings.TrimSuffix(name, ">")
		}
		rest = strings.TrimSpace(strings.TrimSuffix(rest, ">"))
	}
	return apacheLine{name: strings.ToLower(name), rest: rest}, true
}

// apacheWords splits arguments: by blanks, with double or single quotes around
// what holds blanks, and a backslash before a quote inside them.
// Apache: server/util.c, ap_getword_conf.
func apacheWords(text string) []string {
	var words []string
	for {
		text = strings.TrimLeft(text, " \t\v\f")
		if text == "" {
			return words
		}
		if quote := text[0]; quote == '"' || quote == '\'' {
			var word strings.Builder
			at := 1
			for ; at < len(text) && text[at] != quote; at++ {
				if text[at] == '\\' && at+1 < len(text) && (text[at+1] == quote || text[at+1] == '\\') {
					at++
				}
				word.WriteByte(text[at])
			}
			words = append(words, word.String())
			text = text[min(at+1, len(text)):]
			continue
		}
		at := strings.IndexAny(text, " \t\v\f")
		if at < 0 {
			at = len(text)
		}
		words = append(words, text[:at])
		text = text[at:]
	}
}

// truth is the answer to a condition.
type truth uint8

// Larger is surer, so that a section inside another has the smaller of both.
const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) not() truth { return yes - t }

// version is what <IfVersion> compares: major, minor, patch.
type version [3]int

// versionOf understands "2.4" and "2.4.62"; missing parts are 0.
func versionOf(text string) (v version, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) > len(v) {
		return version{}, false
	}
	for i, part := range parts {
		n := 0
		for _, c := range []byte(part) {
			if c < '0' || c > '9' || n > 1e6 {
				return version{}, false
			}
			n = 10*n + int(c-'0')
		}
		if part == "" {
			return version{}, false
		}
		v[i] = n
	}
	return v, true
}

func (v version) compare(o version) int {
	for i := range v {
		if v[i] != o[i] {
			if v[i] < o[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// ifVersion answers <IfVersion [!][operator] version>. Regular expressions it
// does not. Apache: modules/metadata/mod_version.c.
func ifVersion(running version, args []string) truth {
	if len(args) == 1 {
		args = []string{"=", args[0]}
	}
	if len(args) != 2 || running == (version{}) {
		return unknown
	}
	op, negated := strings.CutPrefix(args[0], "!")
	wanted, ok := versionOf(args[1])
	if !ok {
		return unknown
	}
	c := running.compare(wanted)
	var is bool
	switch op {
	case "=", "==", "":
		is = c == 0
	case ">":
		is = c > 0
	case ">=":
		is = c >= 0
	case "<":
		is = c < 0
	case "<=":
		is = c <= 0
	default:
		return unknown
	}
	return truthOf(is != negated)
}

// sourceOf is the name by which <IfModule> may call a module that is loaded
// from file: "mod_ssl.c". The MPMs have names of their own.
func sourceOf(file string) string {
	name := strings.TrimSuffix(path.Base(file), path.Ext(file)) + ".c"
	return strings.TrimPrefix(name, "mod_mpm_")
}
