package notify

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSwitch asks a real server. No error has any of the address.
func TestSwitch(t *testing.T) {
	type request struct{ Method, Path, User, Password, Agent, Body string }
	var got request
	status, location := http.StatusOK, "https://elsewhere.example/"+secret
	address, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got = request{r.Method, r.URL.Path, user, password, r.Header.Get("User-Agent"), r.Header.Get("Content-Length")}
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
	s, err := NewSwitch(address, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct {
		status int
		want   string
	}{
		{200, ""},
		{204, ""},
		{302, host + " answered 302 to https://elsewhere.example/…: redirects are not followed, give that address itself"},
		{404, host + " answered 404 Not Found"},
		{500, host + " answered 500 Internal Server Error"},
	} {
		status = tt.status
		says := ""
		if err := s.Tell(t.Context(), epoch); err != nil {
			says = err.Error()
		}
		if says != tt.want {
			t.Errorf("%d: %q, want %q", tt.status, says, tt.want)
		}
	}
	if diff := cmp.Diff(request{"GET", "/" + secret, "user", secret, "foreshock", ""}, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	status, location = 302, "/"+secret+"%zz"
	if err := s.Tell(t.Context(), epoch); err == nil || err.Error() != host+": a redirect that cannot be read" {
		t.Errorf("a broken redirect: %v", err)
	}
	gone, err := NewSwitch("http://127.0.0.1:1/"+secret, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Tell(t.Context(), epoch); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("nobody there: %v", err)
	}
	for _, bad := range []string{"", secret, "ftp://" + secret, "https:///" + secret, "https://host/" + secret + "\x7f", "https://a\nhttps://" + secret} {
		if _, err := NewSwitch(bad, nil, nil); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNextBeat(t *testing.T) {
	refused := &Refusal{Words: "no", RetryAfter: 3 * time.Minute}
	for _, tt := range []struct {
		name        string
		took        int // seconds
		err         error
		failures    int
		least, most time.Duration // after the attempt began
	}{
		{"taken", 2, nil, 0, time.Minute, time.Minute},
		{"failed once", 0, context.DeadlineExceeded, 1, 500 * time.Millisecond, time.Second},
		{"failed often", 10, context.DeadlineExceeded, 9, 40 * time.Second, time.Minute},
		{"asked to wait", 0, refused, 1, 3 * time.Minute, 3 * time.Minute},
		{"took longer than it may", 90, errors.New("no"), 9, 91 * time.Second, 91 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			random := chance()
			for range 100 {
				got := NextBeat(epoch, at(tt.took), time.Minute, tt.err, tt.failures, random).Sub(epoch)
				if got < tt.least || got > tt.most {
					t.Fatalf("%s, want %s to %s", got, tt.least, tt.most)
				}
			}
		})
	}
}
