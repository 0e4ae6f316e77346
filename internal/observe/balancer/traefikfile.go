package balancer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what the YAML library is given, because parts of it are quadratic
// (goccy/go-yaml 1.19.2; internal/config has the measurements). Within these
// the worst file found, of 16,000 keys in one mapping, takes a second; one of
// 9,900 servers takes 50 ms.
const (
	maxFile       = 1 << 20 // bytes
	maxTokens     = 50_000  // about 10,000 servers
	maxFlow       = 32      // brackets within brackets
	maxColumn     = 256     // of a block's key or dash: bounds how deep blocks nest
	maxBlankLines = 200     // in a row
	maxSteps      = 200_000 // keys and items that are looked at, through aliases again and again
)

// TraefikFile reads the servers of HTTP and TCP services from a YAML file of
// Traefik's file provider. Nobody's opinion is in it: each Status is Unknown.
// Traefik: doc.traefik.io/traefik/providers/file/.
func TraefikFile(path string) (Answer, error) {
	fail := func(err error) (Answer, error) {
		return Answer{}, fmt.Errorf("read Traefik's file %s: %w", path, err)
	}
	if strings.EqualFold(filepath.Ext(path), ".toml") {
		return fail(errors.New("only YAML is read; ask Traefik's API instead, with traefik: {api: …}"))
	}
	data, err := readFile(path)
	if err != nil {
		return fail(err)
	}
	answer, err := traefikFile(data)
	if err != nil {
		return fail(err)
	}
	return answer, nil
}

func readFile(path string) ([]byte, error) {
	// Without O_NONBLOCK a pipe would hold us until somebody writes to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w; name the file that Traefik's file provider reads, and let Foreshock read it", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case fi.IsDir():
		return nil, errors.New("it is a directory; name one file of it, or ask Traefik's API instead")
	case !fi.Mode().IsRegular():
		return nil, errors.New("it is not a plain file; name the file that Traefik's file provider reads")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes; ask Traefik's API instead, with traefik: {api: …}", maxFile)
	}
	return data, nil
}

// traefikFile understands the file's content.
func traefikFile(data []byte) (Answer, error) {
	text := string(bytes.TrimPrefix(data, []byte("\ufeff")))
	if strings.Contains(text, "{{") {
		// Go templates, which Traefik runs first.
		return Answer{}, errors.New("it is a template, which only Traefik can fill in; ask Traefik's API instead, with traefik: {api: …}")
	}
	if blankLines(text) > maxBlankLines {
		return Answer{}, fmt.Errorf("it has more than %d blank lines in a row; remove most of them", maxBlankLines)
	}
	tokens := lexer.Tokenize(text)
	if err := bounded(tokens); err != nil {
		return Answer{}, err
	}
	// Traefik refuses duplicate keys itself; here the first one counts.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return Answer{}, fmt.Errorf("it is not valid YAML: %s; Traefik would refuse it too", word(first))
	}
	d := &document{gathering: newGathering(), anchors: map[string]ast.Node{}}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return d.done(), nil // empty, as while it is written anew
	}
	ast.Walk(d, file.Docs[0].Body)
	root := d.follow(file.Docs[0].Body)
	if _, ok := pairs(root); !ok && (root == nil || root.Type() != ast.NullType) {
		return Answer{}, errors.New("it does not begin with keys such as http and tcp; name the file that Traefik's file provider reads")
	}
	d.protocol(root, "http", "url")
	d.protocol(root, "tcp", "address")
	if d.steps > maxSteps {
		d.missing("the file stands for too much through its aliases: the rest is left out")
	}
	return d.done(), nil
}

func blankLines(text string) int {
	most, blank := 0, 0
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			blank = 0
			continue
		}
		blank++
		most = max(most, blank)
	}
	return most
}

// bounded says whether the library can be let loose on tokens.
func bounded(tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return fmt.Errorf("it has more than %d keys, values and marks; ask Traefik's API instead, with traefik: {api: …}", maxTokens)
	}
	flow := 0
	for i, t := range tokens {
		at := t
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
			continue
		case token.MappingValueType:
			if i > 0 {
				at = tokens[i-1] // the key, which is what is indented
			}
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
		default:
			continue
		}
		if flow > maxFlow || flow == 0 && at.Position != nil && at.Position.Column > maxColumn {
			return errors.New("it is nested deeper than a configuration of Traefik's; name the file that Traefik's file provider reads")
		}
	}
	return nil
}

// document is a file while it is read. Aliases are followed only where a key
// of ours is, so that a few lines that stand for gigabytes cost nothing.
type document struct {
	*gathering
	anchors map[string]ast.Node
	steps   int
}

// Visit collects the anchors.
func (d *document) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		d.anchors[a.Name.String()] = a.Value
	}
	return d
}

// follow returns what n stands for; nil when that is nothing.
func (d *document) follow(n ast.Node) ast.Node {
	const most = 16 // aliases of aliases
	for range most {
		d.steps++
		switch at := n.(type) {
		case *ast.AnchorNode:
			n = at.Value
		case *ast.AliasNode:
			if at.Value == nil {
				return nil
			}
			n = d.anchors[at.Value.String()]
		case *ast.TagNode:
			n = at.Value
		default:
			return n
		}
	}
	return nil
}

// pairs returns the keys and values of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// get returns the value of a key of a mapping, also one that is merged in
// with <<; nil when there is none.
func (d *document) get(n ast.Node, key string) ast.Node { return d.merged(n, key, 0) }

func (d *document) merged(n ast.Node, key string, depth int) ast.Node {
	const most = 8 // mappings merged into mappings
	if depth > most {
		return nil
	}
	all, _ := pairs(n)
	var merges []ast.Node
	for _, pair := range all {
		if d.steps++; d.steps > maxSteps {
			return nil
		}
		if pair.Key.Type() == ast.MergeKeyType {
			merges = append(merges, d.follow(pair.Value))
		} else if scalar(pair.Key) == key {
			return d.follow(pair.Value)
		}
	}
	for _, m := range merges {
		list, ok := m.(*ast.SequenceNode)
		if !ok {
			if v := d.merged(m, key, depth+1); v != nil {
				return v
			}
			continue
		}
		for _, item := range list.Values {
			if v := d.merged(d.follow(item), key, depth+1); v != nil {
				return v
			}
		}
	}
	return nil
}

// scalar is the text of a key or value; empty for what has none.
func scalar(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	return ""
}

// protocol adds the servers below one of the file's top keys. where is the key
// that has a server's address.
func (d *document) protocol(root ast.Node, name, where string) {
	services, ok := pairs(d.get(d.get(root, name), "services"))
	if !ok {
		return
	}
	for _, pair := range services {
		if d.steps++; d.steps > maxSteps {
			return
		}
		service := scalar(pair.Key)
		if service == "" { // such as a merge key
			d.missing("%s.services has a key that is no name, and is left out", name)
			continue
		}
		list := d.get(d.get(d.follow(pair.Value), "loadBalancer"), "servers")
		if list == nil {
			continue // made of other services
		}
		servers, ok := list.(*ast.SequenceNode)
		if !ok {
			d.missing("the servers of %s are not a list, and are left out", quote(service))
			continue
		}
		for _, item := range servers.Values {
			if d.steps++; d.steps > maxSteps {
				return
			}
			written := scalar(d.get(d.follow(item), where))
			link, address := written, ""
			if where == "address" {
				link, address = "", written
			}
			host, port, _, err := target(link, address)
			if err != nil {
				d.missing("a server of %s is left out: %v", quote(service), err)
				continue
			}
			// The name that the API gives it.
			d.add(Member{Group: service + "@file", Name: net.JoinHostPort(host, port)}, host, port)
		}
	}
}
