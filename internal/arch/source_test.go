package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// goroutines returns the places in a file that start one: go statements, and
// calls of what is named Go or AfterFunc, as errgroup's, sync's, context's and
// time's are.
func goroutines(t *testing.T, file string) []string {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	ast.Inspect(tree, func(n ast.Node) bool {
		started := false
		switch n := n.(type) {
		case *ast.GoStmt:
			started = true
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.SelectorExpr)
			started = ok && (called.Sel.Name == "Go" || called.Sel.Name == "AfterFunc")
		}
		if started {
			places = append(places, set.Position(n.Pos()).String())
		}
		return true
	})
	return places
}
