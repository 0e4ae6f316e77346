// Package certificate reads the files that TLS takes: those that the agent
// serves with, again and again, and those that a command calls it with.
//
//	store, err := certificate.Open(cfg.TLS)
//	listener = tls.NewListener(listener, store.Server())
//	…
//	renewed, err := store.Renew(time.Now()) // on error the last good one holds
package certificate

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshock/foreshock/internal/config"
)

// oldest is the oldest version of TLS that is spoken: RFC 8996 retires those
// before it.
const oldest = tls.VersionTLS12

// maxFile is the largest file that is read, in bytes. A list of all public
// authorities has a quarter of a megabyte.
const maxFile = 1 << 20

// Store has what the agent serves with. Any goroutine may use it.
type Store struct {
	files  config.TLS
	served atomic.Pointer[served]
	mu     sync.Mutex // Renew's
}

// served is what files had at one time; it never changes.
type served struct {
	sum    [sha256.Size]byte // of the files
	config *tls.Config
	leaf   *x509.Certificate
}

// Open reads the files. A certificate that has expired is served all the same:
// [Store.Fading] says so, and an agent that does not start watches nothing.
func Open(files config.TLS) (*Store, error) {
	s := &Store{files: files}
	now, err := read(files)
	if err != nil {
		return nil, err
	}
	s.served.Store(now)
	return s, nil
}

// Renew reads the files again and reports whether they have changed. What cannot
// be served with leaves what there was, and so does a certificate that is out of
// its time at now.
func (s *Store) Renew(now time.Time) (renewed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := read(s.files)
	if err != nil {
		return false, err
	}
	if next.sum == s.served.Load().sum {
		return false, nil
	}
	switch {
	case now.After(next.leaf.NotAfter):
		return false, fmt.Errorf("%s: the certificate there expired at %s; put one there that is good", s.files.Cert, stamp(next.leaf.NotAfter))
	case now.Before(next.leaf.NotBefore):
		return false, fmt.Errorf("%s: the certificate there is good from %s on only; see whether this host's clock is right", s.files.Cert, stamp(next.leaf.NotBefore))
	}
	s.served.Store(next)
	return true, nil
}

// Server is how connections are taken: each with the files as they were last
// read.
func (s *Store) Server() *tls.Config {
	return &tls.Config{
		MinVersion:         oldest,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.served.Load().config, nil },
	}
}

// Vouches reports whether the certificate is of a host.
func (s *Store) Vouches(host string) bool { return s.served.Load().leaf.VerifyHostname(host) == nil }

// Expires is when the certificate that is served with does.
func (s *Store) Expires() time.Time { return s.served.Load().leaf.NotAfter }

// Fading says that the certificate has expired, or that less than a tenth of its
// time is left, in which whatever renews it should long have done so: ACME's
// clients do with a third left. Empty: neither.
func (s *Store) Fading(now time.Time) string {
	leaf := s.served.Load().leaf
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("%s expired at %s", s.files.Cert, stamp(leaf.NotAfter))
	case left < leaf.NotAfter.Sub(leaf.NotBefore)/10:
		return fmt.Sprintf("%s expires at %s", s.files.Cert, stamp(leaf.NotAfter))
	}
	return ""
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func read(files config.TLS) (*served, error) {
	pair, sum, err := readPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion: oldest, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"},
		// A resumed session would keep what its client certificate was worth once.
		SessionTicketsDisabled: true,
	}
	if files.ClientCA != "" {
		authorities, text, err := readAuthorities(files.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("read tls.client_ca: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		for _, a := range authorities {
			c.ClientCAs.AddCert(a)
		}
		// Health checks have none; the API refuses everything else without.
		c.ClientAuth = tls.VerifyClientCertIfGiven
		sum = sha256.Sum256(append(sum[:], text...))
	}
	return &served{sum, c, pair.Leaf}, nil
}

// readPair reads a certificate and its key, and the sum of both. No error repeats
// any of the key.
func readPair(cert, key string) (pair tls.Certificate, sum [sha256.Size]byte, err error) {
	certText, err := readFile(cert)
	if err != nil {
		return pair, sum, fmt.Errorf("read the certificate: %w", err)
	}
	keyText, err := config.Secret{File: key}.Read()
	if err != nil {
		return pair, sum, fmt.Errorf("the key of the certificate: %w", err)
	}
	if pair, err = tls.X509KeyPair(certText, []byte(keyText)); err != nil {
		return pair, sum, fmt.Errorf("the certificate %s and the key %s: %w; both are PEM, and of one pair", cert, key, err)
	}
	certSum, keySum := sha256.Sum256(certText), sha256.Sum256([]byte(keyText))
	return pair, sha256.Sum256(append(certSum[:], keySum[:]...)), nil
}

func readFile(path string) ([]byte, error) {
	text, err := config.ReadPlain(path, maxFile)
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes; is it the right file?", path, maxFile)
	}
	return text, err
}

// readAuthorities reads the certificates of a file, one at least.
func readAuthorities(path string) (out []*x509.Certificate, text []byte, err error) {
	if text, err = readFile(path); err != nil {
		return nil, nil, err
	}
	if out, err = parse(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, text, nil
}

// parse reads certificates in PEM, one at least; other blocks are passed over.
func parse(text []byte) (out []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d there: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if out == nil {
		return nil, errors.New("no certificate is there; it takes them in PEM, which begins with -----BEGIN CERTIFICATE-----")
	}
	return out, nil
}
