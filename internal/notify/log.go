package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// journal writes notices to our own log, one line for each incident.
type journal struct{ log *slog.Logger }

func (j *journal) send(ctx context.Context, _ time.Time, n *Notice) error {
	for k := range n.Incidents {
		j.line(ctx, n, &n.Incidents[k])
	}
	for _, m := range n.More {
		j.log.LogAttrs(ctx, slog.LevelWarn, "incident notice", slog.String("step", string(m.Step)), slog.String("cause", m.Cause), slog.String("severity", m.Severity), slog.Int("incidents", m.Count))
	}
	return nil
}

func (j *journal) line(ctx context.Context, n *Notice, i *Item) {
	attributes := []slog.Attr{
		slog.String("step", string(i.Step)),
		slog.Uint64("incident", i.Incident), slog.String("scope", i.Scope), slog.String("cause", i.Cause),
		slog.String("severity", i.Severity), slog.String("certainty", i.Certainty), slog.String("says", i.Sentence),
		slog.String("because", i.Trigger),
	}
	if n.Reason != News {
		attributes = append(attributes, slog.String("reason", string(n.Reason)))
	}
	for _, a := range []slog.Attr{slog.String("pattern", i.Pattern), slog.String("end", i.End), slog.String("note", i.Note), slog.String("link", i.Link)} {
		if a.Value.String() != "" {
			attributes = append(attributes, a)
		}
	}
	level := slog.LevelWarn
	switch {
	case i.Step == Resolved:
		level = slog.LevelInfo
	case i.Severity == judge.Critical.String():
		level = slog.LevelError
	}
	j.log.LogAttrs(ctx, level, "incident notice", attributes...)
}

func (j *journal) close() {}
