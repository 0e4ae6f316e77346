package notify

import (
	"errors"
	"slices"
	"text/template"
	"text/template/parse"
)

// maxSteps is how often the ranges and templates of a text may be gone through:
// 50 incidents within 50, twenty times.
const maxSteps = 50_000

// errEndless ends a template that goes on and on, also where it says nothing.
var errEndless = errors.New("it goes through its ranges and templates more than 50,000 times")

// stepName is the function that each of them calls.
const stepName = "foreshock_step"

// counted has a template call stepName each time that it goes through a range or
// a template: package template itself bounds neither time nor rounds.
func counted(t *template.Template) {
	for _, one := range t.Templates() {
		if one.Tree != nil {
			countIn(one.Root)
			countAt(one.Root)
		}
	}
}

// countIn does so in the ranges of a list.
func countIn(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			countIn(n.List)
			countIn(n.ElseList)
			countAt(n.List)
		case *parse.IfNode:
			countIn(n.List)
			countIn(n.ElseList)
		case *parse.WithNode:
			countIn(n.List)
			countIn(n.ElseList)
		}
	}
}

// countAt puts the call at the beginning of a list.
func countAt(list *parse.ListNode) {
	call := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: list.Pos, Args: []parse.Node{parse.NewIdentifier(stepName).SetPos(list.Pos)}}
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: list.Pos, Cmds: []*parse.CommandNode{call}}
	list.Nodes = slices.Insert(list.Nodes, 0, parse.Node(&parse.ActionNode{NodeType: parse.NodeAction, Pos: list.Pos, Pipe: pipe}))
}

// steps are the functions of one execution.
func steps() template.FuncMap {
	n := 0
	return template.FuncMap{stepName: func() (string, error) {
		if n++; n > maxSteps {
			return "", errEndless
		}
		return "", nil
	}}
}
