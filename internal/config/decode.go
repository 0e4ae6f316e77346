package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/foreshock/foreshock/internal/spelling"
)

const referenceHint = `Run "foreshock config reference" for every key.`

// decode fills the raw types from the document's root. What does not fit is
// noted and left out, so that the rest is checked too.
func decode(p *problems, root ast.Node) rawFile {
	var raw rawFile
	if empty(root) {
		return raw
	}
	pairs, ok := mapping(root)
	if !ok {
		p.add(place(root.GetToken()), "", "", "the file is "+describe(root)+", not keys with values",
			"write it as key: value, one to a line. "+referenceHint)
		return raw
	}
	decodeStruct(p, "", pairs, reflect.ValueOf(&raw).Elem())
	return raw
}

// empty says whether n is no value: "key:" and nothing, or null.
func empty(n ast.Node) bool { return n == nil || n.Type() == ast.NullType }

// mapping returns the pairs of a mapping.
func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// describe says what a node is, without its content.
func describe(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.StringType, ast.LiteralType:
		return "text"
	case ast.BoolType:
		return "true or false"
	case ast.IntegerType, ast.FloatType, ast.InfinityType:
		return "a number"
	case ast.NanType:
		return "NaN"
	case ast.NullType:
		return "empty"
	}
	return "something else"
}

// textOf is a scalar's content.
func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	return n.GetToken().Value
}

// start is where a node begins. The library places a mapping at its first
// colon; people look for its first key.
func start(n ast.Node) position {
	if pairs, ok := mapping(n); ok && len(pairs) > 0 {
		if m, ok := n.(*ast.MappingNode); !ok || !m.IsFlowStyle {
			return place(pairs[0].Key.GetToken())
		}
	}
	return place(n.GetToken())
}

// in says where a key is, for a message: " in observe".
func in(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// decodeStruct fills v, a raw struct, from pairs. path names it.
func decodeStruct(p *problems, path string, pairs []*ast.MappingValueNode, v reflect.Value) {
	known := fields(v.Type())
	_, secret := reflect.TypeAssert[rawSecret](v)
	seen := map[string]int{} // key → line
	for _, pair := range pairs {
		key, at := textOf(pair.Key), place(pair.Key.GetToken())
		i := slices.IndexFunc(known, func(f field) bool { return f.key == key })
		if i < 0 {
			if meant := unknown(p, path, key, at, known, secret); meant >= 0 {
				noteGiven(v.Field(known[meant].index))
			}
			continue
		}
		if line, twice := seen[key]; twice {
			p.add(at, join(path, key), key, fmt.Sprintf("the key %q is there twice%s, first on line %d", key, in(path), line), "keep one of them")
			continue
		}
		seen[key] = at.Line
		decodeValue(p, join(path, key), pair.Value, at, v.Field(known[i].index))
	}
}

// noteGiven marks a field as given though misspelled, so that it is not
// reported as missing too.
func noteGiven(v reflect.Value) {
	switch dst := v.Addr().Interface().(type) {
	case *rawText:
		dst.Given = true
	case *rawExpression:
		dst.Given = true
	case *rawURL:
		dst.Given = true
	case *rawBool:
		dst.Given = true
	case *rawWebhook:
		dst.At = position{1, 1}
		dst.URL.Given = true
	case *rawAlertmanager:
		dst.At = position{1, 1}
		dst.URLs = []rawURL{{Given: true}}
	case *[]rawListen:
		*dst = append(*dst, rawListen{Given: true})
	default:
		noteBackends(v)
	}
}

// decodeValue fills v, a field of a raw struct or an element of a list. at is
// where its key stands, which is what is named when there is no value.
func decodeValue(p *problems, path string, n ast.Node, at position, v reflect.Value) {
	if !empty(n) {
		at = start(n)
	}
	switch dst := v.Addr().Interface().(type) {
	case *rawLabels:
		*dst = decodeLabels(p, path, n)
	case *rawSecret:
		dst.At = at
		decodeSecret(p, path, n, at, v)
	case *[]rawService:
		decodeOptionalList(p, path, n, at, `- {name: web, listen: [":80"]}`, v)
	case *[]rawRule:
		decodeOptionalList(p, path, n, at, `- {name: web-waits, when: service.queue_wait_seconds > 0.5}`, v)
	case *[]rawChannel:
		decodeOptionalList(p, path, n, at, `- {name: ops, webhook: {url: https://ops.example/hook}}`, v)
	case *[]rawPreset:
		decodeOptionalList(p, path, n, at, "[workers-article]", v)
	case *[]rawSeverity:
		decodeList(p, path, n, at, "[warning, critical]", v)
	case *[]rawURL:
		if _, ok := n.(*ast.SequenceNode); !ok {
			*dst = append(*dst, rawURL{At: at, Given: true}) // there, though no good
		}
		decodeList(p, path, n, at, `["http://127.0.0.1:9093"]`, v)
	case *[]rawListen:
		if _, ok := n.(*ast.SequenceNode); !ok {
			*dst = append(*dst, rawListen{At: at, Given: true}) // there, though no good
		}
		decodeList(p, path, n, at, `[":80"]`, v)
	case *rawService:
		dst.At = at
		if !decodeMapping(p, path, n, at, `{name: web, listen: [":80"]}`, v) {
			dst.Name.Given, dst.Listen = true, []rawListen{{At: at}} // not also reported as nameless
		}
	case *rawRule:
		dst.At = at
		if !decodeMapping(p, path, n, at, "{name: web-waits, when: service.queue_wait_seconds > 0.5}", v) {
			dst.Name.Given, dst.When.Given = true, true
		}
	case *rawChannel:
		dst.At = at
		if !decodeMapping(p, path, n, at, "{name: ops, webhook: {url: https://ops.example/hook}}", v) {
			dst.Name.Given, dst.Log.Given = true, true
		}
	case *rawWebhook:
		dst.At = at
		if !decodeMapping(p, path, n, at, "{url: https://ops.example/hook}", v) {
			dst.URL.Given = true
		}
	case *rawAlertmanager:
		dst.At = at
		if !decodeMapping(p, path, n, at, `{urls: ["http://127.0.0.1:9093"]}`, v) {
			dst.URLs = []rawURL{{At: at, Given: true}}
		}
	case *rawObserve:
		if !empty(n) {
			decodeMapping(p, path, n, at, "{cpu_budget: 1%}", v)
		}
	case leaf:
		decodeLeaf(p, path, n, at, dst, v)
	default:
		decodeBackends(p, path, n, at, v)
	}
}

// decodeMapping fills a raw struct, or says that there is none.
func decodeMapping(p *problems, path string, n ast.Node, at position, example string, v reflect.Value) bool {
	pairs, ok := mapping(n)
	if ok {
		decodeStruct(p, path, pairs, v)
	} else {
		wrongType(p, path, n, at, "a mapping", example)
	}
	return ok
}

// decodeOptionalList fills a list that is the same as none when all of it is
// commented out.
func decodeOptionalList(p *problems, path string, n ast.Node, at position, example string, v reflect.Value) {
	if !empty(n) {
		decodeList(p, path, n, at, example, v)
	}
}

func decodeLeaf(p *problems, path string, n ast.Node, at position, l leaf, v reflect.Value) {
	s := scalar{At: at, Given: true}
	if !empty(n) && l.fits(n.Type()) {
		s.Good, s.Text = true, textOf(n)
		s.Exact, s.Lead = exact(n.GetToken(), s.Text)
	} else {
		what, example := l.takes()
		wrongType(p, path, n, at, what, example)
	}
	v.Set(reflect.ValueOf(s).Convert(v.Type()))
}

// exact reports whether a token's text stands in the file as it is, on one
// line, and behind how many characters.
func exact(t *token.Token, text string) (ok bool, lead int) {
	switch origin := strings.TrimSpace(t.Origin); t.Type {
	case token.StringType:
		return origin == text, 0
	case token.DoubleQuoteType, token.SingleQuoteType:
		return len(origin) > 1 && origin[1:len(origin)-1] == text, 1
	}
	return false, 0
}

// wrongType notes that path takes something else than n.
func wrongType(p *problems, path string, n ast.Node, at position, what, example string) {
	if empty(n) {
		p.add(at, path, "", path+" has no value", fmt.Sprintf("give it %s, as %s, or remove the key", what, example))
		return
	}
	problem, text := fmt.Sprintf("%s takes %s, not %s", path, what, describe(n)), ""
	hint := "write it as " + example
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType, ast.SequenceType:
	default:
		text = textOf(n)
		problem += ": " + quote(text)
		if what == "text" {
			hint = "put it in quotes: " + quote(text)
		}
	}
	p.add(at, path, text, problem, hint)
}

func decodeList(p *problems, path string, n ast.Node, at position, example string, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		wrongType(p, path, n, at, "a list", example)
		return
	}
	for i, item := range list.Values {
		at := place(list.GetToken())
		if i < len(list.Entries) && list.Entries[i].Start != nil {
			at = place(list.Entries[i].Start)
		}
		el := reflect.New(v.Type().Elem()).Elem()
		decodeValue(p, fmt.Sprintf("%s[%d]", path, i), item, at, el)
		v.Set(reflect.Append(v, el))
	}
}

func decodeLabels(p *problems, path string, n ast.Node) rawLabels {
	if empty(n) {
		return nil // all of them commented out
	}
	pairs, ok := mapping(n)
	if !ok {
		wrongType(p, path, n, start(n), "a mapping", "{site: cork, role: web}")
		return nil
	}
	var out rawLabels
	seen := map[string]int{}
	for _, pair := range pairs {
		key, at := textOf(pair.Key), place(pair.Key.GetToken())
		if line, twice := seen[key]; twice {
			p.add(at, join(path, key), key, fmt.Sprintf("the label %s is there twice, first on line %d", quote(key), line), "keep one of them")
			continue
		}
		seen[key] = at.Line
		l := rawLabel{At: at, Key: key}
		decodeValue(p, join(path, shorten(key)), pair.Value, at, reflect.ValueOf(&l.Value).Elem())
		out = append(out, l)
	}
	return out
}

const secretHint = "keep it in a file that only Foreshock may read and write {file: /etc/foreshock/token}, or in the environment and write {env: FORESHOCK_TOKEN}"

// decodeSecret never quotes a value: whatever was written there may be the
// secret itself, and messages end up in logs.
func decodeSecret(p *problems, path string, n ast.Node, at position, v reflect.Value) {
	pairs, ok := mapping(n)
	switch {
	case empty(n):
		p.add(at, path, "", path+" has no value", secretHint)
		return
	case !ok:
		p.add(at, path, "", path+" is written into the file, where everybody who reads it sees it", secretHint)
		return
	}
	bad := len(p.found)
	values := make([]*ast.MappingValueNode, 0, len(pairs))
	for _, pair := range pairs {
		if key := textOf(pair.Key); key != "file" && key != "env" {
			values = append(values, pair) // decodeStruct reports it
			continue
		}
		if empty(pair.Value) || !isText(pair.Value.Type()) {
			key := join(path, textOf(pair.Key))
			p.add(place(pair.Key.GetToken()), key, "", key+" takes text", secretHint)
			continue
		}
		values = append(values, pair)
	}
	decodeStruct(p, path, values, v)
	raw := v.Addr().Interface().(*rawSecret)
	switch {
	case len(p.found) > bad:
	case !raw.File.Given && !raw.Env.Given:
		p.add(at, path, "", path+" does not say where the secret is", secretHint)
	case raw.File.Given && raw.Env.Given:
		p.add(raw.Env.At, path, "", path+" has both a file and an env", "keep one of them")
	}
}

// indexes are what tells the elements of a list apart in a path.
var indexes = regexp.MustCompile(`\[\d+\]`)

// unknown notes a key that is not there, with the nearest that is. It returns
// the position in known of the key that was most likely meant, or -1.
func unknown(p *problems, path, key string, at position, known []field, secret bool) int {
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.key
	}
	if secret { // the key itself may be the secret: token: {hunter2}
		p.add(at, path, "", "unknown key"+in(path), "it takes one of "+strings.Join(names, ", ")+": "+secretHint)
		return -1
	}
	section := indexes.ReplaceAllString(path, "[]")
	full := join(path, key)
	problem := fmt.Sprintf("unknown key %s%s", quote(key), in(path))
	var later []string
	for _, l := range laterKeys() {
		if where, name := split(l); where == section {
			later = append(later, name)
		}
	}
	if slices.Contains(later, key) {
		p.add(at, full, key, problem, fmt.Sprintf("%s comes with a later version: remove it until then. %s", key, referenceHint))
		return -1
	}
	hint, meant := "", -1
	if i := slices.IndexFunc(names, func(name string) bool { return len(key) <= maxName && spelling.Slips(key, name) == 1 }); i >= 0 {
		hint, meant = fmt.Sprintf("did you mean %q?", names[i]), i // nearer than the same key elsewhere
	} else if where, ok := elsewhere(section, key); ok {
		hint = fmt.Sprintf("%q belongs %s.", key, where)
	} else if near, ok := spelling.Nearest(key, slices.Concat(names, later)); ok && slices.Contains(later, near) {
		hint = fmt.Sprintf("%q comes with a later version: remove it until then.", near)
	} else if ok {
		hint, meant = fmt.Sprintf("did you mean %q?", near), slices.Index(names, near)
	} else {
		hint = "the keys here are " + strings.Join(names, ", ") + "."
	}
	p.add(at, full, key, problem, hint+" "+referenceHint)
	return meant
}

// elsewhere says where a key that is unknown in section does belong.
func elsewhere(section, key string) (string, bool) {
	for _, path := range keyPaths(reflect.TypeFor[rawFile](), "") {
		where, name := split(path)
		switch {
		case name != key || where == section || where == "token" || strings.HasSuffix(where, ".secret"):
		case where == "":
			return "at the top of the file, without indentation", true
		default:
			return "in " + strings.TrimSuffix(where, "[]"), true
		}
	}
	return "", false
}
