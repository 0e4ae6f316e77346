package notifytest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// Alertmanager is the real one on loopback; it tells nobody.
type Alertmanager struct{ *server }

// StartAlertmanager starts it with its files in dir, and waits until it is ready.
// The error is a *lab.ErrMissing where it is not installed.
func StartAlertmanager(dir string) (*Alertmanager, error) {
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		return nil, &lab.ErrMissing{Program: "prometheus-alertmanager", Package: "prometheus-alertmanager"}
	}
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write Alertmanager's configuration: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s, err := start("Alertmanager", port, program, "--config.file="+config, "--storage.path="+filepath.Join(dir, "alertmanager"),
		"--web.listen-address=127.0.0.1:"+strconv.Itoa(port), "--cluster.listen-address=")
	if err != nil {
		return nil, err
	}
	a := &Alertmanager{s}
	for range 400 {
		if answer, err := http.Get(a.URL() + "/-/ready"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return a, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, fmt.Errorf("start Alertmanager: it is not ready: %s", a.Stop())
}

// URL is its base address.
func (a *Alertmanager) URL() string { return "http://" + a.address() }
