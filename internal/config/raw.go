package config

import (
	"reflect"
	"strings"
)

// The raw types are the file as written: every key once, with its description
// for editors. Only decode, check and Schema see them. A leaf keeps its text
// and its place, so that check can quote both. A list or a mapping has an
// example of itself, for messages; "empty" says that it may stand there with
// nothing in it, as when all of it is commented out.

type rawFile struct {
	Name   rawText    `yaml:"name" jsonschema_description:"What notices, metrics and reports call this host. Default: the host's own name."`
	Labels rawLabels  `yaml:"labels" jsonschema_description:"Labels added to every notice, and to the metric foreshock_host_info. Default: none."`
	Listen rawAddress `yaml:"listen" jsonschema_description:"Address and port of the API, the page and /metrics. The host is an IP address or localhost."`
	Token  rawSecret  `yaml:"token" jsonschema_description:"Where the token is that calls which change something must present. Default: none, and such calls are refused."`

	TLS         rawTLS    `yaml:"tls" example:"{cert: /etc/foreshock/tls/cert.pem, key: /etc/foreshock/tls/key.pem}" jsonschema_description:"What page, API and metrics are served with. Default: plain HTTP, which beyond loopback is refused."`
	ReadToken   rawSecret `yaml:"read_token" jsonschema_description:"Where the token is that reading takes, as a bearer token or as the password of any user; 16 characters at least. Default: whoever can connect may read, which beyond loopback is refused unless tls.client_ca is set."`
	BehindProxy rawBool   `yaml:"behind_proxy" jsonschema_description:"Listen beyond loopback without tls, read_token or tls.client_ca: only a proxy can connect, and it adds TLS and says who may read."`

	Observe   rawObserve    `yaml:"observe" empty:"yes" example:"{cpu_budget: 1%}" jsonschema_description:"How hard to look."`
	Services  []rawService  `yaml:"services" empty:"yes" example:"- {name: web, listen: [\":80\"]}" jsonschema_description:"What this host serves, listed to name or tune it. Default: found from the listening sockets."`
	Backends  []rawBackends `yaml:"backends" empty:"yes" example:"- {name: shop, process: {unit: haproxy.service}}" jsonschema_description:"Pools that processes of this host talk to, listed to name or tune them. Default: those of known load balancers."`
	Regions   []rawRegion   `yaml:"regions" empty:"yes" example:"- {name: east, cidrs: [192.0.2.0/24]}" jsonschema_description:"Remote prefixes that fail together: sites, regions of a cloud. Default: none."`
	Baseline  rawBaseline   `yaml:"baseline" empty:"yes" example:"{learn: 28d}" jsonschema_description:"How what is usual at each hour of the week is learned."`
	StateDir  rawStateDir   `yaml:"state_dir" jsonschema_description:"Where the agent keeps its history: an absolute path, or none to keep nothing. Default: the service manager's, else /var/lib/foreshock, else ~/.local/state/foreshock."`
	History   rawHistory    `yaml:"history" empty:"yes" example:"{raw: 24h, minutes: 28d, max_size: 1GiB}" jsonschema_description:"How much is kept of what was seen."`
	PublicURL rawURL        `yaml:"public_url" jsonschema_description:"Where people reach the page, for links in notices. Default: none, and notices have no link."`
	Presets   []rawPreset   `yaml:"presets" empty:"yes" example:"[workers-article]" jsonschema_description:"Embedded files of rules to switch on. Default: none."`
	Rules     []rawRule     `yaml:"rules" empty:"yes" example:"- {name: web-waits, when: service.queue_wait_seconds > 0.5}" jsonschema_description:"Rules in your own words, beside the causes. Default: none."`
	Heartbeat rawHeartbeat  `yaml:"heartbeat" empty:"yes" example:"{url: {file: /etc/foreshock/heartbeat.url}}" jsonschema_description:"Tell a dead man's switch elsewhere that the agent is alive. Default: nobody is told."`
	Notify    []rawChannel  `yaml:"notify" empty:"yes" example:"- {name: ops, webhook: {url: https://ops.example/hook}}" jsonschema_description:"Where notices of incidents go. Default: nowhere but the log's own lines."`

	Maintenance []rawMaintenance `yaml:"maintenance" empty:"yes" example:"- {name: backups, weekdays: [sat], from: \"02:00\", to: \"04:00\", zone: UTC, match: {everything: true}}" jsonschema_description:"Times of each week in which nobody is told of some incidents. Default: none."`
	Respond     rawRespond       `yaml:"respond" empty:"yes" jsonschema_description:"What is done about incidents, step by step, by pattern or cause. Default: nothing."`

	Drain       []rawDrain  `yaml:"drain" empty:"yes" example:"- {name: shop.example, old: [192.0.2.10], new: [198.51.100.7]}" jsonschema_description:"Names whose addresses change: who is still on the old ones is followed. Default: none."`
	ASNDatabase rawDatabase `yaml:"asn_database" jsonschema_description:"Path of a database of networks (.mmdb, with autonomous_system_number), which says whose the clients of old addresses are; relative to the directory of this file. Default: none."`
}

type rawRule struct {
	section
	Name     rawText       `yaml:"name" jsonschema:"required" jsonschema_description:"The rule's name, unique in the file."`
	When     rawExpression `yaml:"when" jsonschema:"required" jsonschema_description:"An expression over signals that is true or false."`
	Hold     rawDuration   `yaml:"hold" jsonschema_description:"For how long it must be true, from 0s to 1h."`
	Severity rawSeverity   `yaml:"severity" jsonschema_description:"How bad that is. Default: warning."`
	Advice   rawText       `yaml:"advice" jsonschema_description:"What to do then, for who gets the notice. Default: none."`
}

type rawChannel struct {
	section
	Name         rawText         `yaml:"name" jsonschema:"required" jsonschema_description:"The channel's name, unique in the file."`
	Severities   []rawSent       `yaml:"severities" example:"[warning, critical]" jsonschema_description:"Which incidents it gets; none for a channel that only a response names. Default: warning and critical."`
	Only         []rawMatcher    `yaml:"only" example:"[{scope: \"service/*\"}]" jsonschema_description:"Which incidents it gets: those that match one of these. Default: all."`
	Group        rawGroup        `yaml:"group" empty:"yes" example:"{wait: 2s, interval: 1m}" jsonschema_description:"How incidents are gathered into one notice; both 0s: not at all. Default: 2s and 1m; not for log, and Alertmanager groups itself."`
	Recovery     rawPause        `yaml:"recovery" jsonschema_description:"For how long something must have recovered before that is told, from 0s to 1h. Default: 30s; 0s for log and alertmanager."`
	Cooldown     rawPause        `yaml:"cooldown" jsonschema_description:"For how long after its end something that opens again is told only when it is worse, from 0s, which damps no flapping either, to 24h. Default: 5m; 0s for log and alertmanager."`
	Remind       rawRemind       `yaml:"remind" jsonschema_description:"How often what is open and not acknowledged is told again, from 10m to 168h, or off. Default: off."`
	GiveUp       rawKeep         `yaml:"give_up" jsonschema_description:"For how long a notice is tried while the receiver is out of order, from 1m to 7d. Default: 24h."`
	MaxPerHour   rawRate         `yaml:"max_per_hour" jsonschema_description:"How many notices are delivered within an hour, from 1 to 10000; what is more waits. Default: 60 with a url, else any number."`
	Log          rawBool         `yaml:"log" jsonschema_description:"Write notices to our own log."`
	Webhook      rawWebhook      `yaml:"webhook" example:"{url: https://ops.example/hook}" jsonschema_description:"Post signed JSON to a URL."`
	URL          rawSecret       `yaml:"url" jsonschema_description:"Where the address of a service of the notification library is, as slack://, smtp:// or pagerduty://: it holds a secret."`
	Template     rawTemplate     `yaml:"template" example:"{title: \"{{.Title}}\"}" jsonschema_description:"What a service is sent, in Go's template language. Default: our own words."`
	Alertmanager rawAlertmanager `yaml:"alertmanager" example:"{urls: [\"http://127.0.0.1:9093\"]}" jsonschema_description:"Send alerts to Alertmanager, API v2."`
}

type rawTemplate struct {
	section
	Title rawTemplateText `yaml:"title" jsonschema_description:"One line: a subject or a heading. Default: our own."`
	Body  rawTemplateText `yaml:"body" jsonschema_description:"The rest. Default: our own."`
}

type rawWebhook struct {
	section
	URL    rawURL    `yaml:"url" jsonschema:"required" jsonschema_description:"Where to post, http or https."`
	Secret rawSecret `yaml:"secret" jsonschema_description:"Where the key of the signature is. Default: none, and requests are not signed."`
}

type rawAlertmanager struct {
	section
	URLs []rawURL `yaml:"urls" example:"[\"http://127.0.0.1:9093\"]" jsonschema:"required" jsonschema_description:"The base address of each member of the cluster; every one is told."`
}

type rawSecret struct {
	File rawPath `yaml:"file" jsonschema_description:"Absolute path of a file that holds the secret and that not everybody may read. One newline at its end is left out."`
	// tried: it is there, good or not.
	tried bool
	Env   rawEnv `yaml:"env" jsonschema_description:"Name of an environment variable that holds the secret."`
}

type rawObserve struct {
	section
	CPUBudget  rawShare      `yaml:"cpu_budget" jsonschema_description:"What all looks together may cost, as a share of one core, from 0.1% to 50%."`
	Namespaces rawNamespaces `yaml:"namespaces" jsonschema_description:"Which network namespaces are read: all of this host's, with those of its containers, or the host's own only."`
}

type rawBaseline struct {
	section
	Learn    rawDays     `yaml:"learn" jsonschema_description:"How far back, in whole days from 1d to 56d."`
	Factor   rawFactor   `yaml:"factor" jsonschema_description:"How much more than usual it takes to be wrong, from 1 to 10."`
	Quantile rawQuantile `yaml:"quantile" jsonschema_description:"Which share of all values is usual, from 0.5 to 0.999."`
}

type rawService struct {
	section
	Name        rawText     `yaml:"name" jsonschema:"required" jsonschema_description:"The service's name, unique in the file."`
	Listen      []rawListen `yaml:"listen" example:"[\":80\"]" jsonschema:"required" jsonschema_description:"Where it listens: \":80\" on every address, \"192.0.2.1:80\", \"[::1]:80\"."`
	WorkersFrom rawWorkers  `yaml:"workers_from" jsonschema_description:"Where the limit of its workers comes from: auto, learn, or a number."`
}

// rawLabels keeps the order of the file, for stable messages.
type rawLabels []rawLabel

// spoil does nothing: no label is required.
func (*rawLabels) spoil() {}

type rawLabel struct {
	At    position
	Key   string
	Value rawText
}

// section is the place of a mapping, or of an element of a list.
type section struct {
	At position `yaml:"-"`
	// Spoiled: what is there is no good and was reported, so that nothing is
	// said to be missing in it.
	Spoiled bool `yaml:"-"`
}

func (s *section) begin(at position) { s.At = at }
func (s *section) spoil()            { s.Spoiled = true }
func (s *section) there() bool       { return s.Spoiled || s.At != position{} }

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

func (s *scalar) set(read scalar) { *s = read }
func (s *scalar) spoil()          { s.Given = true }

// field is one key of a raw struct.
type field struct {
	key     string
	index   int
	example string // of a list or a mapping
	empty   bool   // it may have no value
}

// fields returns the keys of a raw struct in the order of its declaration.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		if tag := t.Field(i).Tag; tag.Get("yaml") != "" {
			out = append(out, field{tag.Get("yaml"), i, tag.Get("example"), tag.Get("empty") != ""})
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
		case ft == reflect.TypeFor[rawRespond](): // whatever the key
			out = append(out, keyPaths(reflect.TypeFor[rawStep](), p+".*[]")...)
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
		"actuate", "fleet",
		"observe.events",
	}
}

// split parts a key path into what it is in and its last key.
func split(path string) (in, key string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
