package library

import (
	"strings"
	"unicode/utf8"
)

// limit is how much a service takes, in bytes. What is longer it refuses, or the
// library does: nobody would hear of it, and what follows would wait.
type limit struct{ title, text int }

// limits are below what the services and the library say, with room for what
// both add: signs that are escaped, a title that becomes part of the text.
//
// lark, telegram, wecom, zulip: the library's own (4096 and 10,000 bytes, 60
// characters of a topic). opsgenie: 130 characters of a message, 15,000 of a
// description (https://docs.opsgenie.com/docs/alert-api). pushover: 250 and 1024
// characters (https://pushover.net/api#limits). rocketchat: 5000 as it is installed.
// googlechat: 4096 characters once, 32,000 bytes today. slack: 40,000 characters
// (https://api.slack.com/methods/chat.postMessage#truncating). teams: 28 kB. smtp: a
// subject that is no longer than a line may be, encoded.
var limits = map[string]limit{
	"googlechat": {200, 4000},
	"lark":       {200, 3800},
	"mattermost": {200, 16000},
	"opsgenie":   {130, 14000},
	"pushover":   {250, 1000},
	"rocketchat": {200, 4700},
	"slack":      {3000, 36000},
	"smtp":       {240, 0},
	"teams":      {200, 20000},
	"telegram":   {200, 3700},
	"wecom":      {200, 3800},
	"zulip":      {60, 9700},
}

// cutHere ends a text of which a service takes no more.
const cutHere = "\n… too long for this service: the rest is on the page of the host"

// fit cuts what a service would refuse.
func fit(service, title, text string) (string, string) {
	l := limits[service]
	if l.title > 0 && len(title) > l.title {
		title = upTo(title, l.title-len("…")) + "…"
	}
	if l.text > 0 && len(text) > l.text {
		text = upTo(text, l.text-len(cutHere)) + cutHere
	}
	return title, text
}

// upTo is the beginning of a text, of whole characters, that has n bytes at most.
func upTo(text string, n int) string {
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// mailLine is how long a line of a mail may be, in bytes: 998 without its end
// (RFC 5322, 2.1.1).
const mailLine = 998

// wrap breaks lines that a mail must not have, at a space where there is one.
func wrap(text string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		for len(line) > mailLine {
			end := len(upTo(line, mailLine))
			if space := strings.LastIndexByte(line[:end], ' '); space > mailLine/2 {
				end = space
			}
			out = append(out, line[:end])
			line = strings.TrimPrefix(line[end:], " ")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
