package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// goStatements returns the places of the go statements in a file.
func goStatements(t *testing.T, file string) []string {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	ast.Inspect(tree, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			places = append(places, set.Position(g.Pos()).String())
		}
		return true
	})
	return places
}
