package notify

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLog(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "says" || a.Key == "because" {
			return slog.Attr{}
		}
		return a
	}}))
	c := Channel{Name: "log", Log: log}
	for _, n := range toldAll(t, c) {
		if err := receivers(&c)[0].sender.send(t.Context(), epoch, &n); err != nil {
			t.Error(err)
		}
	}
	const about = " incident=7 scope=service/web cause=workers_full severity="
	const rest = " certainty=likely pattern=gradual_saturation"
	const link = " link=https://web03.example:9748/incidents/7\n"
	want := `level=WARN msg="incident notice" step=opened` + about + "warning" + rest + link +
		`level=ERROR msg="incident notice" step=worse` + about + "critical" + rest + link +
		`level=INFO msg="incident notice" step=resolved` + about + "critical" + rest + " end=recovered" + link
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
