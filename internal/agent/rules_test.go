package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/rule"
	"github.com/foreshock/foreshock/internal/rule/presets"
	"github.com/foreshock/foreshock/internal/rule/rulefile"
)

// TestRulesSayWhereTheyAreWrong: an expression is refused where the file has
// it, though only the compiler knows what is wrong.
func TestRulesSayWhereTheyAreWrong(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"unknown signal", "rules:\n  - {name: a, when: service.acepted > 1}\n", `foreshock.yaml:2:29: rule "a": `},
		{"the second half", "rules:\n  - name: a\n    when: service.accepted > 1 && service.acepted > 1\n", "foreshock.yaml:3:43: "},
		{"in quotes", "rules:\n  - {name: a, when: \"service.acepted > 1\"}\n", "foreshock.yaml:2:30: "},
		{"over two lines", "rules:\n  - name: a\n    when: |\n      service.accepted > 1 &&\n      service.acepted > 1\n", "foreshock.yaml:3:"},
		{"wrong unit", "rules:\n  - {name: a, when: service.queue_wait_seconds > service.queue_depth}\n", "foreshock.yaml:2:"},
		{"a name that a preset has", "presets: [workers-article]\nrules:\n  - {name: article-acceptance, when: service.accepted > 1}\n", "article-acceptance"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse("foreshock.yaml", []byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			rules, _, err := Rules(cfg, "foreshock.yaml")
			if err == nil || rules != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v rules, %v; want an error with %q", rules, err, tt.want)
			}
		})
	}
}

// TestRulesMeanTheSame: a rule means in a configuration what it means in a file
// of rules, as in `foreshock rule test`.
func TestRulesMeanTheSame(t *testing.T) {
	text := "rules:\n  - {name: a, when: service.busy > 1}\n  - {name: b, when: service.busy > 1, hold: 1h, severity: watch}\n"
	cfg, err := config.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	configured, _, err := Rules(cfg, "f")
	if err != nil {
		t.Fatal(err)
	}
	file, err := rulefile.Rules("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(configured, file.Rules, cmpopts.IgnoreFields(rule.Rule{}, "When")); diff != "" {
		t.Errorf("(-configuration +rules):\n%s", diff)
	}
	if config.MaxHold != rule.MaxHold || config.MaxExpression != rule.MaxText {
		t.Errorf("bounds %s and %d, of a rule %s and %d", config.MaxHold, config.MaxExpression, rule.MaxHold, rule.MaxText)
	}
}

func TestRulesThatNeverMatchAreWarnedOf(t *testing.T) {
	cfg, err := config.Parse("f", []byte("rules:\n  - {name: never, when: service.accepted < 0}\n  - {name: fine, when: service.accepted > 3}\n"))
	if err != nil {
		t.Fatal(err)
	}
	rules, warnings, err := Rules(cfg, "f")
	if err != nil || len(rules) != 2 || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "f:2: rule never: ") {
		t.Errorf("%d rules, warnings %q, %v", len(rules), warnings, err)
	}
}

// TestPresetsAreThere holds the names that the configuration takes to the files
// there are.
func TestPresetsAreThere(t *testing.T) {
	if diff := cmp.Diff(presets.Names(), slices.Sorted(slices.Values(config.Presets()))); diff != "" {
		t.Errorf("presets (-files +configuration):\n%s", diff)
	}
	cfg := config.Default()
	cfg.Presets = config.Presets()
	rules, _, err := Rules(cfg, "f")
	if err != nil || len(rules) < 5 {
		t.Errorf("%d rules in the presets, %v", len(rules), err)
	}
}
