package config

func effectiveBackends(line writeLine, pools []Backends) {
	if len(pools) == 0 {
		line("backends: []  # known load balancers are found by themselves")
		return
	}
	line("backends:")
	for _, b := range pools {
		line("  - name: %s", yamlText(b.Name))
		line("    process:")
		effectiveProcess(line, b.Process)
		effectiveDiscover(line, b.Discover)
		if b.Status == 0 {
			line("    status: off")
		} else {
			line("    status: %s", durationText(b.Status))
		}
	}
}

func effectiveProcess(line writeLine, p Process) {
	for _, f := range []struct{ key, text string }{
		{"name", p.Name}, {"exe", p.Exe}, {"unit", p.Unit}, {"container", p.Container}, {"cgroup", p.Cgroup},
	} {
		if f.text != "" {
			line("      %s: %s", f.key, yamlQuoted(f.text))
		}
	}
	if p.Listens.IsValid() {
		line("      listens: %s", yamlQuoted(ListenerText(p.Listens)))
	}
}

func effectiveDiscover(line writeLine, d Discover) {
	switch {
	case d.HAProxySocket != "":
		line("    discover: {haproxy: {socket: %s}}", yamlQuoted(d.HAProxySocket))
	case d.TraefikAPI != "":
		line("    discover: {traefik: {api: %s}}", yamlQuoted(d.TraefikAPI))
	case d.TraefikFile != "":
		line("    discover: {traefik: {file: %s}}", yamlQuoted(d.TraefikFile))
	case len(d.DNS) > 0:
		line("    discover: {dns: [%s]}", yamlList(d.DNS))
	case len(d.Static) > 0:
		line("    discover:")
		line("      static:")
		for _, m := range d.Static {
			if m.Name == m.Remote.String() {
				line("        - %s", yamlQuoted(m.Name))
			} else {
				line("        - {name: %s, address: %s}", yamlQuoted(m.Name), yamlQuoted(m.Remote.String()))
			}
		}
	default:
		line("    # discover: none, so the addresses that the process is seen to talk to")
	}
}
