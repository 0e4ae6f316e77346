package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Poller is the least program that reads a balancer's own words as dashboards
// do: it asks each URL on one kept connection and takes the answer apart. Its
// process is called lab-poller. It ends at the first failure.
type Poller struct {
	// URLs are asked one after the other, at least one.
	URLs []string
	// Every is the time between rounds. Zero is 1 s.
	Every time.Duration
	// Metrics reads the answers as Prometheus' text format; else they are JSON.
	Metrics bool
}

// StartPoller starts a poller and returns once its first round has succeeded.
// ctx bounds the start only.
func (h *Host) StartPoller(ctx context.Context, p Poller) (*Running, error) {
	if len(p.URLs) == 0 {
		return nil, errors.New("start poller: no URLs")
	}
	if p.Every < 0 {
		return nil, fmt.Errorf("start poller: interval %v is negative", p.Every)
	}
	if p.Every == 0 {
		p.Every = time.Second
	}
	return h.run(ctx, "poller", p)
}

// pollPatience is the time-out of one answer.
const pollPatience = 10 * time.Second

// runPoller is the child that polls.
func runPoller(ctx context.Context, p Poller, _ <-chan json.RawMessage, ready func(any) error) error {
	client := &http.Client{Timeout: pollPatience}
	ticker := time.NewTicker(p.Every)
	defer ticker.Stop()
	for first := true; ; first = false {
		for _, url := range p.URLs {
			if err := p.poll(ctx, client, url); ctx.Err() != nil {
				return nil
			} else if err != nil {
				return fmt.Errorf("poll %s: %w", url, err)
			}
		}
		if first {
			if err := ready(struct{}{}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// poll asks once.
func (p Poller) poll(ctx context.Context, client *http.Client, url string) error {
	raw, err := Get(ctx, client, url)
	if err != nil {
		return err
	}
	if p.Metrics {
		samples, err := parseSamples(raw)
		if err == nil && len(samples) == 0 {
			err = errors.New("no samples")
		}
		return err
	}
	var decoded any
	return json.Unmarshal(raw, &decoded)
}

// parseSamples reads Prometheus' text format without time stamps, as far as a
// scraper must: a value for each series, by its name and labels as written.
// Source: prometheus.io, "Exposition formats".
func parseSamples(raw []byte) (map[string]float64, error) {
	samples := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		if end < 0 {
			return nil, fmt.Errorf("sample %.80q has no value", line)
		}
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("sample %.80q: %w", line, err)
		}
		samples[strings.TrimSpace(line[:end])] = value
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return samples, nil
}
