package config

import (
	_ "embed" // the reference file
	"encoding/json"
	"fmt"

	"github.com/invopop/jsonschema"
)

//go:embed reference.yaml
var reference string

// Reference returns a file with every key, commented out, with its default and
// its unit. As it is, Parse reads it as the defaults.
func Reference() string { return reference }

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It
// is closed: a key it does not name is refused. Parse checks more than a
// schema can say, such as duplicates.
func Schema() ([]byte, error) {
	r := jsonschema.Reflector{
		Anonymous:                  true, // no address of ours serves it
		DoNotReference:             true,
		RequiredFromJSONSchemaTags: true,
		FieldNameTag:               "yaml",
	}
	s := r.Reflect(&rawFile{})
	s.Title = "Foreshock's configuration"
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the JSON Schema: %w", err)
	}
	return append(out, '\n'), nil
}

// JSONSchema describes text that is shown to people.
func (rawText) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", MaxLength: new(uint64(maxName))}
}

// JSONSchema describes the address to serve on.
func (rawAddress) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^(\[[0-9A-Fa-f:.]+\]|[0-9.]+|[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]):[0-9]+$`, Default: Default().Listen.String()}
}

// JSONSchema describes where a service listens.
func (rawListen) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^(\[[0-9A-Fa-f:.]+\]|[0-9.]*):[0-9]+$`}
}

// JSONSchema describes a share, as text with % or as a number.
func (rawShare) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: plainNumber.String()},
			{Type: "number", Minimum: number(MinCPUBudget), Maximum: number(MaxCPUBudget)},
		},
		Default: percent(Default().Observe.CPUBudget),
	}
}

// number writes a bound; the range is given in constants.
func number(f float64) json.Number { return json.Number(fmt.Sprint(f)) }

// JSONSchema describes an absolute path.
func (rawPath) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: "^/"}
}

// JSONSchema describes the name of an environment variable.
func (rawEnv) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: identifier.String(), MaxLength: new(uint64(maxName))}
}

// JSONSchema describes the labels.
func (rawLabels) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type:                 "object",
		PropertyNames:        &jsonschema.Schema{Pattern: identifier.String(), MaxLength: new(uint64(maxName))},
		AdditionalProperties: rawText{}.JSONSchema(), // any name, but only text
	}
}

// JSONSchemaExtend says that a secret is in one place.
func (rawSecret) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = []*jsonschema.Schema{{Required: []string{"file"}}, {Required: []string{"env"}}}
}

// JSONSchemaExtend asks for at least one listener.
func (rawService) JSONSchemaExtend(s *jsonschema.Schema) {
	if listen, ok := s.Properties.Get("listen"); ok {
		listen.MinItems = new(uint64(1))
	}
}

// JSONSchema describes where a limit comes from.
func (rawWorkers) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		AnyOf: []*jsonschema.Schema{
			{Type: "string", Enum: []any{"auto", "learn"}},
			{Type: "integer", Minimum: number(1), Maximum: number(MaxWorkers)},
		},
		Default: "auto",
	}
}

// JSONSchema describes an address that requests or people go to.
func (rawURL) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: "^https?://[^@ #]+$"}
}

// JSONSchema describes which namespaces are read.
func (rawNamespaces) JSONSchema() *jsonschema.Schema {
	s := oneOf(namespaceNames[:])
	s.Default = Default().Observe.Namespaces.String()
	return s
}

// JSONSchema describes the name of a preset.
func (rawPreset) JSONSchema() *jsonschema.Schema { return oneOf(Presets()) }

// JSONSchema describes an expression.
func (rawExpression) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(MaxExpression))}
}

// JSONSchema describes a hold.
func (rawDuration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`, Default: durationText(DefaultHold)}
}

// JSONSchema describes a severity.
func (rawSeverity) JSONSchema() *jsonschema.Schema { return oneOf(Severities()) }

// JSONSchema describes a switch.
func (rawBool) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "boolean"} }

func oneOf(words []string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, w := range words {
		s.Enum = append(s.Enum, w)
	}
	return s
}

// JSONSchema describes an absolute path.
func (rawAbsolute) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: "^/"}
}

// JSONSchema describes a unit.
func (rawUnit) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: unitName.String(), MaxLength: new(uint64(maxUnit))}
}

// JSONSchema describes a name with a port.
func (rawTarget) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^[0-9A-Za-z_.-]+:[0-9]+$`}
}

// JSONSchema describes an address with a port.
func (rawRemote) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: remotePattern}
}

const remotePattern = `^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$`

// JSONSchema describes how often a balancer is asked.
func (rawStatus) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^(off|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`}
}

// JSONSchemaExtend asks for at least one way to choose.
func (rawProcess) JSONSchemaExtend(s *jsonschema.Schema) { s.MinProperties = new(uint64(1)) }

// JSONSchemaExtend says that members come from one place.
func (rawDiscover) JSONSchemaExtend(s *jsonschema.Schema) {
	s.MinProperties, s.MaxProperties = new(uint64(1)), new(uint64(1))
}

// JSONSchemaExtend says that Traefik is asked in one way.
func (rawTraefik) JSONSchemaExtend(s *jsonschema.Schema) {
	s.MinProperties, s.MaxProperties = new(uint64(1)), new(uint64(1))
}

// JSONSchemaExtend says that a member may be its address alone. What the
// schema says of keys holds for a mapping only.
func (rawMember) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Type, s.AnyOf = "", []*jsonschema.Schema{{Type: "string", Pattern: remotePattern}, {Type: "object"}}
}

// JSONSchemaExtend says that a channel goes to one place.
func (rawChannel) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = []*jsonschema.Schema{{Required: []string{"log"}}, {Required: []string{"webhook"}}, {Required: []string{"alertmanager"}}}
}
