package detect

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// The picture's measures, in its own units.
const (
	pictureNames = 270 // the column of names
	pictureAxis  = 560 // from the fault to the end of the axis
	pictureRow   = 22
	pictureTop   = 54
	pictureEnd   = 35 * time.Second // the end of the axis
	pictureStep  = 5 * time.Second
	pictureNever = 50 // the column of what never came
)

// mark is who saw a fault, and how that is drawn.
type mark struct {
	name, colour string
	at           func(Course) *time.Duration
}

// marks in the order they are drawn; later ones cover earlier ones.
func marks() []mark {
	return []mark{
		{"blackbox probe", "#8a8f98", probeAt},
		{"clients' first error", "#c0392b", failedAt},
		{"the balancer itself", "#d68910", verdictAt},
		{"Foreshock", "#1f6feb", foundAt},
	}
}

// BackendPicture draws, as SVG, for each fault when half of the runs had been
// seen by whom: seconds since the fault, and on the right what never came.
// Without faults it is empty. Whoever saw it never in any run is drawn there,
// too, but for clients, who may have lost nothing.
func BackendPicture(outcomes []BackendOutcome) string {
	rows, _ := split(courses(outcomes))
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	width, height := pictureNames+pictureAxis+pictureNever+40, pictureTop+pictureRow*len(rows)+16
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<title>Seconds from a backend's fault until it was seen</title>`+"\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, m := range marks() {
		x := pictureNames + i*150
		fmt.Fprintf(&b, `<circle cx="%d" cy="14" r="5" fill="%s"/><text x="%d" y="18">%s</text>`+"\n", x, m.colour, x+10, html.EscapeString(m.name))
	}
	bottom := height - 16
	for at := time.Duration(0); at <= pictureEnd; at += pictureStep {
		fmt.Fprintf(&b, `<line x1="%[1]d" y1="%[2]d" x2="%[1]d" y2="%[3]d" stroke="#dddddd"/><text x="%[1]d" y="%[4]d" text-anchor="middle" fill="#555555">%.0[5]f s</text>`+"\n",
			axisAt(at), pictureTop-12, bottom, pictureTop-16, at.Seconds())
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555555">never</text>`+"\n", axisNever(), pictureTop-16)
	for i, s := range rows {
		s.draw(&b, pictureTop+pictureRow*i+pictureRow/2)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw writes one row, whose middle is at y.
func (s runs) draw(b *strings.Builder, y int) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", pictureNames-12, y+4, html.EscapeString(s[0].Cell))
	found, verdict := s.quantile(0.5, foundAt), s.quantile(0.5, verdictAt)
	if found != nil {
		end := axisNever()
		if verdict != nil {
			end = axisAt(*verdict)
		}
		fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#a9c7f5" stroke-width="6"/>`+"\n", axisAt(*found), y, end, y)
	}
	for i, m := range marks() {
		at := s.quantile(0.5, m.at)
		x := axisNever() + 11*(i-1) // beside each other
		switch {
		case at != nil:
			x = axisAt(*at)
		case m.name == "clients' first error":
			continue
		}
		fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="5" fill="%s"/>`+"\n", x, y, m.colour)
	}
}

// axisAt is where a time stands, at most at the end of the axis.
func axisAt(d time.Duration) int {
	d = min(max(d, 0), pictureEnd)
	return pictureNames + int(d*pictureAxis/pictureEnd)
}

func axisNever() int { return pictureNames + pictureAxis + pictureNever }
