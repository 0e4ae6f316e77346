package config

import (
	"errors"
	"net/netip"
	"strings"
)

// TLS is what page, API and metrics are served with. The zero value is plain
// HTTP.
type TLS struct {
	// Cert and Key are absolute paths of PEM files: the certificate with those
	// between it and its root, and its private key.
	Cert, Key string
	// ClientCA is the absolute path of a PEM file with the authorities whose
	// client certificates let read; empty: none are asked for.
	ClientCA string
}

// IsZero reports whether there is no TLS.
func (t TLS) IsZero() bool { return t == TLS{} }

type rawTLS struct {
	section
	Cert     rawAbsolute `yaml:"cert" jsonschema:"required" jsonschema_description:"Absolute path of the certificate, PEM, with those between it and its root. Read again within a minute when it changes."`
	Key      rawPath     `yaml:"key" jsonschema:"required" jsonschema_description:"Absolute path of its private key, PEM, in a file that not everybody may read."`
	ClientCA rawAbsolute `yaml:"client_ca" jsonschema_description:"Absolute path of the authorities, PEM, whose client certificates let read. Default: none are asked for."`
}

// checkTLS checks where the files are; whoever serves with them reads them.
func checkTLS(p *problems, raw rawTLS) TLS {
	if !raw.there() || raw.Spoiled {
		return TLS{}
	}
	var out TLS
	for _, x := range []struct {
		key, example string
		raw          scalar
		to           *string
		secret       bool // never quoted: people paste the key itself
		optional     bool
	}{
		{"tls.cert", "/etc/foreshock/tls/cert.pem", raw.Cert.scalar, &out.Cert, false, false},
		{"tls.key", "/etc/foreshock/tls/key.pem", raw.Key.scalar, &out.Key, true, false},
		{"tls.client_ca", "/etc/foreshock/tls/clients.pem", raw.ClientCA.scalar, &out.ClientCA, false, true},
	} {
		text := x.raw.Text
		switch {
		case x.raw.Good && strings.HasPrefix(text, "/") && len(text) < 4096 && printable(text): // PATH_MAX, include/uapi/linux/limits.h
			*x.to = text
		case x.raw.Good && x.secret:
			p.add(x.raw.At, x.key, "", x.key+" is not an absolute path", "write the path of the file that has it: "+x.example)
		case x.raw.Good:
			p.add(x.raw.At, x.key, text, x.key+" "+quote(text)+" is not an absolute path", "write it as "+x.example)
		case !x.raw.Given && !x.optional:
			p.add(raw.At, x.key, "", "tls has no "+strings.TrimPrefix(x.key, "tls."), "add "+strings.TrimPrefix(x.key, "tls.")+": "+x.example)
		}
	}
	return out
}

// checkAccess refuses to listen where everybody may read, or listen in.
func checkAccess(p *problems, raw rawFile, c Config) {
	if raw.TLS.there() && c.TLS.Cert == "" {
		c.TLS.Cert = "?" // reported already
	}
	if raw.TLS.ClientCA.Given || raw.TLS.Spoiled {
		c.TLS.ClientCA = "?"
	}
	if raw.ReadToken.tried {
		c.ReadToken = Secret{File: "?"}
	}
	if raw.BehindProxy.Given && !raw.BehindProxy.Good {
		return
	}
	if problem, hint := c.exposed(c.Listen); raw.Listen.Good && problem != "" {
		p.add(raw.Listen.At, "listen", raw.Listen.Text, "listen "+quote(raw.Listen.Text)+" "+problem, hint)
	}
}

// MayListen says what is wrong with listening at an address: beyond loopback it
// takes TLS, and a way to tell who may read, or a proxy that has both.
func (c Config) MayListen(at netip.AddrPort) error {
	if problem, hint := c.exposed(at); problem != "" {
		return errors.New("listen " + quote(at.String()) + " " + problem + "; " + hint)
	}
	return nil
}

func (c Config) exposed(at netip.AddrPort) (problem, hint string) {
	const proxy = "listen on 127.0.0.1, or set behind_proxy: true where only a proxy can connect that does both"
	switch {
	case !at.IsValid() || at.Addr().Unmap().IsLoopback() || c.BehindProxy:
		return "", ""
	case c.TLS.IsZero():
		return "is beyond loopback without TLS", "set tls: {cert: …, key: …} and read_token or tls.client_ca; or " + proxy
	case c.TLS.ClientCA == "" && c.ReadToken.IsZero():
		return "is beyond loopback and lets everybody read", "set read_token: {file: /etc/foreshock/read-token} or tls.client_ca; or " + proxy
	}
	return "", ""
}

func effectiveAccess(line writeLine, c Config) {
	switch t := c.TLS; {
	case t.IsZero():
		line("# tls: none, so page, API and metrics are plain HTTP")
	case t.ClientCA == "":
		line("tls: {cert: %s, key: %s}", yamlQuoted(t.Cert), yamlQuoted(t.Key))
	default:
		line("tls: {cert: %s, key: %s, client_ca: %s}", yamlQuoted(t.Cert), yamlQuoted(t.Key), yamlQuoted(t.ClientCA))
	}
	switch {
	case !c.ReadToken.IsZero():
		line("read_token: %s", c.ReadToken)
	case c.TLS.ClientCA != "":
		line("# read_token: none, so it takes a client certificate to read")
	default:
		line("# read_token: none, so whoever can connect may read")
	}
	line("behind_proxy: %t", c.BehindProxy)
}
