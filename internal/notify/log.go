package notify

import (
	"context"
	"log/slog"
	"time"
)

// journal writes notices to our own log, one line each.
type journal struct{ log *slog.Logger }

func (j *journal) send(ctx context.Context, _ time.Time, n *Notice) error {
	attributes := []slog.Attr{
		slog.Uint64("incident", n.Incident), slog.String("scope", n.Scope), slog.String("cause", n.Cause),
		slog.String("severity", n.Severity), slog.String("certainty", n.Certainty), slog.String("says", n.Sentence),
		slog.String("because", n.Trigger),
	}
	for _, a := range []slog.Attr{slog.String("pattern", n.Pattern), slog.String("end", n.End), slog.String("link", n.Link)} {
		if a.Value.String() != "" {
			attributes = append(attributes, a)
		}
	}
	level, words := slog.LevelWarn, "notice: an incident lasts"
	switch n.Step {
	case Opened:
		words = "notice: an incident is open"
	case Worse:
		words = "notice: an incident got worse"
	case Resolved:
		level, words = slog.LevelInfo, "notice: an incident is over"
	case Lasting:
	}
	if n.Severity == "critical" && n.Step != Resolved {
		level = slog.LevelError
	}
	j.log.LogAttrs(ctx, level, words, attributes...)
	return nil
}

func (j *journal) close() {}
