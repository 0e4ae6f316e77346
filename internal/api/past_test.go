package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// past is a history of one incident, 2, and of one that is broken, 4.
type past struct{ t *testing.T }

var errSlow = errors.New("the history does not answer in time")

// document is that incident, as an older program wrote it, which knew fewer
// fields, or a newer one, which knew more.
func (p *past) document() []byte {
	p.t.Helper()
	open := sample(now).Incidents[0]
	open.ID = 2
	raw, err := Document(&open, nil, time.Hour)
	if err != nil {
		p.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		p.t.Fatal(err)
	}
	delete(fields, "prefixes")
	fields["mood"] = "grim"
	if raw, err = json.Marshal(fields); err != nil {
		p.t.Fatal(err)
	}
	ended, err := Ended(raw, now.Add(2*time.Hour))
	if err != nil {
		p.t.Fatal(err)
	}
	return ended
}

func (p *past) PastIncidents(_ context.Context, q PastQuery) ([][]byte, int64, error) {
	switch {
	case q.State == "suspect":
		return nil, 0, errSlow
	case q.Before == 41:
		return nil, 0, nil
	}
	want := PastQuery{Since: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), Limit: 1}
	if diff := cmp.Diff(want, q); diff != "" {
		p.t.Errorf("asked for (-want +got):\n%s", diff)
	}
	return [][]byte{p.document()}, 41, nil
}

func (p *past) PastIncident(_ context.Context, id uint64) ([]byte, error) {
	switch id {
	case 2:
		return p.document(), nil
	case 4:
		return []byte("no JSON"), nil
	case 6:
		return nil, errSlow
	}
	return nil, nil
}

// TestEnded: an incident that ended with its agent says so, keeps all that it
// had, and what this program does not know.
func TestEnded(t *testing.T) {
	document := (&past{t}).document()
	var got struct {
		State      string
		End        string
		ResolvedAt time.Time `json:"resolved_at"`
		Mood       string
		Sentence   string
		Timeline   []Step
	}
	if err := json.Unmarshal(document, &got); err != nil {
		t.Fatal(err)
	}
	if got.State != "resolved" || got.End != "agent_stopped" || !got.ResolvedAt.Equal(now.Add(2*time.Hour)) || got.Mood != "grim" || got.Sentence == "" {
		t.Errorf("%+v", got)
	}
	if n := len(got.Timeline); n != 2 || !strings.Contains(got.Timeline[1].What, "not known") || !got.Timeline[0].At.Equal(now.Add(time.Hour)) {
		t.Errorf("timeline %+v", got.Timeline)
	}
	for _, broken := range []string{"", "[]", "null", "{\"timeline\":7}"} {
		if out, err := Ended([]byte(broken), now); err == nil || out != nil {
			t.Errorf("Ended(%q): %s, %v", broken, out, err)
		}
	}
}

// TestWithoutPast: an agent that keeps nothing says how to have it kept.
func TestWithoutPast(t *testing.T) {
	f := newFake(sample(now))
	s := &server{source: f}
	rec := httptest.NewRecorder()
	s.incidents(rec, httptest.NewRequest("GET", "/api/v1/incidents?limit=1", nil))
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "state_dir") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// FuzzEnded: no panic, nothing beside an error, and what comes out is JSON that
// is over.
func FuzzEnded(f *testing.F) {
	for _, s := range []string{`{}`, `{"id":1,"timeline":[{"at":"2026-03-02T10:00:00Z","what":"open"}]}`, `{"timeline":null}`, `[]`, ``, `{"timeline":{}}`, `{"a":1}{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Ended(data, now)
		if err != nil {
			if out != nil {
				t.Fatalf("%q beside the error %v", out, err)
			}
			return
		}
		var i struct{ State, End string }
		if err := json.Unmarshal(out, &i); err != nil || i.State != "resolved" || i.End != "agent_stopped" {
			t.Fatalf("%q gives %q: %v", data, out, err)
		}
	})
}
