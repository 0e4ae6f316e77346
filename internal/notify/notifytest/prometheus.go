package notifytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/foreshock/foreshock/internal/lab"
)

// Prometheus is the real one on loopback.
type Prometheus struct{ *server }

// StartPrometheus starts it with a configuration, and its files in dir. The error
// is a *lab.ErrMissing where it is not installed.
func StartPrometheus(dir, configuration string) (*Prometheus, error) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, &lab.ErrMissing{Program: "prometheus", Package: "prometheus"}
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(configuration), 0o600); err != nil {
		return nil, fmt.Errorf("write Prometheus' configuration: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s, err := start("Prometheus", port, program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	return &Prometheus{s}, nil
}

// URL is its base address.
func (p *Prometheus) URL() string { return "http://" + p.address() }
