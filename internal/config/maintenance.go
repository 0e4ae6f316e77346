package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/foreshock/foreshock/internal/silence"
)

// Maintenance is a time each week in which nobody is told of some incidents.
type Maintenance struct {
	Name   string // unique in the file
	Window silence.Window
	Match  silence.Matcher
	Why    string // the name where none is given
}

type rawMaintenance struct {
	section
	Name     rawText      `yaml:"name" jsonschema:"required" jsonschema_description:"The window's name, unique in the file."`
	Weekdays []rawWeekday `yaml:"weekdays" example:"[sat, sun]" jsonschema:"required" jsonschema_description:"The days on which it begins."`
	From     rawClock     `yaml:"from" jsonschema:"required" jsonschema_description:"When it begins, by the clocks of the zone."`
	To       rawClock     `yaml:"to" jsonschema:"required" jsonschema_description:"When it ends; on the next day where that is before from."`
	Zone     rawZone      `yaml:"zone" jsonschema:"required" jsonschema_description:"The time zone's name."`
	Match    rawMatcher   `yaml:"match" example:"{scope: \"backend/shop*\"}" jsonschema:"required" jsonschema_description:"Which incidents nobody is told of then."`
	Why      rawText      `yaml:"why" jsonschema_description:"Why, for whoever sees it. Default: its name."`
}

type (
	rawWeekday struct{ scalar }
	rawClock   struct{ scalar }
	rawZone    struct{ scalar }
)

func (rawWeekday) kind() kind { return kind{"a weekday", "sat", oneOf(silence.Weekdays()...)} }

func (rawClock) kind() kind {
	return kind{"a time of day", `"02:00"`, text(`^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$`)}
}

func (rawZone) kind() kind {
	return kind{"the name of a time zone", "Europe/Dublin", text(`^[A-Za-z0-9_+/-]+$`)}
}

func checkMaintenance(p *problems, raw []rawMaintenance) []Maintenance {
	var out []Maintenance
	names := uniqueNames{what: "maintenance window", example: "backups", twice: ownName, lines: map[string]int{}}
	for i, r := range raw {
		if r.Spoiled {
			continue
		}
		path := fmt.Sprintf("maintenance[%d]", i)
		m := Maintenance{Name: names.check(p, path, r.At, r.Name)}
		if m.Why = m.Name; r.Why.Good && checkName(p, path+".why", r.Why.scalar) {
			if m.Why = r.Why.Text; m.Why == "" {
				p.add(r.Why.At, path+".why", "", path+".why is empty", "say it, or remove the key")
			}
		}
		m.Window = checkWindow(p, path, r)
		switch {
		case r.Match.there():
			m.Match, _ = checkMatcher(p, path+".match", r.Match)
		default:
			p.add(r.At, path+".match", m.Name, fmt.Sprintf("%s %s has no match", path, quote(m.Name)), `add match: {scope: "backend/shop*"}, or {everything: true}`)
		}
		out = append(out, m)
	}
	return out
}

func checkWindow(p *problems, path string, r rawMaintenance) silence.Window {
	good := true
	leaves := map[string]scalar{"from": r.From.scalar, "to": r.To.scalar, "zone": r.Zone.scalar}
	for _, key := range []string{"from", "to", "zone"} {
		s := leaves[key]
		if good = good && s.Good; !s.Given {
			example := map[string]string{"from": `"02:00"`, "to": `"04:00"`, "zone": "Europe/Dublin"}[key]
			p.add(r.At, path+"."+key, "", path+" has no "+key, "add "+key+": "+example)
		}
	}
	var days []string
	for j, d := range r.Weekdays {
		at := fmt.Sprintf("%s.weekdays[%d]", path, j)
		switch {
		case !d.Good:
			good = false
		case slices.Contains(days, d.Text):
			p.add(d.At, at, d.Text, at+" "+quote(d.Text)+" is there twice", "keep one of them")
			good = false
		case !slices.Contains(silence.Weekdays(), d.Text):
			p.add(d.At, at, d.Text, at+" "+quote(d.Text)+" is no weekday", didYouMean(d.Text, silence.Weekdays(), "the weekdays are "+strings.Join(silence.Weekdays(), ", ")))
			good = false
		default:
			days = append(days, d.Text)
		}
	}
	if len(r.Weekdays) == 0 {
		p.add(r.At, path+".weekdays", "", path+" has no weekdays", "add weekdays: [sat, sun]")
		good = false
	}
	if !good {
		return silence.Window{}
	}
	w, err := silence.ParseWindow(days, r.From.Text, r.To.Text, r.Zone.Text)
	if err != nil {
		refuse(p, path, r.At, leaves, err)
	}
	return w
}

func effectiveMaintenance(line writeLine, windows []Maintenance) {
	if len(windows) == 0 {
		line("maintenance: []")
		return
	}
	line("maintenance:")
	for _, m := range windows {
		days, from, to, zone := m.Window.Parts()
		line("  - name: %s", yamlText(m.Name))
		line("    weekdays: [%s]", strings.Join(days, ", "))
		line("    from: %s", yamlQuoted(from))
		line("    to: %s", yamlQuoted(to))
		line("    zone: %s", yamlText(zone))
		line("    match: %s", effectiveMatcher(m.Match))
		line("    why: %s", yamlText(m.Why))
	}
}
