// Package certificatetest makes authorities and certificates for tests.
package certificatetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. Make one with New.
type Authority struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// New makes an authority.
func New(tb testing.TB, name string) *Authority {
	tb.Helper()
	key := newKey(tb)
	a := &Authority{tb: tb, key: key}
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.pem = a.sign(template, template, &key.PublicKey)
	block, _ := pem.Decode(a.pem)
	var err error
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		tb.Fatal(err)
	}
	return a
}

// Wish is what a certificate is to be; the zero value is a good one for 127.0.0.1,
// ::1 and localhost that servers and clients may use.
type Wish struct {
	Names []string // DNS names in place of localhost; then no addresses
	// From and Until are its time, beside now; zero: from an hour ago for a day.
	From, Until time.Duration
}

// Issue makes a certificate with a new key, both as PEM.
func (a *Authority) Issue(w Wish) (cert, key []byte) {
	a.tb.Helper()
	if w.Until == 0 {
		w.Until = 24 * time.Hour
	}
	if w.From == 0 {
		w.From = -time.Hour
	}
	template := &x509.Certificate{
		SerialNumber: serial(a.tb), Subject: pkix.Name{CommonName: "foreshock test"}, NotBefore: time.Now().Add(w.From), NotAfter: time.Now().Add(w.Until),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: w.Names,
	}
	if w.Names == nil {
		template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	k := newKey(a.tb)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.tb.Fatal(err)
	}
	return a.sign(template, a.cert, &k.PublicKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// PEM is its own certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Write issues a certificate into dir as NAME.pem, with NAME.key, over what is
// there, and returns their paths.
func (a *Authority) Write(dir, name string, w Wish) (cert, key string) {
	a.tb.Helper()
	certText, keyText := a.Issue(w)
	return Put(a.tb, dir, name+".pem", certText), Put(a.tb, dir, name+".key", keyText)
}

// Put writes a file that only its owner may read, and returns its path.
func Put(tb testing.TB, dir, name string, text []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func (a *Authority) sign(template, by *x509.Certificate, of *ecdsa.PublicKey) []byte {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, by, of, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
