package agent

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/history"
	"github.com/foreshock/foreshock/internal/notify"
)

// posterDir, in the environment, makes this program one that accepts and delivers
// notices until it is killed; posterHook is where to, posterFrom the first number.
const (
	posterDir  = "FORESHOCK_TEST_POSTER"
	posterHook = "FORESHOCK_TEST_POSTER_HOOK"
	posterFrom = "FORESHOCK_TEST_POSTER_FROM"
)

func numbered(channel string, n int) notify.Notice {
	return notify.Notice{
		Version: notify.Version, Key: fmt.Sprintf("%s-%06d", channel, n), Channel: channel, Reason: notify.News, At: time.Now().UTC(), Host: "web03",
		Incidents: []notify.Item{{Step: notify.Opened, Sequence: 1, Incident: uint64(n)}},
	}
}

// poster accepts notices for two channels as an agent does, only faster, and says
// the number of the last one that it begins to accept (+), and that it has (=).
func poster(dir string) {
	log := slog.New(slog.DiscardHandler)
	k := newKeeper(config.Default(), dir, "test", log)
	var channels notify.Config
	for _, name := range []string{"a", "b"} {
		channels.Channels = append(channels.Channels, notify.Channel{Name: name, Webhook: &notify.Webhook{URL: os.Getenv(posterHook) + "/" + name}})
	}
	n := newNotices(channels, k, log)
	if err := k.start(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for _, lane := range n.lanes {
		go func() { _ = lane.Run(context.Background()) }()
	}
	fmt.Println("up")
	first, _ := strconv.Atoi(os.Getenv(posterFrom))
	for i := first; ; i++ {
		fmt.Println("+" + strconv.Itoa(i))
		n.put([]notify.Notice{numbered("a", i), numbered("b", i)}, []history.Memory{{Kind: "told", Key: "last", Data: []byte(strconv.Itoa(i))}})
		if rand.IntN(3) == 0 {
			if k.settle(context.Background()) == nil && k.shown().Waiting == 0 {
				fmt.Println("=" + strconv.Itoa(i))
			}
		}
	}
}

// taker is a receiver of both channels: now and then out of order, and now and
// then it refuses a notice for good.
type taker struct {
	mu    sync.Mutex
	down  map[string]bool
	took  map[string][]int // first deliveries, in order
	again int              // others
}

func (r *taker) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	channel, number, _ := strings.Cut(req.Header.Get("Idempotency-Key"), "-")
	n, err := strconv.Atoi(number)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil || req.URL.Path != "/"+channel:
		panic(fmt.Sprintf("%s: key %q", req.URL, req.Header.Get("Idempotency-Key")))
	case r.down[channel]:
		w.WriteHeader(http.StatusServiceUnavailable)
	case n%17 == 0:
		w.WriteHeader(http.StatusBadRequest)
	case slices.Contains(r.took[channel], n):
		r.again++
	default:
		r.took[channel] = append(r.took[channel], n)
	}
}

// TestPosterKills: however often an agent is killed, at whatever instant, each
// notice that was accepted is delivered, waits, or is undelivered and shown; first
// deliveries are in order; what comes twice has the key it had; and planners
// remember as much as was accepted. 100 times, or as FORESHOCK_HISTORY_KILLS says.
func TestPosterKills(t *testing.T) {
	kills := 100
	if many, err := strconv.Atoi(os.Getenv("FORESHOCK_HISTORY_KILLS")); err == nil {
		kills = many
	} else if testing.Short() {
		kills = 10
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &taker{down: map[string]bool{}, took: map[string][]int{}}
	server := httptest.NewServer(r)
	defer server.Close()
	begun := 0
	var accepted []int
	for kill := range kills {
		r.mu.Lock()
		r.down["a"], r.down["b"] = kill%5 == 4, kill%3 == 0
		r.mu.Unlock()
		cmd := &exec.Cmd{Path: exe, Args: []string{exe}, Env: append(os.Environ(), posterDir+"="+dir, posterHook+"="+server.URL, posterFrom+"="+strconv.Itoa(begun+1))}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		if !said.Scan() || said.Text() != "up" {
			t.Fatalf("it said %q at its start", said.Text())
		}
		first := begun + 1 // not yet confirmed of this run
		timer := time.AfterFunc(time.Duration(rand.Int64N(int64(80*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		for said.Scan() {
			n, err := strconv.Atoi(said.Text()[1:])
			if err != nil {
				t.Fatalf("it said %q", said.Text())
			}
			if begun = max(begun, n); said.Text()[0] == '=' {
				for ; first <= n; first++ {
					accepted = append(accepted, first)
				}
			}
		}
		_ = cmd.Wait() // killed
		timer.Stop()
	}
	h, err := history.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	counts, err := h.Outbox()
	if err != nil {
		t.Fatal(err)
	}
	if last, err := h.Memories("told"); err != nil || len(last) != 1 {
		t.Errorf("remembered: %v, %v", last, err)
	} else if n, _ := strconv.Atoi(string(last[0].Data)); len(accepted) > 0 && n < accepted[len(accepted)-1] {
		t.Errorf("remembered up to %d, and %d was accepted", n, accepted[len(accepted)-1])
	}
	// What waits is delivered by one more, to receivers that are up.
	r.mu.Lock()
	clear(r.down)
	r.mu.Unlock()
	drained(t, dir, server.URL)
	dead := map[string]bool{}
	for _, channel := range []string{"a", "b"} {
		rows, err := h.Undelivered(channel, 0, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			dead[rows[i].Key] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, channel := range []string{"a", "b"} {
		if !slices.IsSorted(r.took[channel]) {
			t.Errorf("to %s they came out of order", channel)
		}
		for _, n := range accepted {
			key := numbered(channel, n).Key
			if took := slices.Contains(r.took[channel], n); !took && n%17 != 0 {
				t.Errorf("%s was accepted, and not delivered; undelivered: %t", key, dead[key])
			} else if n%17 == 0 && !dead[key] {
				t.Errorf("%s was refused, and is not shown", key)
			}
		}
	}
	t.Logf("%d kills, %d notices accepted for each channel, %d begun; %v waited at the end, %d were undelivered; %d came twice", kills, len(accepted), begun, counts, len(dead), r.again)
}

// drain delivers what waits in a directory's history.
func drained(t *testing.T, dir, hook string) {
	t.Helper()
	k := keeping(t, dir)
	var channels notify.Config
	for _, name := range []string{"a", "b"} {
		channels.Channels = append(channels.Channels, notify.Channel{Name: name, Webhook: &notify.Webhook{URL: hook + "/" + name}})
	}
	n := newNotices(channels, k, slog.New(slog.DiscardHandler))
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, lane := range n.lanes {
		wg.Go(func() { _ = lane.Run(ctx) })
	}
	defer func() {
		cancel()
		wg.Wait()
		close(k.stop)
		<-k.done
	}()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var counts []history.OutboxCount
		err := k.ask(t.Context(), func(st *history.Store) (err error) {
			if err = k.write(); err != nil {
				return err
			}
			counts, err = st.Outbox()
			return err
		})
		if err == nil && !slices.ContainsFunc(counts, func(c history.OutboxCount) bool { return c.Waiting > 0 }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is never all delivered: %v, %v", counts, err)
		}
	}
}
