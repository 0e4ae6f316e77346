package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

const (
	heartbeatEvery = 5 * time.Second
	pictureEvery   = time.Second
	// eventDeadline is how long one event may take to reach a client; a slower
	// one is let go, and comes back by itself.
	eventDeadline = 10 * time.Second
)

// events streams server-sent events: at once, and then at most once a second,
// `snapshot` with the whole picture; `incident` as soon as one changes;
// `heartbeat` every five seconds, so that a client can tell silence from
// calm. Each carries the snapshot's number as its id. A client that misses some
// has missed nothing: the next picture is whole.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		s.problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d clients follow the events already", maxStreams), "close one, or ask /api/v1/status now and then")
		return
	}
	defer s.streams.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx in between would hold events back
	if r.Method == http.MethodHead {
		return
	}
	stream := stream{w: w, control: http.NewResponseController(w)}
	// The server's deadline for reading a request would end the stream.
	stream.err = stream.control.SetReadDeadline(time.Time{})
	seen := map[uint64]lifeOf{}
	last := time.Time{}
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	for {
		changed := s.source.Changed() // before the snapshot, so that none is missed
		v := s.view()
		first := last.IsZero()
		now := make(map[uint64]lifeOf, len(v.s.Incidents)) // anew, or it would grow for as long as the client stays
		for i := range v.s.Incidents {
			inc := &v.s.Incidents[i]
			now[inc.ID] = life(inc)
			if seen[inc.ID] != now[inc.ID] && !first {
				stream.send("incident", v.s.Sequence, v.incident(inc))
			}
		}
		seen = now
		if first || v.s.At.Sub(last) >= pictureEvery {
			stream.send("snapshot", v.s.Sequence, s.pictures.encode(v))
			last = v.s.At
		}
		if stream.err != nil {
			return // the client has gone, or is too slow
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-heartbeat.C:
			stream.send("heartbeat", v.s.Sequence, struct {
				At time.Time `json:"at"`
			}{v.time(v.s.At)})
		}
	}
}

// lifeOf is what makes an incident event when it changes. The numbers in its
// words change with every look; they come with the next picture.
type lifeOf struct {
	state        judge.State
	severity     judge.Severity
	certainty    judge.Certainty
	blind        bool
	acknowledged string
}

func life(i *judge.Incident) lifeOf {
	return lifeOf{i.State, i.Finding.Severity, i.Finding.Certainty, !i.BlindSince.IsZero(), i.AcknowledgedBy}
}

// pictures encodes each snapshot's picture once, however many clients follow:
// with 200 services one encoding takes half of the agent's whole budget for a
// second.
type pictures struct {
	mu  sync.Mutex
	of  *Snapshot
	raw json.RawMessage
}

func (p *pictures) encode(v viewer) json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of != v.s {
		raw, err := json.Marshal(v.picture())
		if err != nil {
			return json.RawMessage("null") // views hold nothing that JSON cannot say
		}
		p.of, p.raw = v.s, raw
	}
	return p.raw
}

// stream writes events until the first error.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *stream) send(event string, id uint64, data any) {
	if s.err != nil {
		return
	}
	raw, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	// The server's own deadline is for answers, not for streams.
	if s.err = s.control.SetWriteDeadline(time.Now().Add(eventDeadline)); s.err != nil {
		return
	}
	if _, s.err = fmt.Fprintf(s.w, "id: %d\nevent: %s\ndata: %s\n\n", id, event, raw); s.err == nil {
		s.err = s.control.Flush()
	}
}
