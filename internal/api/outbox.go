package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Outbox knows the notices that were given up.
type Outbox interface {
	// Undelivered returns a page of the notices to a channel that were given up,
	// the newest first: those before what the last page said, or the first ones
	// where that is zero. next is what to ask for then; 0 when there is none.
	Undelivered(ctx context.Context, channel string, before int64, limit int) (letters []DeadLetter, next int64, err error)
	// Retry has notices tried again: those of the keys, or without any the oldest
	// ones there is room for. The error is an ErrNoChannel or an ErrNotUndelivered.
	Retry(ctx context.Context, channel string, keys []string, by string) (queued int, err error)
}

// What an Outbox answers.
var (
	ErrNoChannel      = errors.New("no channel has this name")
	ErrNotUndelivered = errors.New("not among the undelivered notices of this channel")
)

// mostKeys is how many notices are named in one call.
const mostKeys = 1000

// DeadLetter is a notice that was given up.
type DeadLetter struct {
	Key  string `json:"key"`
	Kind string `json:"kind"` // the channel's, then
	// QueuedAt is when it was accepted, or tried again; the notice itself says
	// when it was decided.
	QueuedAt time.Time `json:"queued_at"`
	EndedAt  time.Time `json:"ended_at"`
	// Attempts are those since the agent's last start.
	Attempts int    `json:"attempts"`
	Error    string `json:"error"`
	// Notice is as the webhook gets it; null where it had to make room, or cannot
	// be read.
	Notice json.RawMessage `json:"notice"`
}

// DeadLetters is the answer of /api/v1/channels/{channel}/undelivered.
type DeadLetters struct {
	At          time.Time    `json:"at"`
	Channel     string       `json:"channel"`
	Undelivered []DeadLetter `json:"undelivered"`
	// NextBefore is the before of the next page; absent where this is the last.
	NextBefore int64 `json:"next_before,omitempty"`
}

// Retry is the body of a retry call.
type Retry struct {
	By string `json:"by"`
	// Keys name notices; none is all, up to 1,000 in one call.
	Keys []string `json:"keys,omitempty"`
}

// Retried is its answer.
type Retried struct {
	Queued int `json:"queued"`
}

func (s *server) undelivered(w http.ResponseWriter, r *http.Request) {
	if !s.understands(w, r.URL.Query(), "before", "limit") {
		return
	}
	q, err := pastQuery(r.URL.Query(), PastQuery{})
	if err != nil {
		s.problem(w, http.StatusBadRequest, err.Error(), "GET /api/v1/openapi.yaml says what is understood")
		return
	}
	if s.outbox == nil {
		s.noPast(w, ErrNoHistory)
		return
	}
	name := r.PathValue("channel")
	letters, next, err := s.outbox.Undelivered(r.Context(), name, q.Before, q.Limit)
	if err != nil {
		s.noPast(w, err)
		return
	}
	if len(letters) == 0 && q.Before == 0 && !s.hasChannel(name) { // one that is gone has its dead letters still
		s.noChannel(w, name)
		return
	}
	for i := range letters {
		l := &letters[i]
		l.QueuedAt, l.EndedAt = l.QueuedAt.UTC(), l.EndedAt.UTC()
		if !json.Valid(l.Notice) {
			l.Notice = nil
		}
	}
	v := s.report()
	s.json(w, http.StatusOK, DeadLetters{At: v.time(v.s.At), Channel: name, Undelivered: listed(letters), NextBefore: next})
}

func (s *server) hasChannel(name string) bool {
	for _, c := range s.report().channels() {
		if c.Name == name {
			return true
		}
	}
	return false
}

func (s *server) noChannel(w http.ResponseWriter, name string) {
	s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no channel %.200q", name), "GET /api/v1/channels lists them")
}

func (s *server) retry(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r) {
		return
	}
	var in Retry
	if !s.body(w, r, maxBody, &in) {
		return
	}
	name := r.PathValue("channel")
	in.By = strings.TrimSpace(in.By)
	if !printable(in.By) || len(in.Keys) > mostKeys {
		s.problem(w, http.StatusBadRequest, fmt.Sprintf("by is a name of 1 to %d printable characters, and there are at most %d keys", maxName, mostKeys), `send {"by": "your name"}`)
		return
	}
	if s.outbox == nil {
		s.noPast(w, ErrNoHistory)
		return
	}
	queued, err := s.outbox.Retry(r.Context(), name, in.Keys, in.By)
	switch {
	case errors.Is(err, ErrNoChannel):
		s.noChannel(w, name)
	case errors.Is(err, ErrNotUndelivered):
		s.problem(w, http.StatusNotFound, err.Error(), fmt.Sprintf("GET /api/v1/channels/%s/undelivered lists them", name))
	case err != nil:
		s.noPast(w, err)
	default:
		s.log.Info("api: undelivered notices are tried again", "channel", name, "notices", queued, "by", in.By, "remote", r.RemoteAddr)
		s.json(w, http.StatusOK, Retried{queued})
	}
}
