package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/recording"
)

// beforeIncident is how long before its suspicion an incident's part begins:
// what the rates and trends of measure look back.
const beforeIncident = 2 * time.Minute

// recordAgent takes what the running agent has recorded.
func (f *recordFlags) recordAgent(ctx context.Context, path string, mask *recording.Anonymiser, stderr io.Writer) error {
	cfg, err := configBeside(f.agent, f.file)
	if err != nil {
		return err
	}
	c, err := f.calls.connect(f.agent, cfg, config.Secret{})
	if err != nil {
		return err
	}
	defer c.close()
	query, err := f.when(ctx, c)
	if err != nil {
		return err
	}
	body, err := c.download(ctx, "/api/v1/recording?"+query.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	if mask == nil && len(f.labels) == 0 {
		return f.copyTo(path, body, stderr)
	}
	// What is to be changed is kept beside it for as long as that takes.
	raw, err := beside(path)
	if err != nil {
		return fmt.Errorf("keep the agent's recording: %w", err)
	}
	defer os.Remove(raw.Name())
	defer raw.Close()
	n, err := io.Copy(raw, io.LimitReader(body, int64(f.maxSize)))
	if err != nil {
		return fmt.Errorf("keep the agent's recording: %w", err)
	}
	from, err := recording.NewReader(raw, n)
	if err != nil {
		return fmt.Errorf("what the agent sent %w", err)
	}
	h := from.Header()
	for k, v := range f.labels {
		if h.Labels == nil {
			h.Labels = map[string]string{}
		}
		h.Labels[k] = v
	}
	out, err := f.create(path, mask, h)
	if err != nil {
		return err
	}
	for s, err := from.Next(); err == nil; s, err = from.Next() {
		out.step(s)
	}
	if err := out.end(); err != nil {
		return err
	}
	return f.told(path, from.Problems(), stderr)
}

// when is from and to of what is wanted, on the agent's clock.
func (f *recordFlags) when(ctx context.Context, c connection) (url.Values, error) {
	if f.incident == 0 {
		var status api.Status
		if _, err := c.get(ctx, "/api/v1/status", &status); err != nil {
			return nil, err
		}
		return url.Values{"from": {status.At.Add(-f.last).Format(time.RFC3339Nano)}}, nil
	}
	var i api.Incident
	if _, err := c.get(ctx, fmt.Sprintf("/api/v1/incidents/%d", f.incident), &i); err != nil {
		return nil, err
	}
	if i.SuspectedAt == nil {
		return nil, fmt.Errorf("the agent does not say since when incident %d was suspected", f.incident)
	}
	query := url.Values{"from": {i.SuspectedAt.Add(-beforeIncident).Format(time.RFC3339Nano)}}
	if i.ResolvedAt != nil {
		query.Set("to", i.ResolvedAt.Format(time.RFC3339Nano))
	}
	return query, nil
}

// copyTo writes what the agent sends as it is.
func (f *recordFlags) copyTo(path string, body io.Reader, stderr io.Writer) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !f.force {
		flags |= os.O_EXCL
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, os.ErrExist) {
		return errThere(path)
	}
	if err != nil {
		return fmt.Errorf("create a recording: %w", err)
	}
	_, err = io.Copy(file, io.LimitReader(body, int64(f.maxSize)))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("keep the agent's recording: %w; what came before can be read", err)
	}
	r, err := recording.Open(path)
	if err != nil {
		return fmt.Errorf("what the agent sent: %w", err)
	}
	defer r.Close()
	for _, err := r.NextSegment(); err == nil; _, err = r.NextSegment() {
	}
	return f.told(path, r.Problems(), stderr)
}

// told says what came of it.
func (f *recordFlags) told(path string, problems []recording.Problem, stderr io.Writer) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at the recording: %w", err)
	}
	for _, p := range problems {
		fmt.Fprintf(stderr, "foreshock: %s\n", p)
	}
	if info.Size() >= int64(f.maxSize) {
		fmt.Fprintf(stderr, "foreshock: ended at --max-size %s\n", f.maxSize)
	}
	fmt.Fprintf(stderr, "foreshock: %s in %s\n", size(info.Size()), path)
	return nil
}
