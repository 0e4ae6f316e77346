// Package web serves the agent's first page: what fails, how full each service
// is, and what cannot be seen.
//
// The page is drawn twice from the same picture, that of the event stream.
// The server draws it once, for the first sight and for browsers without a
// script (words.go, page.html); words.js and page.js draw it from then on. Both
// hold no logic of their own beyond words.
//
//	mux.Handle("GET /{$}", web.New(agent))
package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/foreshock/foreshock/internal/api"
)

//go:embed page.html page.css page.js words.js
var files embed.FS

// page is the template; it is parsed once, and a fault in it is ours.
var page = template.Must(template.ParseFS(files, "page.html"))

// Source gives the snapshots to show.
type Source interface {
	Snapshot() *api.Snapshot
}

// New returns the handler of / and of the page's files. It is safe for
// concurrent use.
func New(source Source) http.Handler { return at(source, time.Now) }

func at(source Source, now func() time.Time) http.Handler {
	mux := http.NewServeMux()
	for _, file := range []string{"page.css", "page.js", "words.js"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, file) })
	}
	// Notices link to /incidents/ID: the row of that incident, while it is open.
	mux.HandleFunc("GET /incidents/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/#incident-%d", id), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		s := source.Snapshot()
		var age time.Duration
		if s.Sequence > 0 { // before the first there is nothing to be old
			age = s.Age(now())
		}
		var b bytes.Buffer
		err := draw(&b, api.PictureOf(s), age)
		if err != nil {
			http.Error(w, fmt.Sprintf("the page could not be drawn: %v; /api/v1/scopes has the same in JSON", err), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // the reader has gone: nobody is left to tell
	})
	return mux
}

// draw writes the page of a picture that is age old.
func draw(w io.Writer, p api.Picture, age time.Duration) error {
	// The script goes on from the picture's time and age: the age of what it is
	// sent first is nothing it could know.
	return page.Execute(w, struct {
		view
		At  string
		Age float64 // seconds
	}{viewOf(p, age), p.Status.At.Format(time.RFC3339Nano), age.Seconds()})
}
