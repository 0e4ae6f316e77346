package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/labtest"
	"github.com/foreshock/foreshock/internal/observe"
	"github.com/foreshock/foreshock/internal/tcp"
)

var update = flag.Bool("update", false, "write the expected output in testdata anew")

func TestMain(m *testing.M) {
	lab.Child()
	testscript.Main(labtest.Alone{M: m}, map[string]func(){"foreshock": main, "server": server, "balancer": balancer})
}

// TestScripts runs the program as a user does: testdata/*.txtar, with stdout,
// stderr and exit codes.
func TestScripts(t *testing.T) {
	certs := certificates(t)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SLACK", "slack://hook:T00FORESH-B00FORESH-abcdefghijklmnopqrstuvwx@webhook")
			env.Setenv("MAIL", "smtp://user:hunter2@127.0.0.1:1/?from=a@b.example&to=c@d.example&starttls=no")
			env.Setenv("BAD", "carrier://hunter2@pigeon")
			env.Setenv("CERTS", certs)
			env.Setenv("STATE_DIRECTORY", env.WorkDir+"/state") // agents of other scripts run beside
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"balance": balance, "code": code, "cut": halve, "follow": follow, "kept": kept, "lookjson": lookJSONKeys, "made": made, "opened": opened, "row": row, "serve": serve, "waitready": waitReady, "waittls": waitTLS(certs), "waitkept": waitKept, "waitbackend": waitBackend, "waitdrain": waitDrain, "waitincident": waitIncident, "waitundelivered": waitUndelivered,
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "diag":
				reader, fallback, err := observe.Open(observe.Auto, tcp.NewScratch())
				if err == nil {
					err = reader.Close()
				}
				return err == nil && fallback == nil, nil
			case "configured":
				_, err := os.Stat(defaultConfig)
				return err == nil, nil
			case "agent":
				conn, err := net.Dial("tcp", strings.TrimPrefix(defaultAgent, "http://"))
				if err == nil {
					_ = conn.Close()
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
	})
}

// code runs foreshock and wants one exit code, or any: code 2 look --nope.
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
	if args[0] != "any" && fmt.Sprint(got) != args[0] {
		ts.Fatalf("foreshock %v: exit code %d, want %s", args[1:], got, args[0])
	}
}

// waitReady waits until the agent at an address is ready: waitready HOST:PORT.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitready HOST:PORT")
	}
	waitFor(ts, "http://"+args[0]+"/readyz", 10*time.Second, func(resp *http.Response) bool { return resp.StatusCode == http.StatusOK })
}

// waitFor asks an agent again and again, until an answer will do.
func waitFor(ts *testscript.TestScript, url string, most time.Duration, do func(*http.Response) bool) {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get(url); err == nil {
			good := do(resp)
			_ = resp.Body.Close()
			if good {
				return
			}
		}
	}
	ts.Fatalf("GET %s: not what is waited for after %s", url, most)
}

// waitKept waits until the history of the agent at an address has an open
// incident: waitkept HOST:PORT.
func waitKept(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitkept HOST:PORT")
	}
	waitFor(ts, "http://"+args[0]+"/api/v1/incidents?state=open&limit=1", 20*time.Second, func(resp *http.Response) bool {
		var page api.Incidents
		return json.NewDecoder(resp.Body).Decode(&page) == nil && len(page.Incidents) > 0
	})
}

// opened waits until a rule's incident is open and in the history of the agent at
// an address: opened HOST:PORT RULE. $ID is its number.
func opened(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: opened HOST:PORT RULE")
	}
	waitFor(ts, "http://"+args[0]+"/api/v1/incidents?state=open&limit=500", 20*time.Second, func(resp *http.Response) bool {
		var page api.Incidents
		if json.NewDecoder(resp.Body).Decode(&page) != nil {
			return false
		}
		at := slices.IndexFunc(page.Incidents, func(i api.Incident) bool { return i.Rule == args[1] })
		if at >= 0 {
			ts.Setenv("ID", strconv.FormatUint(page.Incidents[at].ID, 10))
		}
		return at >= 0
	})
}

// waitBackend waits until the agent at an address has seen a backend's sockets:
// waitbackend HOST:PORT NAME.
func waitBackend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitbackend HOST:PORT NAME")
	}
	waitFor(ts, "http://"+args[0]+"/api/v1/scopes/backend/"+args[1], 20*time.Second, func(resp *http.Response) bool {
		var b api.Scope
		return json.NewDecoder(resp.Body).Decode(&b) == nil && b.Signals["established"].Value != nil
	})
}

// waitIncident waits until the agent at an address has an incident of that
// number: waitincident HOST:PORT NUMBER.
func waitIncident(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitincident HOST:PORT NUMBER")
	}
	waitFor(ts, "http://"+args[0]+"/api/v1/incidents/"+args[1], 30*time.Second, func(resp *http.Response) bool { return resp.StatusCode == http.StatusOK })
}

// waitUndelivered waits until the agent at an address shows an undelivered notice
// of a channel that can be tried again: waitundelivered HOST:PORT CHANNEL.
func waitUndelivered(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitundelivered HOST:PORT CHANNEL")
	}
	waitFor(ts, "http://"+args[0]+"/api/v1/channels", 30*time.Second, func(resp *http.Response) bool {
		var c api.Channels
		return json.NewDecoder(resp.Body).Decode(&c) == nil && slices.ContainsFunc(c.Channels, func(x api.Channel) bool { return x.Name == args[1] && x.DeadLetters > 0 })
	})
}

// servers counts the servers started. Their ports are 28000 and so many, below
// those that the kernel gives out.
var servers atomic.Int32

// serve starts a server, makes CONNECTIONS to it over loopback and lets it
// accept some of them: serve HOST CONNECTIONS ACCEPTED. $PORT is its port, which
// nobody has used before, $PID its process, "foreshock.test:$PORT" the name of the
// service. It accepts whatever comes where ACCEPTED is all.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: serve HOST CONNECTIONS ACCEPTED")
	}
	connections, err := strconv.Atoi(args[1])
	ts.Check(err)
	path, err := os.Executable()
	ts.Check(err)
	port := strconv.Itoa(28000 + int(servers.Add(1)))
	pid, said := start(ts, path, "server", net.JoinHostPort(args[0], port), args[2])
	for range connections {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		ts.Check(err)
		ts.Defer(func() { _ = conn.Close() })
	}
	if _, err := said.ReadString('\n'); err != nil {
		ts.Fatalf("the server did not accept %s connections: %v", args[2], err)
	}
	ts.Setenv("PORT", port)
	ts.Setenv("PID", pid)
}

// start starts the test's own program as args, until the script ends, and waits
// for the first line that it says.
func start(ts *testscript.TestScript, path string, args ...string) (pid string, said *bufio.Reader) {
	cmd := &exec.Cmd{Path: path, Args: args, Stderr: os.Stderr}
	stdin, err := cmd.StdinPipe()
	ts.Check(err)
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { _ = stdin.Close(); _ = cmd.Wait() })
	said = bufio.NewReader(stdout)
	if _, err := said.ReadString('\n'); err != nil {
		ts.Fatalf("%v said nothing: %v", args, err)
	}
	return strconv.Itoa(cmd.Process.Pid), said
}

// server is a program of its own: server ADDRESS ACCEPTED. It says that it
// listens, accepts so many connections, says so, and ends with its standard
// input; with "all" it says so first, and accepts for as long as it lives.
func server() {
	listener := must(net.Listen("tcp", os.Args[1]))
	fmt.Println("listening")
	var held []net.Conn
	if os.Args[2] == "all" {
		go func() {
			var all []net.Conn
			for {
				conn, err := listener.Accept()
				if err != nil {
					runtime.KeepAlive(all) // a connection nobody can reach is closed
					return
				}
				all = append(all, conn)
			}
		}()
		os.Args[2] = "0"
	}
	for range must(strconv.Atoi(os.Args[2])) {
		held = append(held, must(listener.Accept()))
	}
	fmt.Println("accepted")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(held)
	runtime.KeepAlive(listener)
}

// balance starts a program that is called as a balancer is, makes it connect to
// 127.0.0.1:$PORT and ask on one of its connections: balance NAME CONNECTIONS.
// $BALANCER is its process.
func balance(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: balance NAME CONNECTIONS")
	}
	exe, err := os.Executable()
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.Link(exe, path)) // a copy just written may still be open in a child of another script: ETXTBSY
	pid, _ := start(ts, path, "balancer", ts.Getenv("PORT"), args[1])
	ts.Setenv("BALANCER", pid)
}

// balancer is a program of its own: balancer PORT CONNECTIONS. It makes so many
// connections, asks on the first, says so, and ends with its standard input.
func balancer() {
	var held []net.Conn
	for range must(strconv.Atoi(os.Args[2])) {
		held = append(held, must(net.Dial("tcp", "127.0.0.1:"+os.Args[1])))
	}
	must(io.WriteString(held[0], "GET / HTTP/1.0\r\n\r\n"))
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(held)
}

// looked is the last output, as JSON.
func looked(ts *testscript.TestScript) (doc map[string]any, rows []map[string]any) {
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	list, ok := doc["rows"].([]any)
	if !ok {
		ts.Fatalf("rows is no list: %v", doc["rows"])
	}
	for _, r := range list {
		row, _ := r.(map[string]any)
		rows = append(rows, row)
	}
	return doc, rows
}

// lookJSONKeys holds the last output to the contract of look --output json:
// lookjson KEY, where KEY must be in every row's key.
func lookJSONKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lookjson KEY")
	}
	doc, rows := looked(ts)
	for _, key := range []string{"at", "reader", "complete", "limits", "rows", "groups", "duration_seconds"} {
		if _, ok := doc[key]; !ok {
			ts.Fatalf("no %q in %v", key, doc)
		}
	}
	if _, ok := doc["limits"].([]any); !ok {
		ts.Fatalf("limits is no list: %v", doc["limits"])
	}
	for _, row := range rows {
		name, _ := row["key"].(map[string]any)
		states, _ := row["states"].(map[string]any)
		_, rest := name["rest"]
		if _, ok := name[args[0]]; !ok && !rest {
			ts.Fatalf("row without %q in its key: %v", args[0], row)
		}
		if _, ok := states["close_wait"]; !ok {
			ts.Fatalf("row without its states: %v", row)
		}
		for _, key := range []string{"sockets", "accepted", "unaccepted", "retransmitting", "queue_depth"} {
			if _, ok := row[key].(float64); !ok {
				ts.Fatalf("row without its %s: %v", key, row)
			}
		}
	}
}

// row wants one row of the last output, found by a field of its key, and
// fields of it: row state=established sockets=6 states.established=6. With !
// there must be no such row.
func row(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || neg && len(args) > 1 {
		ts.Fatalf("usage: [!] row KEY=VALUE [FIELD=VALUE …]")
	}
	doc, rows := looked(ts)
	name, value, _ := strings.Cut(args[0], "=")
	for _, r := range rows {
		if fmt.Sprint(inside(r, "key."+name)) != value {
			continue
		}
		if neg {
			ts.Fatalf("there is a row with %s: %v", args[0], r)
		}
		for _, field := range args[1:] {
			path, want, _ := strings.Cut(field, "=")
			if got := fmt.Sprint(inside(r, path)); got != want {
				ts.Fatalf("row %s: %s is %s, want %s: %v", args[0], path, got, want, r)
			}
		}
		return
	}
	if !neg {
		ts.Fatalf("there is no row with %s: %v", args[0], doc)
	}
}

// inside returns a value inside an object: inside(doc, "states.close_wait").
func inside(doc map[string]any, path string) any {
	first, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		return doc[first]
	}
	inner, _ := doc[first].(map[string]any)
	return inside(inner, rest)
}
