package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ErrNoRecording is what a Recorder answers where nothing was recorded.
var ErrNoRecording = errors.New("nothing was recorded then")

// Recorder is what was recorded lately.
type Recorder interface {
	// Recording writes the file of a recording to w: the segments with a step
	// between from and to, wall clock. The error is ErrNoRecording, and nothing
	// is written, where there are none.
	Recording(ctx context.Context, w io.Writer, from, to time.Time) error
}

// recordingDeadline is how long a recording may take to reach a client: 4 MB,
// or a day of a history.
const recordingDeadline = 5 * time.Minute

// recording sends a part of what was recorded. One that ends early has no index,
// and readers say so.
func (s *server) recording(w http.ResponseWriter, r *http.Request) {
	if s.recorder == nil {
		s.unknown(w, r)
		return
	}
	query := r.URL.Query()
	if !s.understands(w, query, "from", "to") {
		return
	}
	at := s.source.Status()
	from, to := time.Time{}, at.At.Add(at.ClockOffset).Add(time.Minute) // what is recorded since that snapshot too
	for key, into := range map[string]*time.Time{"from": &from, "to": &to} {
		text := query.Get(key)
		if text == "" {
			continue
		}
		var err error
		if *into, err = time.Parse(time.RFC3339, text); err != nil {
			s.problem(w, http.StatusBadRequest, fmt.Sprintf("%s %.50q is no time", key, text), "write it as 2026-11-21T03:00:00Z")
			return
		}
	}
	if to.Before(from) {
		s.problem(w, http.StatusBadRequest, "to is before from", "the earlier time is from")
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(recordingDeadline)) // where it cannot be set the server's own holds
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="foreshock.rec"`)
	sent := &counting{w: w}
	switch err := s.recorder.Recording(r.Context(), sent, from, to); {
	case err == nil:
	case sent.n > 0:
		s.log.Debug("api: a recording was not sent to its end", "error", err.Error())
		panic(http.ErrAbortHandler) // so that the client sees that there is more
	case errors.Is(err, ErrNoRecording):
		w.Header().Del("Content-Disposition")
		s.problem(w, http.StatusNotFound, ErrNoRecording.Error(), "the agent keeps the last minutes, or what its history has")
	default:
		w.Header().Del("Content-Disposition")
		s.problem(w, http.StatusServiceUnavailable, err.Error(), "ask again")
	}
}

// counting counts what is written.
type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
