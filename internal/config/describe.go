package config

import (
	_ "embed" // the reference file
	"encoding/json"
	"fmt"
	"reflect"

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
	s := reflector().Reflect(&rawFile{})
	s.Title = "Foreshock's configuration"
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the JSON Schema: %w", err)
	}
	return append(out, '\n'), nil
}

func reflector() *jsonschema.Reflector {
	return &jsonschema.Reflector{
		Anonymous:                  true, // no address of ours serves it
		DoNotReference:             true,
		RequiredFromJSONSchemaTags: true,
		FieldNameTag:               "yaml",
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if l, ok := reflect.TypeAssert[leaf](reflect.New(t)); ok {
				return l.kind().schema
			}
			return nil
		},
	}
}

// JSONSchema describes the labels.
func (rawLabels) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type:                 "object",
		PropertyNames:        &jsonschema.Schema{Pattern: identifier.String(), MaxLength: new(uint64(maxName))},
		AdditionalProperties: rawText{}.kind().schema, // any name, but only text
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
	s.Type, s.AnyOf = "", []*jsonschema.Schema{rawRemote{}.kind().schema, {Type: "object"}}
}

// JSONSchemaExtend asks for prefixes, or a file with some.
func (rawRegion) JSONSchemaExtend(s *jsonschema.Schema) {
	s.AnyOf = []*jsonschema.Schema{{Required: []string{"cidrs"}}, {Required: []string{"file"}}}
	if cidrs, ok := s.Properties.Get("cidrs"); ok {
		cidrs.MinItems = new(uint64(1))
	}
}

// JSONSchemaExtend says that both sides of a switch are given, or neither.
func (rawDrain) JSONSchemaExtend(s *jsonschema.Schema) {
	s.DependentRequired = map[string][]string{"old": {"new"}, "new": {"old"}}
}

// JSONSchemaExtend says that a channel goes to one place.
func (rawChannel) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = []*jsonschema.Schema{{Required: []string{"log"}}, {Required: []string{"webhook"}}, {Required: []string{"alertmanager"}}}
}
