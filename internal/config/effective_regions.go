package config

func effectiveRegions(line writeLine, regions []Region) {
	if len(regions) == 0 {
		line("regions: []")
		return
	}
	line("regions:")
	for _, r := range regions {
		line("  - name: %s", yamlText(r.Name))
		if len(r.CIDRs) > 0 {
			var cidrs []string
			for _, c := range r.CIDRs {
				cidrs = append(cidrs, c.String())
			}
			line("    cidrs: [%s]", yamlList(cidrs))
		}
		if r.File == "" {
			continue
		}
		line("    file: %s", yamlQuoted(r.File))
		if r.Select != (Select{}) {
			line("    select:")
			line("      region: %s", yamlText(r.Select.Region))
			if r.Select.Service != "" {
				line("      service: %s", yamlText(r.Select.Service))
			}
		}
	}
}
