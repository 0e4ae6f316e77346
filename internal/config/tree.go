package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what the YAML library is given, because parts of it are quadratic
// (goccy/go-yaml 1.19.2, measured on one core): 210,000 keys in one mapping
// take 73 s, 32,768 nested lists 5.5 s, 32,768 blank lines in a block of text
// 3.8 s. Within these bounds the worst file found takes 0.2 s.
const (
	maxTokens     = 30_000 // about 2,000 services
	maxDepth      = 32     // the deepest key we have is at 4
	maxBlankLines = 200    // in a row
)

const syntaxHint = `check the quotes, brackets and indentation there; text with a special character at its start or end goes in quotes: ":80", "[::1]:80"`

// Tree reads data, the content of the YAML file called name, to the node of its
// only document, within the bounds of a configuration and as strictly; nil when
// the file is empty. The error joins one *Error for each problem. Keys may be
// there twice.
func Tree(name string, data []byte) (ast.Node, error) {
	p := &problems{file: name}
	root, _ := tree(p, data)
	return root, p.err()
}

// tree parses data to the node of its only document; nil when it has none.
// ok is false when there is a problem that leaves nothing to look at.
func tree(p *problems, data []byte) (root ast.Node, ok bool) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // a byte order mark, from editors on Windows
	if !readable(p, data) {
		return nil, false
	}
	text := string(data)
	tokens := lexer.Tokenize(text)
	if !plain(p, tokens) {
		return nil, false
	}
	// Duplicate keys are for decode, which reports all of them.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		syntax(p, text, err)
		return nil, false
	}
	if len(file.Docs) > 1 {
		doc := file.Docs[1]
		at := place(doc.Start)
		if doc.Start == nil && doc.Body != nil { // the first one ended with ...
			at = start(doc.Body)
		}
		p.add(at, "", "---", "a second document starts here", "keep one document in the file: remove the line --- or ...")
		return nil, false
	}
	if len(file.Docs) == 0 {
		return nil, true
	}
	return file.Docs[0].Body, true
}

// place is where t stands.
func place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

// readable refuses bytes that are no text, and files too large.
func readable(p *problems, data []byte) bool {
	if len(data) > MaxSize {
		p.add(position{}, "", "", fmt.Sprintf("the file is larger than %d bytes", MaxSize), "make it smaller; is it the right file?")
		return false
	}
	blank := 0
	for n := 1; len(data) > 0; n++ {
		line := data
		if end := bytes.IndexAny(data, "\r\n"); end >= 0 {
			line = data[:end]
			if bytes.HasPrefix(data[end:], []byte("\r\n")) {
				end++
			}
			data = data[end+1:]
		} else {
			data = nil
		}
		if len(bytes.TrimSpace(line)) > 0 {
			blank = 0
		} else if blank++; blank > maxBlankLines {
			p.add(position{n, 1}, "", "", fmt.Sprintf("more than %d blank lines in a row", maxBlankLines), "remove most of them")
			return false
		}
		if i, text, problem, hint := oddByte(line); problem != "" {
			p.add(position{n, utf8.RuneCount(line[:i]) + 1}, "", text, problem, hint)
			return false
		}
	}
	return true
}

// oddByte finds what may not be in a line: bytes that are no UTF-8, control
// characters, and tabs that mean something. A tab in a comment, before one or
// at the end of the line means nothing; anywhere else it is an error in YAML
// or the library loses it without a word ("a\tb" reads as "ab").
func oddByte(line []byte) (at int, text, problem, hint string) {
	tab, comment := -1, false
	last := ' '
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, string(line[i : i+1]), fmt.Sprintf("byte 0x%02x is not UTF-8", line[i]), "save the file as UTF-8"
		case r == '\t' && tab < 0:
			tab = i
		case r == '\t' || r == ' ':
		case r < ' ' || r == 0x7f:
			return i, string(r), fmt.Sprintf("control character %U in the file", r), "remove it; is it a text file?"
		case r == '#' && (last == ' ' || last == '\t'):
			comment = true
		case tab >= 0 && !comment:
			return tab, "\t", "a tab", "use spaces: YAML allows no tabs in the indentation and drops them elsewhere"
		}
		if comment {
			tab = -1
		}
		last = r
		i += size
	}
	return 0, "", "", ""
}

// unsupported are the parts of YAML that a configuration does not need: an
// alias lets a few lines stand for gigabytes.
var unsupported = map[token.Type]struct{ mark, what, hint string }{
	token.AnchorType:     {"&", "an anchor (&)", "write the value out where it is needed, or in quotes if it is text"},
	token.AliasType:      {"*", "an alias (*)", `write the value out; for every address write ":80", text that starts with * goes in quotes`},
	token.TagType:        {"!", "a tag (!)", "remove it, or put the text in quotes"},
	token.MergeKeyType:   {"<<", "a merge key (<<)", "write the keys out where they are needed"},
	token.DirectiveType:  {"%", "a directive (%)", "remove the line, or put text that starts with % in quotes"},
	token.MappingKeyType: {"?", "a key marked by ?", "write it as key: value"},
}

// plain refuses what makes a file hard to read or to bound: unsupported parts of
// YAML, keys that are not text, and more tokens or depth than any honest file
// has.
func plain(p *problems, tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		p.add(place(tokens[maxTokens]), "", "", fmt.Sprintf("the file has more than %d keys, values and marks", maxTokens),
			"make it smaller: services that listen on many ports may be named once")
		return false
	}
	var columns []int // where the open block mappings and lists start
	flow := 0         // open { and [
	open := func(column int) {
		for len(columns) > 0 && columns[len(columns)-1] >= column {
			columns = columns[:len(columns)-1]
		}
		columns = append(columns, column)
	}
	for i, t := range tokens {
		at := place(t)
		if no, ok := unsupported[t.Type]; ok {
			p.add(at, "", no.mark, no.what+" is not supported", no.hint)
			return false
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType:
			if flow == 0 {
				open(at.Column)
			}
		case token.MappingValueType:
			if flow == 0 && i > 0 {
				open(place(tokens[i-1]).Column)
			}
			// In {a:b} and {listen: [192.0.2.1:80]} YAML sees text, and the
			// library a key with its value.
			if flow > 0 && i > 0 && i+1 < len(tokens) && !quoted(tokens[i-1]) && place(tokens[i+1]) == (position{at.Line, at.Column + 1}) && !ends(tokens[i+1]) {
				p.add(at, "", ":", "a colon without a space after it", `put text in quotes, as "192.0.2.1:80", or write key: value with a space`)
				return false
			}
		}
		if len(columns)+flow > maxDepth {
			p.add(at, "", "", fmt.Sprintf("nested more than %d deep", maxDepth), `no key is that deep: run "foreshock config reference" for every key`)
			return false
		}
	}
	return true
}

// quoted says whether t is text in quotes.
func quoted(t *token.Token) bool {
	return t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
}

// ends says whether t ends an entry of a flow mapping or list.
func ends(t *token.Token) bool {
	return t.Type == token.CollectEntryType || t.Type == token.MappingEndType || t.Type == token.SequenceEndType
}

// syntax reports what the YAML library refused.
func syntax(p *problems, text string, err error) {
	at, message := position{}, "the file cannot be read as YAML"
	if e, ok := errors.AsType[yaml.Error](err); ok {
		at, message = place(e.GetToken()), e.GetMessage()
	}
	lines := strings.Split(text, "\n")
	lines = lines[:min(at.Line, len(lines))] // the library counts lone carriage returns too
	line := ""
	if len(lines) > 0 && !nearSecret(lines) {
		line = strings.TrimSpace(lines[len(lines)-1])
	}
	problem := "not valid YAML: " + message
	if line != "" {
		problem += ", in " + quote(line)
	}
	p.add(at, "", line, problem, syntaxHint)
}

// nearSecret says whether the last of lines, or the top-level key that it
// stands under, may hold a secret, which a message must not repeat. Without a
// key at the left edge to tell by, everything above counts.
func nearSecret(lines []string) bool {
	for _, line := range slices.Backward(lines) {
		l := strings.ToLower(line)
		for _, word := range []string{"token", "secret", "password", "file", "env", "key:"} {
			if strings.Contains(l, word) {
				return true
			}
		}
		if strings.TrimSpace(l) != "" && !strings.ContainsAny(l[:1], " \t\r#-{}[],'\"") {
			return false
		}
	}
	return false
}
