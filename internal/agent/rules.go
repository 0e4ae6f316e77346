package agent

import (
	"errors"
	"fmt"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/rulefile"
)

// Rules compiles the rules of a configuration and of its presets. file is the
// configuration's name, for messages: the error joins one for each problem,
// and warnings name the rules that can never match or never end.
func Rules(cfg config.Config, file string) (rules []rule.Rule, warnings []string, err error) {
	var errs []error
	from := map[string]string{} // rule → who has it
	add := func(r rule.Rule, where string) {
		if other, taken := from[r.Name]; taken {
			errs = append(errs, fmt.Errorf("%s: the rule %q is also in %s; give it another name", where, r.Name, other))
			return
		}
		from[r.Name] = where
		rules = append(rules, r)
	}
	for _, c := range cfg.Rules {
		when, err := rule.Compile(c.Name, c.When)
		if wrong, ok := errors.AsType[*rule.Error](err); ok {
			offset := -1
			if wrong.Line == 1 {
				offset = byteOffset(c.When, wrong.Column)
			}
			errs = append(errs, c.Refused(file, offset, wrong.Problem, wrong.Hint))
			continue
		}
		severity, _ := rule.ParseSeverity(c.Severity) // the configuration has checked it
		for _, w := range when.Warnings() {
			warnings = append(warnings, fmt.Sprintf("%s:%d: rule %s: %s", file, c.Line, c.Name, w))
		}
		add(rule.Rule{Name: c.Name, When: when, Hold: c.Hold, Severity: severity, Advice: c.Advice}, file)
	}
	for _, name := range cfg.Presets {
		preset, err := rulefile.Preset(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, r := range preset.Rules {
			add(r, "preset "+name)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return rules, warnings, nil
}

// byteOffset is where the character at a column, from 1, begins.
func byteOffset(text string, column int) int {
	for i := range text {
		if column--; column == 0 {
			return i
		}
	}
	return len(text)
}
