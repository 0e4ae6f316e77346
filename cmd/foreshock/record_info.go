package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/foreshock/foreshock/internal/measure"
	"github.com/foreshock/foreshock/internal/recording"
	"github.com/foreshock/foreshock/internal/scope"
)

// recordingSummary is what record --info says, as its JSON.
type recordingSummary struct {
	File       string            `json:"file"`
	Host       string            `json:"host"`
	Foreshock  string            `json:"foreshock_version"`
	CreatedAt  time.Time         `json:"created_at"`
	Anonymised bool              `json:"anonymised"`
	Labels     map[string]string `json:"labels"`
	Bytes      int64             `json:"bytes"`
	// From and To are the first and the last look, on the wall clock; null in one
	// without a look.
	From  *time.Time `json:"from"`
	To    *time.Time `json:"to"`
	Steps int        `json:"steps"`
	// Looks counts them by tier; those are steps, but for the ends of
	// namespaces.
	Looks   map[string]int `json:"looks"`
	Tallies int            `json:"tallies"`
	// Sockets counts those of socket frames; zero without --sockets.
	Sockets int `json:"sockets"`
	// Scopes are all that were seen, sorted; at most 10,000.
	Scopes   []string           `json:"scopes"`
	Problems []recordingProblem `json:"problems"`

	kinds map[scope.Kind]int
}

type recordingProblem struct {
	Offset int64      `json:"offset_bytes"`
	Bytes  int64      `json:"bytes"`
	After  *time.Time `json:"after"`
	Before *time.Time `json:"before"`
	What   string     `json:"what"`

	text string
}

// maxListed is how many scopes a summary holds.
const maxListed = 10_000

// recordingInfo says what is in a recording; code 3 when some of it cannot be
// read.
func recordingInfo(path string, inJSON bool, out io.Writer) error {
	s, err := summarise(path)
	if err != nil {
		return err
	}
	if inJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(s)
	} else {
		err = s.table(out)
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if len(s.Problems) > 0 {
		return exit{exitUnwell}
	}
	return nil
}

func summarise(path string) (*recordingSummary, error) {
	r, err := recording.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h := r.Header()
	s := &recordingSummary{
		File: path, Host: h.Host, Foreshock: h.Foreshock, CreatedAt: h.Created, Anonymised: h.Anonymised, Labels: h.Labels, Bytes: r.Size(),
		Looks: map[string]int{}, kinds: map[scope.Kind]int{}, Problems: []recordingProblem{},
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	seen := map[scope.ID]bool{}
	for rec, err := r.NextRecord(); err == nil; rec, err = r.NextRecord() {
		if rec.Frame != nil {
			s.Sockets += len(rec.Frame.Sockets)
			continue
		}
		s.add(&rec.Step, seen)
	}
	s.Scopes = make([]string, 0, len(seen))
	for id := range seen {
		s.Scopes = append(s.Scopes, id.String())
		s.kinds[id.Kind]++
	}
	slices.Sort(s.Scopes)
	for _, p := range r.Problems() {
		s.Problems = append(s.Problems, recordingProblem{p.Offset, p.Bytes, optional(p.After), optional(p.Before), p.What, p.String()})
	}
	return s, nil
}

func (s *recordingSummary) add(step *measure.Step, seen map[scope.ID]bool) {
	at := step.At.Add(step.Offset)
	if s.From == nil {
		s.From = &at
	}
	s.To = &at
	s.Steps++
	if !step.Left {
		s.Looks[step.Tallies.Look.Request.Tier.String()]++
	}
	s.Tallies += len(step.Tallies.Scopes)
	for i := range step.Tallies.Scopes {
		if id := step.Tallies.Scopes[i].Scope; !seen[id] && len(seen) < maxListed {
			seen[id] = true
		}
	}
}

// optional is a time, or nil for none.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *recordingSummary) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	host := s.Host
	if s.Anonymised {
		host += ", anonymised"
	}
	row("host", "%s", host)
	row("recorded by", "foreshock %s, begun %s", s.Foreshock, s.CreatedAt.Format(time.RFC3339))
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		row("label", "%s=%s", k, s.Labels[k])
	}
	if s.From != nil {
		row("from", "%s", s.From.Format(time.RFC3339))
		row("to", "%s, %s later", s.To.Format(time.RFC3339), s.To.Sub(*s.From).Round(time.Second))
	}
	var looks, kinds []string
	for _, tier := range slices.Sorted(maps.Keys(s.Looks)) {
		looks = append(looks, fmt.Sprintf("%d %s", s.Looks[tier], tier))
	}
	for _, k := range slices.Sorted(maps.Keys(s.kinds)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", s.kinds[k], k))
	}
	row("looks", "%s", strings.Join(looks, ", "))
	row("scopes", "%s", strings.Join(kinds, ", "))
	row("tallies", "%d", s.Tallies)
	if s.Sockets > 0 {
		row("sockets", "%d", s.Sockets)
	}
	row("size", "%s", size(s.Bytes))
	for _, p := range s.Problems {
		row("problem", "%s", p.text)
	}
	return w.Flush()
}
