package config

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

// kind is what a leaf takes: in words, with an example to copy, and for
// editors.
type kind struct {
	what, example string
	schema        *jsonschema.Schema
}

// leaf is every type below.
type leaf interface {
	kind() kind
	set(scalar)
}

// The kinds of leaves differ in what they take.
type (
	rawText       struct{ scalar } // shown to people
	rawAddress    struct{ scalar } // where we serve
	rawListen     struct{ scalar } // where a service listens
	rawShare      struct{ scalar }
	rawPath       struct{ scalar } // of a secret
	rawAbsolute   struct{ scalar } // any other path
	rawEnv        struct{ scalar }
	rawWorkers    struct{ scalar }
	rawURL        struct{ scalar } // where requests or people go
	rawPreset     struct{ scalar }
	rawNamespaces struct{ scalar }
	rawExpression struct{ scalar }
	rawDuration   struct{ scalar } // a hold
	rawStatus     struct{ scalar } // how often a balancer is asked
	rawSeverity   struct{ scalar }
	rawSent       struct{ scalar } // a severity that a channel gets
	rawBool       struct{ scalar }
	rawUnit       struct{ scalar }
	rawTarget     struct{ scalar } // a name that is looked up
	rawRemote     struct{ scalar } // a member's address
	rawPrefix     struct{ scalar } // of a region
	rawRanges     struct{ scalar } // the path of a file of ranges
	rawDays       struct{ scalar }
	rawFactor     struct{ scalar }
	rawQuantile   struct{ scalar }

	rawTemplateText struct{ scalar } // in Go's template language
)

func (rawText) kind() kind {
	return kind{"text", `"web03"`, &jsonschema.Schema{Type: "string", MaxLength: new(uint64(maxName))}}
}

func (rawAddress) kind() kind {
	s := text(`^(\[[0-9A-Fa-f:.]+\]|[0-9.]+|[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]):[0-9]+$`)
	s.Default = Default().Listen.String()
	return kind{"an address and a port", "127.0.0.1:9748", s}
}

func (rawListen) kind() kind {
	return kind{"an address and a port", `":80" or "192.0.2.1:80"`, text(`^(\[[0-9A-Fa-f:.]+\]|[0-9.]*):[0-9]+$`)}
}

func (rawTemplateText) kind() kind {
	return kind{"a template", `"{{.Title}}"`, &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(MaxTemplate))}}
}

func (rawShare) kind() kind {
	return kind{"a share of one core", "1% or 0.01", &jsonschema.Schema{
		AnyOf: []*jsonschema.Schema{
			text(plainNumber.String()),
			{Type: "number", Minimum: number(MinCPUBudget), Maximum: number(MaxCPUBudget)},
		},
		Default: percent(Default().Observe.CPUBudget),
	}}
}

func (rawPath) kind() kind { return kind{"a path", "/etc/foreshock/token", text("^/")} }

func (rawAbsolute) kind() kind {
	return kind{"an absolute path", "/run/haproxy/admin.sock", text("^/")}
}

func (rawEnv) kind() kind {
	s := text(identifier.String())
	s.MaxLength = new(uint64(maxName))
	return kind{"the name of an environment variable", "FORESHOCK_TOKEN", s}
}

func (rawWorkers) kind() kind {
	return kind{"auto, learn or a number of workers", "auto or 150", &jsonschema.Schema{
		AnyOf:   []*jsonschema.Schema{oneOf("auto", "learn"), {Type: "integer", Minimum: number(1), Maximum: number(MaxWorkers)}},
		Default: "auto",
	}}
}

func (rawURL) kind() kind {
	return kind{"a URL", "https://ops.example/hook", text("^https?://[^@ #]+$")}
}

func (rawPreset) kind() kind {
	return kind{"the name of a preset", "workers-article", oneOf(Presets()...)}
}

func (rawNamespaces) kind() kind {
	s := oneOf(namespaceNames[:]...)
	s.Default = Default().Observe.Namespaces.String()
	return kind{"which namespaces", "all or host", s}
}

func (rawExpression) kind() kind {
	return kind{"an expression", "service.queue_wait_seconds > 0.5", &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(MaxExpression))}}
}

func (rawDuration) kind() kind {
	s := text(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	s.Default = durationText(DefaultHold)
	return kind{"a duration", "10s or 2m30s", s}
}

func (rawStatus) kind() kind {
	return kind{"a duration or off", "10s or off", text(`^(off|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`)}
}

func (rawSeverity) kind() kind {
	return kind{"a severity", "watch, warning or critical", oneOf(Severities()...)}
}

func (rawSent) kind() kind {
	return kind{"a severity or none", "watch, warning, critical or none", oneOf(append(Severities(), NoSeverity)...)}
}

func (rawBool) kind() kind {
	return kind{"true or false", "true", &jsonschema.Schema{Type: "boolean"}}
}

func (rawUnit) kind() kind {
	s := text(unitName.String())
	s.MaxLength = new(uint64(maxUnit))
	return kind{"the name of a unit", "haproxy.service", s}
}

func (rawTarget) kind() kind {
	return kind{"a name with a port", `"shop.internal:8080"`, text(`^[0-9A-Za-z_.-]+:[0-9]+$`)}
}

func (rawRemote) kind() kind {
	return kind{"an address and a port", `"192.0.2.10:8080"`, text(`^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$`)}
}

func (rawPrefix) kind() kind {
	return kind{"a prefix", "192.0.2.0/24", text(`^[0-9A-Fa-f:.]+/[0-9]+$`)}
}

func (rawRanges) kind() kind {
	return kind{"a path", "ranges.json", &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(maxPath))}}
}

// text takes what a pattern matches.
func text(pattern string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern}
}

func oneOf(words ...string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, w := range words {
		s.Enum = append(s.Enum, w)
	}
	return s
}

// number writes a bound; the range is given in constants.
func number(f float64) json.Number { return json.Number(fmt.Sprint(f)) }

// fits reports whether a node of type t may be what the schema describes.
func fits(s *jsonschema.Schema, t ast.NodeType) bool {
	switch s.Type {
	case "string":
		return isText(t)
	case "boolean":
		return t == ast.BoolType
	case "integer":
		return t == ast.IntegerType
	case "number":
		return t == ast.IntegerType || t == ast.FloatType
	}
	return slices.ContainsFunc(s.AnyOf, func(s *jsonschema.Schema) bool { return fits(s, t) })
}

func isText(t ast.NodeType) bool { return t == ast.StringType || t == ast.LiteralType }
