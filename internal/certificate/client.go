package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Caller is what a command calls agents with; every field may be empty.
type Caller struct {
	// CA is the path of a PEM file with the only authorities that are trusted;
	// empty: the system's are.
	CA string
	// Cert and Key are the paths of a client certificate and its key: both or none.
	Cert, Key string
	// Own is the path of the certificate that this host's own agent serves with.
	// It is called at an address that the certificate need not name, so what it
	// presents must be of the certificate's name, and of an authority that is
	// trusted or that stands in this file; or be the very one there.
	Own string
}

// Client reads the files and returns how agents are called.
func (c Caller) Client() (*tls.Config, error) {
	out := &tls.Config{MinVersion: oldest}
	if c.CA != "" {
		authorities, _, err := readAuthorities(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read the authorities of --ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		trust(out.RootCAs, authorities)
	}
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return nil, errors.New("--client-cert and --client-key belong together: name both")
	case c.Cert != "":
		pair, _, err := readPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("read --client-cert and --client-key: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	if c.Own == "" {
		return out, nil
	}
	chain, _, err := readAuthorities(c.Own)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of this host's agent: %w", err)
	}
	if out.RootCAs == nil {
		if out.RootCAs, err = x509.SystemCertPool(); err != nil {
			out.RootCAs = x509.NewCertPool() // what is in the file will do
		}
	}
	trust(out.RootCAs, chain)
	switch leaf := chain[0]; {
	case len(leaf.DNSNames) > 0:
		out.ServerName = strings.Replace(leaf.DNSNames[0], "*", "agent", 1) // any name that a wildcard covers
	case len(leaf.IPAddresses) > 0:
		out.ServerName = leaf.IPAddresses[0].String()
	}
	return out, nil
}

func trust(pool *x509.CertPool, these []*x509.Certificate) {
	for _, c := range these {
		pool.AddCert(c)
	}
}
