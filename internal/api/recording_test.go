package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// broken is a recorder that fails in the middle.
type broken struct{}

func (broken) Recording(_ context.Context, w io.Writer, _, _ time.Time) error {
	_, _ = w.Write(make([]byte, 1<<20))
	return errors.New("the disk cannot be read")
}

// TestRecordingThatFailsInTheMiddle: who downloads sees that it is not whole.
func TestRecordingThatFailsInTheMiddle(t *testing.T) {
	f := newFake(sample(now))
	h, err := New(Config{Source: f, Actor: f, Recorder: broken{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	defer server.Close()
	resp, err := http.Get(server.URL + "/api/v1/recording")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("%d bytes and no error", n)
	}
}

func TestWithoutARecorder(t *testing.T) {
	f := newFake(sample(now))
	h, err := New(Config{Source: f, Actor: f, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/v1/recording", nil))
	if rec.Code != http.StatusNotFound {
		t.Errorf("%d", rec.Code)
	}
}
