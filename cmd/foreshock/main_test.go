package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the expected output of testdata/*.txtar anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"foreshock": main})
}

// TestScripts runs the program as a user does: testdata/*.txtar, with stdout,
// stderr and exit codes.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"code": code, "lookjson": lookJSONKeys, "waitready": waitReady},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
	})
}

// code runs foreshock and wants one exit code: code 2 look --nope.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: code N ARG …")
	}
	err := ts.Exec("foreshock", args[1:]...)
	got := 0
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("foreshock %v: %v", args[1:], err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("foreshock %v: exit code %d, want %s", args[1:], got, args[0])
	}
}

// waitReady waits until the agent at an address is ready: waitready HOST:PORT.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitready HOST:PORT")
	}
	for range 200 {
		resp, err := http.Get("http://" + args[0] + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("no agent is ready at %s after 10 s", args[0])
}

// lookJSONKeys holds the last output to the contract of look --output json:
// lookjson KEY, where KEY must be in every row's key.
func lookJSONKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lookjson KEY")
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	for _, key := range []string{"at", "reader", "complete", "limits", "rows", "groups", "duration_seconds"} {
		if _, ok := doc[key]; !ok {
			ts.Fatalf("no %q in %v", key, doc)
		}
	}
	rows, _ := doc["rows"].([]any)
	for _, r := range rows {
		row, _ := r.(map[string]any)
		name, _ := row["key"].(map[string]any)
		states, _ := row["states"].(map[string]any)
		_, rest := name["rest"]
		if _, ok := name[args[0]]; !ok && !rest {
			ts.Fatalf("row without %q in its key: %v", args[0], row)
		}
		if _, ok := states["close_wait"]; !ok {
			ts.Fatalf("row without its states: %v", row)
		}
		if _, ok := row["sockets"].(float64); !ok {
			ts.Fatalf("row without its sockets: %v", row)
		}
	}
}
