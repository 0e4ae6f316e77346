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
				spoil(v.Field(known[meant].index))
			}
			continue
		}
		if line, twice := seen[key]; twice {
			p.add(at, join(path, key), key, fmt.Sprintf("the key %q is there twice%s, first on line %d", key, in(path), line), "keep one of them")
			continue
		}
		seen[key] = at.Line
		decodeValue(p, join(path, key), pair.Value, at, known[i], v.Field(known[i].index))
	}
}

// spoil marks a field as given though no good, so that it is not reported as
// missing too.
func spoil(v reflect.Value) {
	switch s, ok := reflect.TypeAssert[interface{ spoil() }](v.Addr()); {
	case ok:
		s.spoil()
	case v.Kind() == reflect.Slice:
		el := reflect.New(v.Type().Elem()).Elem()
		spoil(el)
		v.Set(reflect.Append(v, el))
	}
}

// decodeValue fills v, the field f of a raw struct or an element of its list.
// at is where its key stands, which is what is named when there is no value.
func decodeValue(p *problems, path string, n ast.Node, at position, f field, v reflect.Value) {
	if !empty(n) {
		at = start(n)
	}
	switch dst := v.Addr().Interface().(type) {
	case *rawLabels:
		*dst = decodeLabels(p, path, n)
	case *rawRespond:
		*dst = decodeRespond(p, path, n)
	case *rawSecret:
		decodeSecret(p, path, n, at, v)
	case leaf:
		decodeLeaf(p, path, n, at, dst)
	case interface{ begin(position) }:
		if empty(n) && f.empty {
			return
		}
		dst.begin(at)
		pairs, ok := mapping(n)
		member, isMember := dst.(*rawMember)
		switch {
		case ok:
			decodeStruct(p, path, pairs, v)
		case isMember: // its address alone
			decodeLeaf(p, path, n, at, &member.Address)
		default:
			spoil(v)
			wrongType(p, path, n, at, "a mapping", f.example)
		}
	default:
		if !empty(n) || !f.empty {
			decodeList(p, path, n, at, f.example, v)
		}
	}
}

func decodeLeaf(p *problems, path string, n ast.Node, at position, l leaf) {
	s, k := scalar{At: at, Given: true}, l.kind()
	if !empty(n) && fits(k.schema, n.Type()) {
		s.Good, s.Text = true, textOf(n)
		s.Exact, s.Lead = exact(n.GetToken(), s.Text)
	} else {
		wrongType(p, path, n, at, k.what, k.example)
	}
	l.set(s)
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
		spoil(v)
		wrongType(p, path, n, at, "a list", example)
		return
	}
	v.SetZero() // what stands for a misspelled key before it would shift the places
	element := field{example: strings.TrimPrefix(example, "- ")}
	for i, item := range list.Values {
		at := place(list.GetToken())
		if i < len(list.Entries) && list.Entries[i].Start != nil {
			at = place(list.Entries[i].Start)
		}
		el := reflect.New(v.Type().Elem()).Elem()
		decodeValue(p, fmt.Sprintf("%s[%d]", path, i), item, at, element, el)
		v.Set(reflect.Append(v, el))
	}
}

func decodeLabels(p *problems, path string, n ast.Node) rawLabels {
	var out rawLabels
	eachNamed(p, path, n, "{site: cork, role: web}", "the label", "keep one of them", func(key string, at position, value ast.Node) {
		l := rawLabel{At: at, Key: key}
		decodeValue(p, join(path, shorten(key)), value, at, field{}, reflect.ValueOf(&l.Value).Elem())
		out = append(out, l)
	})
	return out
}

// eachNamed hands on the pairs of a mapping whose keys are the user's own; it
// may be empty. what says what one is, merge what to do about two of a name.
func eachNamed(p *problems, path string, n ast.Node, example, what, merge string, do func(key string, at position, value ast.Node)) {
	if empty(n) {
		return // all of them commented out
	}
	pairs, ok := mapping(n)
	if !ok {
		wrongType(p, path, n, start(n), "a mapping", example)
		return
	}
	seen := map[string]int{}
	for _, pair := range pairs {
		key, at := textOf(pair.Key), place(pair.Key.GetToken())
		if line, twice := seen[key]; twice {
			p.add(at, join(path, key), key, fmt.Sprintf("%s %s is there twice, first on line %d", what, quote(key), line), merge)
			continue
		}
		seen[key] = at.Line
		do(key, at, pair.Value)
	}
}

const secretHint = "keep it in a file that only Foreshock may read and write {file: /etc/foreshock/token}, or in the environment and write {env: FORESHOCK_TOKEN}"

// decodeSecret never quotes a value: whatever was written there may be the
// secret itself, and messages end up in logs.
func decodeSecret(p *problems, path string, n ast.Node, at position, v reflect.Value) {
	raw := v.Addr().Interface().(*rawSecret)
	raw.tried = true
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
		case name != key || where == section || where == "token" || where == "read_token" || strings.HasSuffix(where, ".secret"):
		case where == "":
			return "at the top of the file, without indentation", true
		default:
			return "in " + strings.TrimSuffix(where, "[]"), true
		}
	}
	return "", false
}
