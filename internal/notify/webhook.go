package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// The headers of a webhook's request.
const (
	signatureHeader   = "Foreshock-Signature"
	idempotencyHeader = "Idempotency-Key"
)

// webhook sends notices as they are.
type webhook struct {
	client *client
	key    []byte
}

func (w *webhook) send(ctx context.Context, now time.Time, n *Notice) error {
	body, err := n.JSON()
	if err != nil {
		return &Refusal{Words: err.Error(), ForGood: true}
	}
	header := http.Header{}
	header.Set(idempotencyHeader, n.Key)
	if len(w.key) > 0 {
		header.Set(signatureHeader, signature(w.key, now, body))
	}
	return w.client.post(ctx, now, header, body, nil)
}

func (w *webhook) close() { w.client.http.CloseIdleConnections() }

// signature is "t=SECONDS,v1=HEX": HMAC-SHA256 with key over the time of this
// attempt, a dot and the body. The time is signed too, so that a receiver can
// refuse what somebody recorded and sends again.
func signature(key []byte, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
