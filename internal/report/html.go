package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/foreshock/foreshock/internal/api"
)

//go:embed parts.html
var parts string

//go:embed report.html
var page string

//go:embed drain.html
var drainPage string

// The pages as templates: they escape every text where it stands.
var (
	drawn      = drawnOf(page)
	drawnDrain = drawnOf(drainPage)
)

func drawnOf(page string) *template.Template {
	t := template.New("report").Funcs(template.FuncMap{
		"plain": Plain, "after": after, "moment": moment, "spaced": spaced, "detail": detail, "steps": shortened, "add": func(a, b float64) float64 { return a + b },
	})
	return template.Must(template.Must(t.Parse(parts)).Parse(page))
}

// HTML writes the report as one page that needs nothing else: no script, no
// style and no picture of elsewhere.
func (r *Report) HTML(w io.Writer) error {
	if err := drawn.Execute(w, r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// mostShown is how many steps of a timeline are shown at its beginning, and at
// its end; the JSON has all.
const mostShown = 100

// shortened is a timeline that people can read: of a long one its beginning and
// its end, and between them how many are left out.
func shortened(all []Event) []Event {
	if len(all) <= 2*mostShown {
		return all
	}
	out := append([]Event{}, all[:mostShown]...)
	between := all[mostShown]
	out = append(out, Event{At: between.At, Seconds: between.Seconds, What: fmt.Sprintf("(%d more are left out here; the report as JSON has all)", len(all)-2*mostShown)})
	return append(out, all[len(all)-mostShown:]...)
}

// mostDetail is how much of what came of an action is shown, in characters.
const mostDetail = 2000

// detail is what came of an action.
func detail(a api.Action) string {
	says := []rune(Plain(string(a.Detail)))
	if len(says) > mostDetail {
		return string(says[:mostDetail]) + fmt.Sprintf("… (%d more characters; the report as JSON has all)", len(says)-mostDetail)
	}
	return string(says)
}
