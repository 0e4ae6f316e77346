package agent

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServiceManagerIsTold plays the service manager: READY once the agent has
// looked, WATCHDOG while it looks, STOPPING at its end (sd_notify(3)).
func TestServiceManagerIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "600000")
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	expect := func(t *testing.T, wants ...string) {
		t.Helper()
		for _, want := range wants {
			buffer := make([]byte, 512)
			for {
				n, err := conn.Read(buffer)
				if err != nil {
					t.Fatalf("the service manager never heard %s: %v", want, err)
				}
				if strings.HasPrefix(string(buffer[:n]), want) {
					break
				}
			}
		}
	}
	t.Run("an agent", func(t *testing.T) {
		running(t, Options{Load: defaults, Version: "test"})
		expect(t, "READY=1", "WATCHDOG=1", "WATCHDOG=1")
	})
	expect(t, "STOPPING=1") // running's clean-up has ended it
}
