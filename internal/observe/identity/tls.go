package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/reply"
)

// handshake makes a TLS connection for a name, by HTTP/1.1 alone. A finding is
// why there is none; the caller closes conn either way.
func (p *Prober) handshake(ctx context.Context, conn net.Conn, name string) (net.Conn, *finding) {
	secure := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: p.Roots, NextProtos: []string{"http/1.1"}})
	err := secure.HandshakeContext(ctx)
	if err == nil {
		return secure, nil
	}
	f := &finding{stage: reply.TLS}
	f.wrong, f.words = tlsWords(err, name)
	return nil, f
}

// tlsWords says why there is no TLS connection for the name, and whether that is
// because something else answers.
func tlsWords(err error, name string) (wrong bool, words string) {
	var bad *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &bad) && len(bad.UnverifiedCertificates) > 0:
		return certificateWords(bad, name)
	case errors.As(err, &plain):
		return true, "what answers does not speak TLS"
	case broken(err) != "":
		return false, broken(err) + " in the TLS handshake"
	case errors.As(err, &remote) && remote.Op == "remote error": // crypto/tls: an alert of the server's
		alert := strings.TrimPrefix(remote.Err.Error(), "tls: ")
		// RFC 6066, section 3: the server knows no such name.
		return alert == "unrecognized name", "the server ended the TLS handshake for " + name + ": " + printable(alert)
	}
	return false, "no TLS for " + name + ": " + printable(strings.TrimPrefix(err.Error(), "tls: "))
}

// certificateWords says what is wrong with a certificate. The name goes first:
// one of another name is that of another application, trusted or not.
func certificateWords(bad *tls.CertificateVerificationError, name string) (wrong bool, words string) {
	leaf := bad.UnverifiedCertificates[0]
	if leaf.VerifyHostname(name) != nil {
		return true, fmt.Sprintf("the certificate is for %s, not for %s", certifiedNames(leaf), name)
	}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(bad.Err, &invalid) && invalid.Reason == x509.Expired:
		return false, fmt.Sprintf("the certificate is good from %s to %s, and that is not now", day(leaf.NotBefore), day(leaf.NotAfter))
	case errors.As(bad.Err, &unknown):
		return false, "this host does not trust who issued the certificate"
	}
	return false, "the certificate is not good: " + printable(strings.TrimPrefix(bad.Err.Error(), "x509: "))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// certifiedNames are whom a certificate is for, three at most: "a.example,
// b.example and 7 more".
func certifiedNames(c *x509.Certificate) string {
	const most = 3
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, printable(name))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "no name"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
