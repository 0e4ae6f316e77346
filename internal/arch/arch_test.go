// Package arch holds the house to its plan: which package may import which.
package arch

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/foreshock/foreshock/"

// arrows says which packages of ours each package may import: down the house
// only. A missing package or arrow fails the test; so does one that nobody
// uses any more.
//
// judge imports measure, as Signals are the value that measure hands on, and
// show reads the values of the floors below it.
var arrows = map[string][]string{
	// ground
	"internal/tcp":      {},
	"internal/enum":     {},
	"internal/spelling": {},
	"internal/scope":    {"internal/enum", "internal/tcp"},
	"internal/silence":  {"internal/spelling"},
	"internal/reply":    {"internal/enum"},
	"internal/config":   {"internal/enum", "internal/silence", "internal/spelling"},
	"internal/yamlfile": {"internal/config"},
	// the files that TLS takes, and test support that makes them
	"internal/certificate":                 {"internal/config"},
	"internal/certificate/certificatetest": {},
	// published files of prefixes
	"internal/ranges": {"internal/config", "internal/enum", "internal/spelling"},
	// the agent's own connections
	"internal/dial": {"internal/scope"},
	// observe
	"internal/observe/netlink":    {},
	"internal/observe/identity":   {"internal/reply"},
	"internal/observe/privilege":  {},
	"internal/observe/stale":      {"internal/observe/netns", "internal/observe/privilege", "internal/observe/sockdiag", "internal/scope", "internal/tcp"},
	"internal/observe/words":      {},
	"internal/observe/sockdiag":   {"internal/observe/netlink", "internal/tcp"},
	"internal/observe/procfs":     {"internal/observe/words", "internal/tcp"},
	"internal/observe/counters":   {"internal/observe/words", "internal/tcp"},
	"internal/observe/processes":  {},
	"internal/observe/busy":       {"internal/observe/processes"},
	"internal/observe/netns":      {"internal/observe/processes", "internal/tcp"},
	"internal/observe/owner":      {"internal/observe/processes", "internal/tcp"},
	"internal/observe/conntrack":  {"internal/observe/netlink", "internal/observe/privilege", "internal/observe/words"},
	"internal/observe/ports":      {},
	"internal/observe/discover":   {"internal/observe/owner", "internal/scope", "internal/tcp"},
	"internal/observe/limits":     {"internal/observe/processes", "internal/scope"},
	"internal/observe/balancer":   {},
	"internal/observe/resolve":    {},
	"internal/observe/spaces":     {"internal/observe/netns", "internal/observe/owner", "internal/tcp"},
	"internal/observe/nameserver": {"internal/reply"},
	"internal/observe/asn":        {},
	"internal/observe": {
		"internal/observe/counters", "internal/observe/netns", "internal/observe/procfs", "internal/observe/sockdiag", "internal/tcp",
	},
	// measure, judge: pure
	"internal/measure":          {"internal/enum", "internal/scope", "internal/tcp"},
	"internal/judge":            {"internal/enum", "internal/measure", "internal/rule", "internal/scope", "internal/tcp"},
	"internal/measure/baseline": {"internal/measure", "internal/scope"},
	// after a switch; pure
	"internal/drain": {"internal/reply", "internal/scope"},
	// keep
	"internal/recording": {"internal/measure", "internal/scope", "internal/tcp"},
	// measure and judge of all namespaces, live and played again; pure
	"internal/court":            {"internal/judge", "internal/measure", "internal/rule", "internal/tcp"},
	"internal/recording/replay": {"internal/measure", "internal/court", "internal/judge", "internal/rule"},
	"internal/recording/series": {"internal/measure", "internal/measure/baseline", "internal/recording/replay", "internal/scope", "internal/tcp"},
	"internal/recording/label":  {"internal/measure", "internal/judge", "internal/rule", "internal/scope", "internal/spelling", "internal/yamlfile"},
	"internal/recording/score":  {"internal/judge", "internal/recording/label", "internal/recording/replay", "internal/rule", "internal/scope"},
	"internal/recording/backtest": {
		"internal/measure",
		"internal/judge", "internal/measure/baseline", "internal/recording/replay", "internal/rule", "internal/scope",
	},
	"internal/history": {"internal/recording"},
	// notify: deciding (a pure planner) and delivering
	"internal/notify": {"internal/judge", "internal/notify/library", "internal/scope", "internal/silence"},
	// the notification library, in a child process
	"internal/notify/library":    {},
	"internal/notify/notifytest": {"internal/lab"},
	// respond: deciding (pure) and running hooks
	"internal/respond":      {"internal/enum", "internal/judge", "internal/measure", "internal/rule", "internal/scope"},
	"internal/respond/hook": {},
	"internal/rule":         {"internal/enum", "internal/measure", "internal/scope", "internal/spelling"},
	// rules as files
	"internal/rule/presets":  {},
	"internal/rule/rulefile": {"internal/measure", "internal/rule", "internal/rule/presets", "internal/scope", "internal/yamlfile"},
	// show
	"internal/api":     {"internal/drain", "internal/judge", "internal/measure", "internal/notify", "internal/scope", "internal/silence", "internal/tcp"},
	"internal/web":     {"internal/api"},
	"internal/report":  {"internal/api", "internal/drain"},
	"internal/metrics": {"internal/api", "internal/judge", "internal/measure", "internal/scope"},
	// roof
	"internal/agent/drains": {"internal/api", "internal/config", "internal/drain", "internal/measure", "internal/reply", "internal/scope"},
	"internal/agent": {
		"internal/agent/drains", "internal/api", "internal/certificate", "internal/config", "internal/court", "internal/dial", "internal/drain", "internal/history", "internal/judge", "internal/measure", "internal/measure/baseline", "internal/metrics", "internal/notify", "internal/observe", "internal/observe/asn", "internal/observe/balancer",
		"internal/observe/busy", "internal/observe/conntrack", "internal/observe/counters", "internal/observe/discover", "internal/observe/identity", "internal/observe/limits", "internal/observe/nameserver", "internal/observe/netns", "internal/observe/owner",
		"internal/observe/ports", "internal/observe/privilege", "internal/observe/resolve", "internal/observe/sockdiag", "internal/observe/spaces", "internal/observe/stale", "internal/ranges", "internal/recording", "internal/recording/series", "internal/reply", "internal/respond", "internal/respond/hook", "internal/rule", "internal/rule/rulefile", "internal/scope", "internal/silence", "internal/spelling", "internal/tcp", "internal/web",
	},
	// The demo stands on the roof: it watches its own small world.
	"internal/demo": {
		"internal/agent", "internal/config", "internal/enum", "internal/judge", "internal/measure", "internal/scope",
	},
	"cmd/foreshock": {
		"internal/agent", "internal/notify", "internal/notify/library", "internal/api", "internal/certificate", "internal/config", "internal/demo", "internal/drain", "internal/history", "internal/judge", "internal/measure", "internal/measure/baseline", "internal/observe",
		"internal/spelling", "internal/observe/discover", "internal/observe/netns", "internal/observe/owner", "internal/observe/privilege", "internal/recording", "internal/recording/backtest", "internal/recording/label", "internal/recording/replay", "internal/recording/score", "internal/report", "internal/rule",
		"internal/rule/presets", "internal/rule/rulefile", "internal/scope", "internal/silence", "internal/tcp",
	},
	// test support
	"internal/arch":                    {},
	"deploy":                           {},
	"internal/recording/recordingtest": {"internal/measure", "internal/recording", "internal/scope", "internal/tcp"},
	"internal/lab":                     {},
	"internal/lab/labtest":             {"internal/lab"},
	"internal/lab/drain":               {"internal/api", "internal/drain", "internal/lab"},
	"internal/lab/trace":               {"internal/observe/counters", "internal/observe/sockdiag", "internal/tcp"},
	"internal/lab/detect":              {"internal/judge", "internal/lab", "internal/lab/trace", "internal/observe/balancer", "internal/recording", "internal/recording/label", "internal/recording/replay", "internal/rule", "internal/scope"},
	"internal/lab/post":                {"internal/history", "internal/lab", "internal/notify/notifytest"},
	"internal/lab/bench":               {"internal/court", "internal/history", "internal/judge", "internal/measure", "internal/measure/baseline", "internal/lab", "internal/lab/detect", "internal/lab/drain", "internal/lab/post", "internal/recording", "internal/recording/recordingtest", "internal/recording/replay"},
}

// pure are the stages without clock, goroutine, file, socket or log, and the
// only packages of the standard library they may import directly.
var pure = map[string][]string{
	"internal/measure":            {"encoding/binary", "math", "net/netip", "slices", "cmp", "sort", "strings", "fmt", "time"},
	"internal/measure/baseline":   {"errors", "encoding/binary", "math", "slices", "cmp", "sort", "strings", "fmt", "math/bits", "time", "github.com/DataDog/sketches-go/ddsketch/mapping"},
	"internal/judge":              {"math", "net/netip", "slices", "cmp", "sort", "strings", "fmt", "time"},
	"internal/silence":            {"cmp", "encoding/json", "fmt", "slices", "strconv", "strings", "time", "unicode", "unicode/utf8"},
	"internal/drain":              {"cmp", "errors", "fmt", "maps", "math", "net/netip", "slices", "strings", "time"},
	"internal/agent/drains":       {"cmp", "encoding/json", "errors", "fmt", "maps", "math", "net/netip", "net/url", "slices", "strings", "time"},
	"internal/court":              {"slices", "cmp", "strings", "time"},
	"internal/respond":            {"cmp", "crypto/sha256", "encoding/hex", "encoding/json", "errors", "fmt", "maps", "math", "slices", "strconv", "strings", "time"},
	"internal/recording/backtest": {"cmp", "slices", "strings", "time"},
	"internal/recording/score":    {"errors", "fmt", "io", "math", "slices", "strconv", "strings", "time"},
	"internal/recording/series":   {"math", "time"},
	"internal/recording/replay":   {"bytes", "encoding/json", "fmt", "slices", "cmp", "time"},
	"internal/rule": {
		"errors", "math", "maps", "slices", "strconv", "strings", "unicode/utf8", "fmt", "time",
		"github.com/expr-lang/expr/ast", "github.com/expr-lang/expr/file", "github.com/expr-lang/expr/parser",
	},
}

type pkg struct {
	ImportPath string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArrowsPointDown(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := arrows[name]
		if !known {
			t.Errorf("package %s is not on the plan: say in this test what it may import", name)
			continue
		}
		seen[name] = true
		for _, imp := range p.Imports {
			ours, found := strings.CutPrefix(imp, module)
			if found && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which the plan does not allow", name, ours)
			}
		}
		for _, arrow := range allowed {
			if !slices.Contains(p.Imports, module+arrow) {
				t.Errorf("the plan lets %s import %s, which it does not: take the arrow out", name, arrow)
			}
		}
	}
	for name := range arrows {
		if !seen[name] {
			t.Errorf("package %s is on the plan and not in the house", name)
		}
	}
}

func TestPureStagesImportNothingImpure(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		allowed, isPure := pure[strings.TrimPrefix(p.ImportPath, module)]
		if !isPure {
			continue
		}
		checked++
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module) && !slices.Contains(allowed, imp) {
				t.Errorf("%s is pure and imports %s", p.ImportPath, imp)
			}
		}
	}
	if checked != len(pure) {
		t.Errorf("%d pure packages found, want %d", checked, len(pure))
	}
}

// wakers start a goroutine that only wakes or ends what runs when a context is
// done; and a command of several agents asks them at once, and waits for all.
var wakers = []string{"internal/observe/balancer/haproxy.go", "internal/observe/identity/http.go", "cmd/foreshock/main.go", "cmd/foreshock/agents.go"}

// TestOnlyTheRoofStartsGoroutines looks at the source: goroutines belong to
// internal/agent, to the lab and to the demo, which is a world of its own beside
// the agent.
func TestOnlyTheRoofStartsGoroutines(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name == "internal/agent" || name == "internal/demo" || strings.HasPrefix(name, "internal/lab") {
			continue
		}
		for _, file := range p.GoFiles {
			places := goroutines(t, "../../"+name+"/"+file)
			if slices.Contains(wakers, name+"/"+file) {
				if len(places) != 1 {
					t.Errorf("%s/%s starts goroutines at %v, want the one waker", name, file, places)
				}
				continue
			}
			for _, at := range places {
				t.Errorf("%s starts a goroutine; only internal/agent, internal/lab and internal/demo may", at)
			}
		}
	}
}

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
