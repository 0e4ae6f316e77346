package ranges

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// entry is one element of prefixes or ipv6_prefixes: AWS's or Google's.
type entry struct {
	AWS4    string `json:"ip_prefix"`
	AWS6    string `json:"ipv6_prefix"`
	Region  string `json:"region"`
	Google4 string `json:"ipv4Prefix"`
	Google6 string `json:"ipv6Prefix"`
	Scope   string `json:"scope"`
	Service string `json:"service"`
}

// tag is one element of Azure's values.
type tag struct {
	Name       string `json:"name"`
	Properties struct {
		Region   string   `json:"region"`
		Service  string   `json:"systemService"`
		Prefixes []string `json:"addressPrefixes"`
	} `json:"properties"`
}

// json reads a cloud's file, one element at a time, so that its memory is that
// of what is selected.
func (c *collector) json(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil { // the brace that is known to be there
		return notJSON(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return notJSON(err)
		}
		switch name, _ := key.(string); name {
		case "prefixes", "ipv6_prefixes":
			err = elements(d, name, c.entry)
		case "values":
			err = elements(d, name, c.tag)
		default:
			var skipped json.RawMessage
			err = d.Decode(&skipped)
		}
		if err != nil {
			return notJSON(err)
		}
	}
	if _, err := d.Token(); err != nil {
		return notJSON(err)
	}
	if c.format == NoFormat {
		return problem("name a file as AWS, Google Cloud or Azure publish them, or one prefix a line", "it is JSON without prefixes and without values")
	}
	return nil
}

// elements gives each element of the list that follows to take, with its place.
func elements[T any](d *json.Decoder, name string, take func(place string, element *T) error) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('[') {
		return fmt.Errorf("%s is no list", name)
	}
	for i := 0; d.More(); i++ {
		var element T
		if err := d.Decode(&element); err != nil {
			return fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		if err := take(fmt.Sprintf("%s[%d]", name, i), &element); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// is notes whose file it is.
func (c *collector) is(f Format) error {
	if c.format != NoFormat && c.format != f {
		return errors.New("it is a mixture of the files of " + c.format.String() + " and " + f.String())
	}
	c.format = f
	return nil
}

func (c *collector) entry(place string, e *entry) error {
	format, region := AWS, e.Region
	fields := [...]struct{ name, text string }{{"ip_prefix", e.AWS4}, {"ipv6_prefix", e.AWS6}}
	if e.AWS4 == "" && e.AWS6 == "" {
		format, region = Google, e.Scope
		fields[0], fields[1] = struct{ name, text string }{"ipv4Prefix", e.Google4}, struct{ name, text string }{"ipv6Prefix", e.Google6}
	}
	if err := c.is(format); err != nil {
		return err
	}
	if fields[0].text == "" && fields[1].text == "" {
		return fmt.Errorf("%s has no prefix", place)
	}
	if !c.meant(region, e.Service) {
		return nil
	}
	for _, f := range fields {
		if f.text == "" {
			continue
		}
		if err := c.add(place+"."+f.name, f.text); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) tag(place string, t *tag) error {
	if err := c.is(Azure); err != nil {
		return err
	}
	p := &t.Properties
	if !c.meant(p.Region, p.Service) {
		return nil
	}
	for i, text := range p.Prefixes {
		if err := c.add(fmt.Sprintf("%s.properties.addressPrefixes[%d]", place, i), text); err != nil {
			return err
		}
	}
	return nil
}

// notJSON words what the decoder found.
func notJSON(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	return problem("get it anew: it may have been cut short", "it is not the JSON that it begins as: %v", err)
}
