package library

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxWords is how long an error's words may be, in characters.
const maxWords = 300

// anyURL is what looks like an address in a text.
var anyURL = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`)

// redact makes the library's words fit to be shown: one line, no address but
// its host, and nothing that is part of the service's own address, however it
// is written.
func redact(words, address string) string {
	words = anyURL.ReplaceAllStringFunc(words, func(text string) string {
		if u, err := url.Parse(text); err == nil && u.Host != "" && u.User == nil && !secretIn(u.Host, address) {
			return u.Scheme + "://" + u.Host + "/…"
		}
		return "(an address)"
	})
	for _, part := range secrets(address) {
		words = strings.ReplaceAll(words, part, "…")
	}
	words = oneLine(words)
	if utf8.RuneCountInString(words) > maxWords {
		words = string([]rune(words)[:maxWords]) + "…"
	}
	return words
}

// secretIn reports whether a host has part of the address that may be secret:
// some services have a token where others have their host.
func secretIn(host, address string) bool {
	return slices.ContainsFunc(secrets(address), func(part string) bool { return strings.Contains(host, part) })
}

// leastSecret is how long a part must be to be taken for a secret, in bytes:
// shorter ones are ports and words.
const leastSecret = 4

// secrets are all parts of an address that may be secret, the longest first: user,
// password, path, values of the query, each also as it is written in the
// address, and pieces between the signs that services join theirs with.
func secrets(address string) []string {
	var all []string
	add := func(text string) {
		all = append(all, text)
		all = append(all, strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("/-:,@&=", r) })...)
		if plain, err := url.PathUnescape(text); err == nil && plain != text {
			all = append(all, plain)
		}
	}
	for _, a := range []string{address, Canonical(address)} {
		u, err := url.Parse(a)
		if err != nil { // nothing is known of it: all of it is secret
			_, rest, _ := strings.Cut(a, "://")
			add(rest)
			continue
		}
		if password, is := u.User.Password(); is {
			add(password)
		}
		add(u.User.Username())
		add(u.EscapedPath())
		for _, values := range u.Query() {
			for _, v := range values {
				add(v)
			}
		}
		if !strings.Contains(u.Host, ".") { // a token where others have their host
			add(u.Host)
		}
	}
	all = slices.DeleteFunc(all, func(part string) bool { return len(part) < leastSecret || slices.Contains(harmless, part) })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// harmless are parts that say nothing, and that words of errors have.
var harmless = []string{"hook", "webhook", "localhost", "http", "https", "true", "false", "auto", "none", "services"}

// host is where an address leads, as far as that is no secret: its host where
// it has the form of one, else its service.
func host(address string) string {
	name, _ := Service(address)
	if u, err := url.Parse(Canonical(address)); err == nil && strings.Contains(u.Hostname(), ".") {
		return u.Hostname()
	}
	if name == "" {
		return "the service"
	}
	return name
}
