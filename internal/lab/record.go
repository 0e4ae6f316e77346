package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// MaxLoad is the longest load.
const MaxLoad = 24 * time.Hour

// Outcome is how a request ended for the client.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // a status of 200 to 299
	Status  Outcome = "status"  // another status
	Timeout Outcome = "timeout" // no answer in time
	Refused Outcome = "refused" // the connection was refused
	Reset   Outcome = "reset"   // reset, or closed without an answer
	Skipped Outcome = "skipped" // not sent: too many requests were in flight
	Other   Outcome = "other"   // see Error
)

// Record is one request in the client's log, a line of JSON.
type Record struct {
	// Start is when the client began to connect, on the wall clock.
	Start time.Time `json:"start"`
	// Mono is the same instant on CLOCK_MONOTONIC, in nanoseconds. All
	// processes of a machine share that clock.
	Mono int64 `json:"mono_ns"`
	// ConnectMS is the time until the connection stood, in milliseconds;
	// zero when it was kept from an earlier request or never stood.
	ConnectMS float64 `json:"connect_ms"`
	// TotalMS is the time until the answer was read or the request failed.
	TotalMS float64 `json:"total_ms"`
	Outcome Outcome `json:"outcome"`
	Status  int     `json:"status,omitempty"` // of the answer
	Reused  bool    `json:"reused,omitempty"` // the connection was kept from an earlier request
	Error   string  `json:"error,omitempty"`
}

// Total is the time until the answer was read or the request failed.
func (r Record) Total() time.Duration { return time.Duration(r.TotalMS * float64(time.Millisecond)) }

// End is when the request ended, on the wall clock.
func (r Record) End() time.Time { return r.Start.Add(r.Total()) }

// ReadRecords reads a client's log in the order requests ended. A last line
// without an end, of a client that was killed, is left out.
func ReadRecords(in io.Reader) ([]Record, error) {
	var records []Record
	lines := bufio.NewReader(in)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read client's log: %w", err)
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("client's log, line %d %.80q: %w", n, line, err)
		}
		if !(r.TotalMS >= 0 && r.TotalMS <= longestMS && r.ConnectMS >= 0 && r.ConnectMS <= longestMS) {
			return nil, fmt.Errorf("client's log, line %d %.80q: a time is not within 0 to %v ms", n, line, longestMS)
		}
		records = append(records, r)
	}
}

// longestMS bounds what a log may say of one request: a load and all its
// patience.
const longestMS = 2 * float64(MaxLoad/time.Millisecond)

func readRecordsFile(path string) ([]Record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open client's log: %w", err)
	}
	defer file.Close()
	return ReadRecords(file)
}

// Summary is what a client's log says.
type Summary struct {
	Requests int
	Outcomes map[Outcome]int
	// FirstSlow is when the first request became slow: its start plus the
	// threshold. Failed requests that took as long count too. Zero: none.
	FirstSlow time.Time
	// FirstFailed is when a client first saw a request fail. Zero: none.
	FirstFailed time.Time
}

// Summarize sums up a client's log; requests longer than slow are slow.
func Summarize(records []Record, slow time.Duration) Summary {
	s := Summary{Requests: len(records), Outcomes: map[Outcome]int{}}
	for _, r := range records {
		s.Outcomes[r.Outcome]++
		if r.Total() > slow {
			s.FirstSlow = earlier(s.FirstSlow, r.Start.Add(slow))
		}
		if r.Outcome != OK {
			s.FirstFailed = earlier(s.FirstFailed, r.End())
		}
	}
	return s
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
