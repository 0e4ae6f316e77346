package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Traefik is Traefik with its file provider and one service, "app@file". It is
// in no Debian package: `make lab-traefik` builds it once.
type Traefik struct {
	// Health is the path of its health checks, at Traefik's own interval of
	// 30 s and time-out of 5 s. None makes none, as by default.
	Health string
	// Metrics lets it count for Prometheus, at /metrics of its API's port, with
	// Traefik's own choice of labels.
	Metrics bool
	// Backends are the service's servers, at least one.
	Backends []netip.AddrPort
}

// TraefikAPI is the port of its API, on every address of the host.
const TraefikAPI = 8081

// traefikVersion is what internal/lab/traefik/go.mod builds.
const traefikVersion = "v3.6.12"

// TraefikProgram returns the path where `make lab-traefik` puts the program:
// outside of the tree, as it takes minutes to build.
func TraefikProgram() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of built programs: %w", err)
	}
	return filepath.Join(cache, "foreshock", "traefik-"+traefikVersion), nil
}

func (t Traefik) plan(at place) (plan, error) {
	if len(t.Backends) == 0 {
		return plan{}, errors.New("no backends")
	}
	path, err := TraefikProgram()
	if err != nil {
		return plan{}, err
	}
	if _, err := os.Stat(path); err != nil {
		return plan{}, &ErrMissing{Program: "traefik", Build: "make lab-traefik"}
	}
	static := fmt.Sprintf(`global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: WARN}
api: {insecure: true}
entryPoints:
  web: {address: "%v"}
  traefik: {address: ":%d"}
providers:
  file: {filename: %q, watch: true}
`, at.web(), TraefikAPI, at.dir+"/dynamic.yml")
	if t.Metrics {
		static += "metrics: {prometheus: {}}\n"
	}
	var b strings.Builder
	b.WriteString(`http:
  routers:
    app: {rule: "PathPrefix(` + "`/`" + `)", entryPoints: [web], service: app}
  services:
    app:
      loadBalancer:
        servers:
`)
	for _, backend := range t.Backends {
		fmt.Fprintf(&b, "          - {url: \"http://%v\"}\n", backend)
	}
	if t.Health != "" {
		fmt.Fprintf(&b, "        healthCheck: {path: %q}\n", t.Health)
	}
	return plan{
		program:    path,
		args:       []string{"--configFile=" + at.dir + "/traefik.yml"},
		files:      map[string]string{"traefik.yml": static, "dynamic.yml": b.String()},
		listen:     at.web(),
		stopSignal: syscall.SIGTERM,
		watches:    true,
	}, nil
}
