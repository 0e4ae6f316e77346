package lab

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestTraefikVersion: the program that is looked for is the one that the
// nested module builds.
func TestTraefikVersion(t *testing.T) {
	text, err := os.ReadFile("traefik/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*(?:require )?github\.com/traefik/traefik/v3 (v\S+)`).FindSubmatch(text)
	if found == nil || string(found[1]) != traefikVersion {
		t.Errorf("go.mod builds %q, traefikVersion is %s", found, traefikVersion)
	}
}

// TestTraefikNotBuilt: the error says how to build it.
func TestTraefikNotBuilt(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	software := Traefik{Backends: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80")}}
	_, err := software.plan(place{dir: t.TempDir(), addr: netip.MustParseAddr("192.0.2.2")})
	missing, ok := errors.AsType[*ErrMissing](err)
	if !ok || missing.Error() != "traefik is missing: build it with make lab-traefik" {
		t.Errorf("without the program: %v", err)
	}
	path, err := TraefikProgram()
	if want := filepath.Join(cache, "foreshock", "traefik-"+traefikVersion); err != nil || path != want {
		t.Errorf("TraefikProgram() = %s, %v; want %s", path, err, want)
	}
}
