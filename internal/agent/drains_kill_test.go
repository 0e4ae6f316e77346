package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

// followerDir, in the environment, makes this program an agent with its
// configuration and history there, until it is killed.
const followerDir = "FORESHOCK_TEST_FOLLOWER"

// followed runs an agent and says where it listens.
func followed(dir string) {
	err := Run(context.Background(), Options{
		Load: from(filepath.Join(dir, "foreshock.yaml")), StateDir: filepath.Join(dir, "state"), Listen: anyPort, Log: slog.New(slog.DiscardHandler),
		Announce: func(_ *api.Snapshot, address string) { fmt.Println(address) },
	})
	fmt.Println("error:", err)
	os.Exit(1)
}

// TestDrainKills: however often an agent is killed, at whatever instant, each
// switch that it said it follows is followed, since when it was, and each that it
// said it ended is ended. 12 times, or as FORESHOCK_HISTORY_KILLS says.
func TestDrainKills(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	if _, err := fmt.Sscan(os.Getenv("FORESHOCK_HISTORY_KILLS"), &kills); err != nil && os.Getenv("FORESHOCK_HISTORY_KILLS") != "" {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), drainToken)
	write(t, filepath.Join(dir, "foreshock.yaml"), fmt.Sprintf(`
token: {file: %s}
observe: {namespaces: host}
drain:
  - {name: armed.example, old: [192.0.2.1], new: [192.0.2.2], resolvers: [127.9.2.53]}
`, filepath.Join(dir, "token")))
	type known struct {
		stopped, unsure bool // unsure: it was killed before it answered
		at              time.Time
	}
	all := map[string]*known{} // by name
	answers := 0
	for range kills {
		ctx, kill := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, exe) // killed with the context
		cmd.Env = append(os.Environ(), followerDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		said.Scan()
		address := strings.TrimPrefix(said.Text(), "http://")
		if _, err := netip.ParseAddrPort(address); err != nil {
			t.Fatalf("it said %q at its start", address)
		}
		for name, is := range all {
			var got api.FollowedSwitch
			status, err := told(t, "GET", address, "/api/v1/drains/"+name, nil, &got)
			switch gone := status == http.StatusNotFound; {
			case err != nil:
				t.Fatal(err)
			case gone && is.unsure && is.at.IsZero(): // it had not been begun
				delete(all, name)
				continue
			case gone:
				t.Errorf("%s is lost", name)
				continue
			case is.unsure:
			case got.Report.Stopped != is.stopped || got.Report.SwitchedAt.Sub(is.at).Abs() > time.Second:
				t.Errorf("%s: ended %t, at %v; it was %t, at %v", name, got.Report.Stopped, got.Report.SwitchedAt, is.stopped, is.at)
			}
			*is = known{stopped: got.Report.Stopped, at: got.Report.SwitchedAt}
			for _, p := range got.Report.Curve {
				if p.SinceSeconds > got.Report.SinceSeconds+1 {
					t.Errorf("%s has a point %v s after the switch, which was %v s ago", name, p.SinceSeconds, got.Report.SinceSeconds)
				}
			}
		}
		time.AfterFunc(time.Duration(rand.Int64N(int64(300*time.Millisecond))), kill)
		for err == nil {
			name := fmt.Sprintf("n%d.example", rand.IntN(8))
			is := all[name]
			if is == nil {
				is = &known{stopped: true}
				all[name] = is
			}
			is.unsure = true
			if is.stopped {
				var got api.FollowedSwitch
				request := api.DrainRequest{Name: name, Old: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, New: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, AgoSeconds: float64(rand.IntN(1000)), Resolvers: []string{"127.9.2.53"}, By: "anna"}
				if _, err = told(t, "POST", address, "/api/v1/drains", request, &got); err == nil {
					*is = known{at: got.Report.SwitchedAt}
				}
			} else if _, err = told(t, "DELETE", address, "/api/v1/drains/"+name+"?by=anna", nil, nil); err == nil {
				is.unsure, is.stopped = false, true
			}
			if err == nil {
				answers++
			}
		}
		kill()
		_ = cmd.Wait()
	}
	t.Logf("%d kills, %d answers", kills, answers)
}

// told asks an agent that may be killed meanwhile; the error says that it was.
func told(t *testing.T, method, address, path string, in, out any) (status int, err error) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+drainToken)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusNoContent {
		return resp.StatusCode, nil
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, errors.New(resp.Status)
	}
	return resp.StatusCode, json.NewDecoder(resp.Body).Decode(out)
}
