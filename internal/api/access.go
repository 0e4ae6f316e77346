package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"
)

// secret is a token of which only the hash is kept; given is false where there
// is none.
type secret struct {
	hash  [sha256.Size]byte
	given bool
}

func newSecret(token string) secret { return secret{sha256.Sum256([]byte(token)), token != ""} }

// is reports whether that is the token, in a time that says nothing of it.
func (s secret) is(token string) bool {
	hash := sha256.Sum256([]byte(token))
	return s.given && subtle.ConstantTimeCompare(hash[:], s.hash[:]) == 1
}

// access is who may read and who may change; but for what it remembers of
// refusals it never changes.
type access struct {
	change, read secret
	// certificates: a client certificate that TLS has verified lets read. Without
	// a read token nothing else does, not even the token of changes.
	certificates bool
	// reads and changes are logged apart: somebody who floods one hides nothing of
	// the other.
	reads, changes refusals
}

// open are what health checks ask, which present nothing. They say whether the
// agent works and nothing of the host.
var open = []string{"/healthz", "/readyz"}

// bearer is the token of an Authorization header: RFC 6750, section 2.1.
func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") // RFC 9110, 11.1: in any case
}

// reader reports whether a request may read, and else why not.
func (a *access) reader(r *http.Request) (ok bool, why string) {
	if !a.read.given && !a.certificates {
		return true, ""
	}
	if a.certificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true, ""
	}
	if !a.read.given {
		return false, "no client certificate"
	}
	token, given := bearer(r)
	if !given { // a browser: it asks for a name and a password
		_, token, given = r.BasicAuth()
	}
	switch {
	case !given:
		return false, "no token"
	case a.read.is(token), a.change.is(token):
		return true, ""
	}
	return false, "wrong token"
}

// mayRead reports whether a request may read, and answers it when it may not.
func (s *server) mayRead(w http.ResponseWriter, r *http.Request) bool {
	ok, why := s.access.reader(r)
	if ok {
		return true
	}
	if more, due := s.access.reads.due(time.Now()); due {
		s.log.Warn("api: a call was refused: it may not read", "why", why, "remote", r.RemoteAddr, "path", r.URL.Path, "since_last_line", more)
	}
	switch {
	case !s.access.read.given:
		s.problem(w, http.StatusForbidden, "this agent answers to client certificates only", "connect with a certificate of an authority in its tls.client_ca; foreshock takes --client-cert and --client-key")
	default:
		h := w.Header()
		h.Add("WWW-Authenticate", `Bearer realm="foreshock"`)
		h.Add("WWW-Authenticate", `Basic realm="foreshock: any name, and the read token", charset="UTF-8"`) // RFC 7617
		hint := "send the header Authorization: Bearer TOKEN with its read_token, in a browser any user name with it as the password; foreshock takes --read-token-file"
		if s.access.certificates {
			hint += "; or connect with a client certificate"
		}
		s.problem(w, http.StatusUnauthorized, "the token for reading is missing or wrong", hint)
	}
	return false
}

// may reports whether a changing call carries the token, and answers it when
// it does not.
func (s *server) may(w http.ResponseWriter, r *http.Request) bool {
	if !s.access.change.given {
		s.problem(w, http.StatusForbidden, "this agent has no token, so nothing can be changed over its API", "set token: {file: …} in its configuration and restart it")
		return false
	}
	token, given := bearer(r)
	if given && s.access.change.is(token) {
		return true
	}
	if more, due := s.access.changes.due(time.Now()); due {
		s.log.Warn("api: a changing call with a missing or wrong token was refused", "remote", r.RemoteAddr, "path", r.URL.Path, "since_last_line", more)
	}
	if given && s.access.read.is(token) {
		s.problem(w, http.StatusForbidden, "that is the token for reading, which changes nothing", "send the one of token: in its configuration")
		return false
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="foreshock"`)
	s.problem(w, http.StatusUnauthorized, "the bearer token is missing or wrong", "send the header Authorization: Bearer TOKEN")
	return false
}

// refusals keeps the log from being flooded: the first is said at once, then one
// line a minute at most.
type refusals struct {
	mu     sync.Mutex
	next   time.Time
	unsaid int
}

const refusalsEvery = time.Minute

// due reports whether a refusal is to be logged now, and how many were not since
// the last that was.
func (x *refusals) due(now time.Time) (unsaid int, due bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Before(x.next) {
		x.unsaid++
		return 0, false
	}
	unsaid, x.unsaid, x.next = x.unsaid, 0, now.Add(refusalsEvery)
	return unsaid, true
}
