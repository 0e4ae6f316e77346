package limits

import (
	"fmt"
	"strings"
)

// nginxItem is one directive of nginx's, the start of a block (name and
// arguments) or its end (no name).
type nginxItem struct {
	line  int
	name  string
	args  []string
	block bool
}

// nginxItems splits a file into directives. An error says what is wrong with
// it and in which line; nginx would not have taken the file.
// nginx: src/core/ngx_conf_file.c, ngx_conf_read_token.
func nginxItems(data []byte) ([]nginxItem, error) {
	t := nginxText{rest: string(data), line: 1}
	var items []nginxItem
	depth := 0
	for {
		words, line, end, err := t.statement()
		if err != nil {
			return nil, err
		}
		switch {
		case end == 0:
			if depth > 0 {
				return nil, fmt.Errorf("line %d: the file ends inside a block", t.line)
			}
			return items, nil
		case end == '}':
			if depth--; depth < 0 {
				return nil, fmt.Errorf("line %d: unexpected \"}\"", t.line)
			}
			items = append(items, nginxItem{line: t.line})
			continue
		case len(words) == 0:
			return nil, fmt.Errorf("line %d: unexpected %q", t.line, end)
		}
		item := nginxItem{line: line, name: words[0], args: words[1:], block: end == '{'}
		if item.block && strings.HasSuffix(item.name, "_by_lua_block") {
			if err := t.skipLua(); err != nil {
				return nil, err
			}
			item.block = false
		}
		if item.block {
			depth++
		}
		items = append(items, item)
	}
}

type nginxText struct {
	rest string
	line int
}

// next takes one byte away.
func (t *nginxText) next() byte {
	c := t.rest[0]
	t.rest = t.rest[1:]
	if c == '\n' {
		t.line++
	}
	return c
}

// statement returns the words up to ";", "{" or "}", the line of the first,
// and which of these ended it; 0 at the end of the file.
func (t *nginxText) statement() (words []string, line int, end byte, err error) {
	for t.rest != "" {
		switch c := t.rest[0]; c {
		case ' ', '\t', '\r', '\n':
			t.next()
		case '#':
			for t.rest != "" && t.rest[0] != '\n' {
				t.next()
			}
		case ';', '{':
			t.next()
			return words, line, c, nil
		case '}':
			if len(words) > 0 {
				return nil, 0, 0, fmt.Errorf("line %d: \"}\" where \";\" should be", t.line)
			}
			t.next()
			return nil, t.line, c, nil
		default:
			if len(words) == 0 {
				line = t.line
			}
			word, err := t.word()
			if err != nil {
				return nil, 0, 0, err
			}
			words = append(words, word)
		}
	}
	if len(words) > 0 {
		return nil, 0, 0, fmt.Errorf("line %d: the file ends where \";\" should be", t.line)
	}
	return nil, t.line, 0, nil
}

// word takes one word: bare up to a blank, ";" or "{", or in quotes. A
// backslash keeps what follows from ending it. "${" is part of a bare word.
func (t *nginxText) word() (string, error) {
	var b strings.Builder
	quote, first := byte(0), t.line
	if c := t.rest[0]; c == '"' || c == '\'' {
		quote = t.next()
	}
	for t.rest != "" {
		c := t.rest[0]
		switch {
		case c == '\\' && len(t.rest) > 1:
			t.next()
			b.WriteString(unescapeNginx(t.next()))
			continue
		case quote != 0 && c == quote:
			t.next()
			return b.String(), nil
		case quote == 0 && strings.IndexByte(" \t\r\n;", c) >= 0:
			return b.String(), nil
		case quote == 0 && c == '{' && !strings.HasSuffix(b.String(), "$"):
			return b.String(), nil
		}
		b.WriteByte(t.next())
	}
	if quote != 0 {
		return "", fmt.Errorf("line %d: the quote is never closed", first)
	}
	return b.String(), nil
}

// unescapeNginx returns what a backslash and c stand for.
func unescapeNginx(c byte) string {
	switch c {
	case '"', '\'', '\\', ' ', ';', '{', '}':
		return string(c)
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'n':
		return "\n"
	}
	return `\` + string(rune(c))
}

// skipLua takes a block of Lua away, whose braces, quotes and comments are
// Lua's.
func (t *nginxText) skipLua() error {
	first := t.line
	for depth := 1; t.rest != ""; {
		switch c := t.next(); c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return nil
			}
		case '"', '\'':
			for t.rest != "" && t.rest[0] != '\n' {
				d := t.next()
				if d == '\\' && t.rest != "" {
					t.next()
				} else if d == c {
					break
				}
			}
		case '-':
			if strings.HasPrefix(t.rest, "-") {
				for t.rest != "" && t.rest[0] != '\n' {
					t.next()
				}
			}
		}
	}
	return fmt.Errorf("line %d: the Lua block is never closed", first)
}
