package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	return w.client.post(ctx, now, header, body, answer{denies: denies})
}

// denies reports whether the body of a 2xx answer says that the notice was not
// taken: a JSON object with "ok": false, with "status": "error", or with an
// "error" or "errors" that holds something. Many services answer so.
func denies(body []byte) bool {
	var said struct {
		OK     any `json:"ok"`
		Status any `json:"status"`
		Error  any `json:"error"`
		Errors any `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil {
		return false
	}
	return said.OK == false || said.Status == "error" || holds(said.Error) || holds(said.Errors)
}

// holds reports whether a JSON value is more than nothing.
func holds(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
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
