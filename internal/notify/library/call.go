package library

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// Timeout bounds one attempt; then the child is killed. Mail over STARTTLS
	// with greylisting takes its time.
	Timeout = 30 * time.Second
	// maxOutcome is how much of the child's answer is read, in bytes.
	maxOutcome = 64 << 10
	// afterKill is how long a killed child's pipes are waited for.
	afterKill = time.Second
)

// passed are the variables of the environment that the child gets: where
// programs are, proxies, and certificates. Secrets are not among them.
var passed = []string{
	"PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
}

// Call has a child send a message, and says how that went. argv is the program
// and its arguments that serve; the message goes to it on its standard input, so
// that no list of processes shows the address.
func Call(ctx context.Context, argv []string, m Message) Outcome {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	input, err := json.Marshal(m)
	if err != nil {
		return Outcome{Words: fmt.Sprintf("encode the message: %v", err)}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Args[0] = os.Args[0] // so that lists of processes show it as what it is
	cmd.Stdin, cmd.Dir, cmd.Env = bytes.NewReader(input), "/", environment(os.Environ())
	// It ends with us: what was killed cannot say so. The kernel takes the thread
	// that starts it for us (prctl(2), PR_SET_PDEATHSIG), so that is kept as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = afterKill
	var said limited
	cmd.Stdout = &said
	err = cmd.Run()
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Outcome{Words: fmt.Sprintf("%s did not answer within %s", host(m.URL), Timeout)}
	case ctx.Err() != nil:
		return Outcome{Words: "stopped"}
	case err != nil:
		return Outcome{Words: "the process that sends ended: " + err.Error()}
	}
	var out Outcome
	if err := json.Unmarshal(said.Bytes(), &out); err != nil {
		return Outcome{Words: "the process that sends said nothing that can be understood"}
	}
	return out
}

// environment is what of ours the child gets.
func environment(ours []string) []string {
	return slices.DeleteFunc(slices.Clone(ours), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return !slices.Contains(passed, name)
	})
}

// limited keeps the first maxOutcome bytes, and takes the rest.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	room := max(0, maxOutcome-l.Len())
	_, _ = l.Buffer.Write(p[:min(room, len(p))]) // it never fails
	return len(p), nil
}

var _ io.Writer = &limited{}
