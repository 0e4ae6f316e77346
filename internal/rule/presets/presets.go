// Package presets holds files of rules that come with the program. None is on
// unless the configuration names it, and none does more than tell.
package presets

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names are the presets, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the directory is part of the program
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out
}

// Source is the file of one preset, with its comments. The error lists what
// there is.
func Source(name string) ([]byte, error) {
	data, err := files.ReadFile(name + ".yaml")
	if err != nil || strings.Contains(name, "/") {
		return nil, fmt.Errorf("there is no preset %.60q: use %s", name, strings.Join(Names(), ", "))
	}
	return data, nil
}
