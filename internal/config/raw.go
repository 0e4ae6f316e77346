package config

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// The raw types are the file as written: every key once, with its description
// for editors. Only decode, check and Schema see them. A leaf keeps its text
// and its place, so that check can quote both.

type rawFile struct {
	Name      rawText       `yaml:"name" jsonschema_description:"What notices, metrics and reports call this host. Default: the host's own name."`
	Labels    rawLabels     `yaml:"labels" jsonschema_description:"Labels added to every notice, and to the metric foreshock_host_info. Default: none."`
	Listen    rawAddress    `yaml:"listen" jsonschema_description:"Address and port of the API, the page and /metrics. The host is an IP address or localhost."`
	Token     rawSecret     `yaml:"token" jsonschema_description:"Where the token is that calls which change something must present. Default: none, and such calls are refused."`
	Observe   rawObserve    `yaml:"observe" jsonschema_description:"How hard to look."`
	Services  []rawService  `yaml:"services" jsonschema_description:"What this host serves, listed to name or tune it. Default: found from the listening sockets."`
	Backends  []rawBackends `yaml:"backends" jsonschema_description:"Pools that processes of this host talk to, listed to name or tune them. Default: those of known load balancers."`
	PublicURL rawURL        `yaml:"public_url" jsonschema_description:"Where people reach the page, for links in notices. Default: none, and notices have no link."`
	Presets   []rawPreset   `yaml:"presets" jsonschema_description:"Embedded files of rules to switch on. Default: none."`
	Rules     []rawRule     `yaml:"rules" jsonschema_description:"Rules in your own words, beside the causes. Default: none."`
	Notify    []rawChannel  `yaml:"notify" jsonschema_description:"Where notices of incidents go. Default: nowhere but the log's own lines."`
}

type rawRule struct {
	At       position      `yaml:"-"`
	Name     rawText       `yaml:"name" jsonschema:"required" jsonschema_description:"The rule's name, unique in the file."`
	When     rawExpression `yaml:"when" jsonschema:"required" jsonschema_description:"An expression over signals that is true or false."`
	Hold     rawDuration   `yaml:"hold" jsonschema_description:"For how long it must be true, from 0s to 1h."`
	Severity rawSeverity   `yaml:"severity" jsonschema_description:"How bad that is. Default: warning."`
	Advice   rawText       `yaml:"advice" jsonschema_description:"What to do then, for who gets the notice. Default: none."`
}

type rawChannel struct {
	At           position        `yaml:"-"`
	Name         rawText         `yaml:"name" jsonschema:"required" jsonschema_description:"The channel's name, unique in the file."`
	Severities   []rawSeverity   `yaml:"severities" jsonschema_description:"Which incidents it gets. Default: warning and critical."`
	Log          rawBool         `yaml:"log" jsonschema_description:"Write notices to our own log."`
	Webhook      rawWebhook      `yaml:"webhook" jsonschema_description:"Post signed JSON to a URL."`
	Alertmanager rawAlertmanager `yaml:"alertmanager" jsonschema_description:"Send alerts to Alertmanager, API v2."`
}

type rawWebhook struct {
	At     position  `yaml:"-"`
	URL    rawURL    `yaml:"url" jsonschema:"required" jsonschema_description:"Where to post, http or https."`
	Secret rawSecret `yaml:"secret" jsonschema_description:"Where the key of the signature is. Default: none, and requests are not signed."`
}

type rawAlertmanager struct {
	At   position `yaml:"-"`
	URLs []rawURL `yaml:"urls" jsonschema:"required" jsonschema_description:"The base address of each member of the cluster; every one is told."`
}

type rawSecret struct {
	At   position `yaml:"-"`
	File rawPath  `yaml:"file" jsonschema_description:"Absolute path of a file that holds the secret and that not everybody may read. One newline at its end is left out."`
	Env  rawEnv   `yaml:"env" jsonschema_description:"Name of an environment variable that holds the secret."`
}

type rawObserve struct {
	CPUBudget  rawShare      `yaml:"cpu_budget" jsonschema_description:"What all looks together may cost, as a share of one core, from 0.1% to 50%."`
	Namespaces rawNamespaces `yaml:"namespaces" jsonschema_description:"Which network namespaces are read: all of this host's, with those of its containers, or the host's own only."`
}

type rawService struct {
	At          position    `yaml:"-"`
	Name        rawText     `yaml:"name" jsonschema:"required" jsonschema_description:"The service's name, unique in the file."`
	Listen      []rawListen `yaml:"listen" jsonschema:"required" jsonschema_description:"Where it listens: \":80\" on every address, \"192.0.2.1:80\", \"[::1]:80\"."`
	WorkersFrom rawWorkers  `yaml:"workers_from" jsonschema_description:"Where the limit of its workers comes from: auto, learn, or a number."`
}

// rawLabels keeps the order of the file, for stable messages.
type rawLabels []rawLabel

type rawLabel struct {
	At    position
	Key   string
	Value rawText
}

// scalar is a leaf as written.
type scalar struct {
	At   position
	Text string
	// Exact is true when Text is as the file has it, from Lead characters
	// behind At on, so that places in Text are places in the file.
	Exact bool
	Lead  int
	// Given is true when the key is there, Good when its type is right too.
	Given, Good bool
}

// The kinds of leaves differ in what they take.
type (
	rawText    scalar
	rawAddress scalar
	rawListen  scalar
	rawShare   scalar
	rawPath    scalar
	rawEnv     scalar

	rawWorkers    scalar
	rawURL        scalar
	rawPreset     scalar
	rawNamespaces scalar
	rawExpression scalar
	rawDuration   scalar
	rawSeverity   scalar
	rawBool       scalar
)

// leaf is what every kind of leaf can say of itself.
type leaf interface {
	// takes says what is expected, in words, with an example to copy.
	takes() (what, example string)
	// fits says whether a node of type t may be it.
	fits(t ast.NodeType) bool
}

func (rawText) takes() (what, example string)    { return "text", `"web03"` }
func (rawAddress) takes() (what, example string) { return "an address and a port", "127.0.0.1:9748" }
func (rawListen) takes() (what, example string) {
	return "an address and a port", `":80" or "192.0.2.1:80"`
}
func (rawShare) takes() (what, example string) { return "a share of one core", "1% or 0.01" }
func (rawPath) takes() (what, example string)  { return "a path", "/etc/foreshock/token" }
func (rawEnv) takes() (what, example string) {
	return "the name of an environment variable", "FORESHOCK_TOKEN"
}

func (rawWorkers) takes() (what, example string) {
	return "auto, learn or a number of workers", "auto or 150"
}
func (rawURL) takes() (what, example string)        { return "a URL", "https://ops.example/hook" }
func (rawPreset) takes() (what, example string)     { return "the name of a preset", "workers-article" }
func (rawNamespaces) takes() (what, example string) { return "which namespaces", "all or host" }
func (rawExpression) takes() (what, example string) {
	return "an expression", "service.queue_wait_seconds > 0.5"
}
func (rawDuration) takes() (what, example string) { return "a duration", "10s or 2m30s" }
func (rawSeverity) takes() (what, example string) { return "a severity", "watch, warning or critical" }
func (rawBool) takes() (what, example string)     { return "true or false", "true" }

func isText(t ast.NodeType) bool { return t == ast.StringType || t == ast.LiteralType }

func (rawText) fits(t ast.NodeType) bool    { return isText(t) }
func (rawAddress) fits(t ast.NodeType) bool { return isText(t) }
func (rawListen) fits(t ast.NodeType) bool  { return isText(t) }
func (rawShare) fits(t ast.NodeType) bool {
	return isText(t) || t == ast.IntegerType || t == ast.FloatType
}
func (rawPath) fits(t ast.NodeType) bool { return isText(t) }
func (rawEnv) fits(t ast.NodeType) bool  { return isText(t) }

func (rawWorkers) fits(t ast.NodeType) bool    { return isText(t) || t == ast.IntegerType }
func (rawURL) fits(t ast.NodeType) bool        { return isText(t) }
func (rawPreset) fits(t ast.NodeType) bool     { return isText(t) }
func (rawNamespaces) fits(t ast.NodeType) bool { return isText(t) }
func (rawExpression) fits(t ast.NodeType) bool { return isText(t) }
func (rawDuration) fits(t ast.NodeType) bool   { return isText(t) }
func (rawSeverity) fits(t ast.NodeType) bool   { return isText(t) }
func (rawBool) fits(t ast.NodeType) bool       { return t == ast.BoolType }

// field is one key of a raw struct.
type field struct {
	key   string
	index int
}

// fields returns the keys of a raw struct in the order of its declaration.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" {
			out = append(out, field{key, i})
		}
	}
	return out
}

// join appends key to a path: "observe" and "cpu_budget" to
// "observe.cpu_budget".
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// keyPaths returns every key below t, lists marked: "services[].listen".
func keyPaths(t reflect.Type, path string) []string {
	var out []string
	for _, f := range fields(t) {
		p := join(path, f.key)
		out = append(out, p)
		switch ft := t.Field(f.index).Type; {
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			out = append(out, keyPaths(ft.Elem(), p+"[]")...)
		case ft.Kind() == reflect.Struct:
			out = append(out, keyPaths(ft, p)...)
		}
	}
	return out
}

// laterKeys returns the paths of the keys that the design names and that come
// with later versions, so that nobody takes them for a spelling mistake.
func laterKeys() []string {
	return []string{
		"actuate", "baseline", "drain", "fleet", "history",
		"regions", "respond", "state_dir", "tls",
		"observe.events",
		"notify[].url",
	}
}

// split parts a key path into what it is in and its last key.
func split(path string) (in, key string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
