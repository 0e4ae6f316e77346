package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/foreshock/foreshock/internal/judge"
)

// journal writes notices to our own log, one line each.
type journal struct{ log *slog.Logger }

func (j *journal) send(ctx context.Context, _ time.Time, n *Notice) error {
	attributes := []slog.Attr{
		slog.String("step", string(n.Step)),
		slog.Uint64("incident", n.Incident), slog.String("scope", n.Scope), slog.String("cause", n.Cause),
		slog.String("severity", n.Severity), slog.String("certainty", n.Certainty), slog.String("says", n.Sentence),
		slog.String("because", n.Trigger),
	}
	for _, a := range []slog.Attr{slog.String("pattern", n.Pattern), slog.String("end", n.End), slog.String("link", n.Link)} {
		if a.Value.String() != "" {
			attributes = append(attributes, a)
		}
	}
	level := slog.LevelWarn
	switch {
	case n.Step == Resolved:
		level = slog.LevelInfo
	case n.Severity == judge.Critical.String():
		level = slog.LevelError
	}
	j.log.LogAttrs(ctx, level, "incident notice", attributes...)
	return nil
}

func (j *journal) close() {}
