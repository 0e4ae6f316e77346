package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/certificate"
	"github.com/foreshock/foreshock/internal/config"
)

// Who may read and change: tokens, and the certificate that is served with.

const (
	// secretsEvery is how often the sources of tokens and of the certificate are
	// tried.
	secretsEvery = time.Minute
	// leastReadToken is how long the token for reading is at least, in bytes: the
	// network may try any number of them.
	leastReadToken = 16
)

// mayListen refuses an address of the options at which everybody could read; the
// configuration's own was refused with it.
func (o *Options) mayListen(cfg config.Config) error {
	if !o.Listen.IsValid() {
		return nil
	}
	if err := cfg.MayListen(o.Listen); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

// openCertificate reads what is served with; nil where that is plain HTTP.
func openCertificate(cfg config.Config) (*certificate.Store, error) {
	if cfg.TLS.IsZero() {
		return nil, nil
	}
	return certificate.Open(cfg.TLS)
}

// readTokens reads the tokens for changes and for reading; empty where there is
// none.
func readTokens(cfg config.Config) (change, read string, err error) {
	if !cfg.Token.IsZero() {
		if change, err = cfg.Token.Read(); err != nil {
			return "", "", fmt.Errorf("read the token: %w", err)
		}
	}
	if cfg.ReadToken.IsZero() {
		return change, "", nil
	}
	if read, err = cfg.ReadToken.Read(); err != nil {
		return "", "", fmt.Errorf("read_token: %w", err)
	}
	switch {
	case len(read) < leastReadToken:
		return "", "", fmt.Errorf("read_token: it is shorter than %d characters; make one with: openssl rand -hex 32", leastReadToken)
	case read == change:
		return "", "", errors.New("read_token: it is the same as token, so who may read may change; make another with: openssl rand -hex 32")
	}
	return change, read, nil
}

// secured puts TLS around a listener where the configuration has it, and returns
// the address under which the agent is to be called.
func (a *agent) secured(l net.Listener) (net.Listener, string) {
	address := l.Addr().String()
	at, err := netip.ParseAddrPort(address)
	guarded := !a.config.ReadToken.IsZero() || a.config.TLS.ClientCA != ""
	if err == nil && !at.Addr().Unmap().IsLoopback() && !guarded {
		a.log.Warn("whoever can connect may read page, API and metrics: behind_proxy says that only a proxy can", "listen", address)
	}
	if a.certificate == nil {
		return l, "http://" + address
	}
	return tls.NewListener(l, a.certificate.Server()), "https://" + address
}

// watchSecrets tries now and then whether the tokens that were read at the start
// could be read again, and takes over a certificate that was renewed.
func (a *agent) watchSecrets(ctx context.Context) error {
	for {
		a.tryTokens()
		a.tryCertificate(time.Now())
		if !sleep(ctx, secretsEvery) {
			return nil
		}
	}
}

func (a *agent) tryTokens() {
	var lost []string
	for _, s := range []config.Secret{a.startConfig.Token, a.startConfig.ReadToken} {
		if s.IsZero() {
			continue
		}
		if _, err := s.Read(); err != nil {
			lost = append(lost, err.Error())
		}
	}
	if lost == nil {
		a.tokenLost.Store(nil)
		return
	}
	words := strings.Join(lost, "; ")
	a.tokenLost.Store(&words)
}

// tryCertificate reads the certificate's files. What cannot be served with is
// logged once, and is trouble, as is a certificate that is about to expire.
func (a *agent) tryCertificate(now time.Time) {
	if a.certificate == nil {
		return
	}
	renewed, err := a.certificate.Renew(now)
	words := a.certificate.Fading(now)
	if err != nil {
		words = err.Error()
	}
	if renewed {
		a.log.Info("another certificate is served with", "cert", a.startConfig.TLS.Cert, "expires", a.certificate.Expires().UTC().Format(time.RFC3339))
	}
	if words == "" {
		a.certificateBad.Store(nil)
		return
	}
	if before := a.certificateBad.Swap(&words); before == nil || *before != words {
		a.log.Warn("the certificate that is served with", "problem", words)
	}
}
