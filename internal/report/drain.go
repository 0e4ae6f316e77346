package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/foreshock/foreshock/internal/drain"
)

// DrainValues is what the report of a switch is made of.
type DrainValues struct {
	// Reports are those of one agent or several, with their curves.
	Reports []drain.Report
	// Missing are agents that were asked too and did not answer.
	Missing []Missing
	MadeBy  string // the program and its version
	MadeAt  time.Time
}

// Missing is an agent that did not say what it knows, and why.
type Missing struct{ Agent, Why string }

// Drain is the report of a switch. Its JSON is a contract; the words of its other
// forms are not.
type Drain struct {
	Version int          `json:"report_version"`
	MadeAt  time.Time    `json:"made_at"`
	MadeBy  string       `json:"made_by"`
	Title   string       `json:"title"`
	Status  drain.Status `json:"status"`
	// Minutes are the minutes since the switch, and of those before it that were
	// seen.
	Minutes []DrainMinute `json:"minutes"`
	Lost    Lost          `json:"lost"`
	// NotSeen is what the report cannot say, and why.
	NotSeen []string       `json:"not_seen"`
	Reports []drain.Report `json:"reports"`

	first *drain.Report // one of the reports that the status is of
}

// DrainMinute is one minute of a drain, at that end that the status is of.
type DrainMinute struct {
	// SinceSeconds is when it begins, since the switch; below zero before it.
	SinceSeconds float64 `json:"since_seconds"`
	// OldShare is of ESTABLISHED, OldNewShare of new connections; null without any.
	OldShare    *float64 `json:"old_share"`
	OldNewShare *float64 `json:"old_new_share"`
	// Old and New are the ESTABLISHED on both sides, in the mean.
	Old float64 `json:"old"`
	New float64 `json:"new"`
	// Failing are the most at once that connected to old addresses, or sent again.
	Failing int `json:"failing"`
	// ArrivalsPerSecond are new connections on both sides; MissingShare how many of
	// the usual ones those lack; null where that is not known.
	ArrivalsPerSecond float64  `json:"arrivals_per_second"`
	MissingShare      *float64 `json:"missing_share"`
}

// Lost is what users lost, as far as sockets show it.
type Lost struct {
	// MostFailing is how many failed at once on old addresses, at most; FailingSeconds
	// for how long all of them together.
	MostFailing    int     `json:"most_failing"`
	FailingSeconds float64 `json:"failing_connection_seconds"`
	// NotArrived are the usual new connections that did not come since the switch,
	// NotArrivedError how far that may be off; null where nothing is known.
	NotArrived      *float64 `json:"not_arrived"`
	NotArrivedError *float64 `json:"not_arrived_error"`
}

// BuildDrain makes the report of a switch. The error says that there is none.
func BuildDrain(v DrainValues) (Drain, error) {
	s := drain.Merge(v.Reports)
	if len(s.Agents) == 0 || s.Name == "" {
		return Drain{}, errors.New("report a drain: no agent has reported on it")
	}
	for _, m := range v.Missing {
		s = s.Without(m.Agent, m.Why)
	}
	d := Drain{
		Version: Version, MadeAt: v.MadeAt.UTC(), MadeBy: v.MadeBy, Title: fmt.Sprintf("Drain of %s: %s", s.Name, s.Verdict),
		Status: s, Reports: v.Reports,
	}
	for i := range v.Reports {
		r := &v.Reports[i]
		if strings.EqualFold(strings.TrimSuffix(r.Name, "."), s.Name) && (d.first == nil || d.first.SwitchedAt.IsZero()) {
			d.first = r
		}
	}
	d.Minutes, d.Lost = minutesOf(&s), lostOf(&s)
	d.NotSeen = drainNotSeen(&s)
	return d, nil
}

// JSON writes the report as JSON.
func (d *Drain) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// HTML writes the report as one page that needs nothing else.
func (d *Drain) HTML(w io.Writer) error {
	if err := drawnDrain.Execute(w, d); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// points are the curve, and the last look at its end.
func points(s *drain.Status) []drain.Point {
	all := append([]drain.Point{}, s.Curve...)
	if n := len(all); n == 0 || all[n-1].SinceSeconds < s.Now.SinceSeconds {
		all = append(all, s.Now)
	}
	return all
}

func sides(p *drain.Point, end string) *drain.Sides {
	if end == "served" {
		return &p.Served
	}
	return &p.Asked
}

// failing are the connections to the old addresses on which nothing comes
// through, at that end that sees more of them.
func failing(p *drain.Point) int {
	return max(p.Asked.Old.Connecting+p.Asked.Old.Retransmitting, p.Served.Old.Connecting+p.Served.Old.Retransmitting)
}

func arriving(p *drain.Point, end string) float64 {
	x := sides(p, end)
	return x.Old.NewPerSecond + x.New.NewPerSecond
}

// bothSides reports whether a share says anything: where one side is held by
// nobody who reports, it has no connections at any time, and the status no share.
func bothSides(s *drain.Status) bool {
	if s.OldShare != nil {
		return true
	}
	for i := range s.Curve {
		if x := sides(&s.Curve[i], s.Basis); x.Old.Established > 0 && x.New.Established > 0 {
			return true
		}
	}
	return false
}

func shareOf(before, after float64) *float64 {
	if !(before+after > 0) {
		return nil
	}
	return new(before / (before + after))
}

// minutesOf adds a curve's points up by minutes.
func minutesOf(s *drain.Status) []DrainMinute {
	out := []DrainMinute{}
	var before, after, newOld, newNew, arrive float64
	n := 0.0
	end, whole := s.Basis, bothSides(s)
	flush := func() {
		if n == 0 {
			return
		}
		m := &out[len(out)-1]
		m.Old, m.New, m.ArrivalsPerSecond = before/n, after/n, arrive/n
		if whole {
			m.OldShare, m.OldNewShare = shareOf(before, after), shareOf(newOld, newNew)
		}
		if a := s.Arrivals; a != nil && m.SinceSeconds >= 0 {
			m.MissingShare = new(min(max(1-m.ArrivalsPerSecond/a.ExpectedPerSecond, 0), 1))
		}
		before, after, newOld, newNew, arrive, n = 0, 0, 0, 0, 0, 0
	}
	arrivals := end
	if s.Arrivals != nil {
		arrivals = s.Arrivals.At
	}
	for _, p := range points(s) {
		begin := 60 * math.Floor(p.SinceSeconds/60)
		if len(out) == 0 || out[len(out)-1].SinceSeconds != begin {
			flush()
			out = append(out, DrainMinute{SinceSeconds: begin})
		}
		x := sides(&p, end)
		before, after = before+float64(x.Old.Established), after+float64(x.New.Established)
		newOld, newNew = newOld+x.Old.NewPerSecond, newNew+x.New.NewPerSecond
		arrive += arriving(&p, arrivals)
		n++
		m := &out[len(out)-1]
		m.Failing = max(m.Failing, failing(&p))
	}
	flush()
	return out
}

// longest is how long one point of a curve stands for, in seconds.
const longest = 150.0

// lostOf adds up what failed and what did not arrive since the switch.
func lostOf(s *drain.Status) Lost {
	var l Lost
	all := points(s)
	var missed, seconds float64
	for i := range all {
		p := &all[i]
		if p.SinceSeconds < 0 {
			continue
		}
		l.MostFailing = max(l.MostFailing, failing(p))
		if i+1 == len(all) {
			break
		}
		lasts := min(all[i+1].SinceSeconds-p.SinceSeconds, longest)
		l.FailingSeconds += lasts * float64(failing(p))
		if a := s.Arrivals; a != nil {
			missed += lasts * (a.ExpectedPerSecond - arriving(p, a.At))
			seconds += lasts
		}
	}
	if a := s.Arrivals; a != nil && seconds > 0 {
		l.NotArrived, l.NotArrivedError = new(max(missed, 0)), new(a.ErrorPerSecond*seconds)
	}
	return l
}

// Says is that in sentences.
func (l Lost) Says() []string {
	var out []string
	if l.MostFailing == 0 {
		out = append(out, "No connection to an old address was seen to fail.")
	} else {
		out = append(out, fmt.Sprintf("Connections to the old addresses that connected or sent again without an answer: %d at most at once, for %s all together.", l.MostFailing, lasting(time.Duration(l.FailingSeconds*float64(time.Second)))))
	}
	switch {
	case l.NotArrived == nil:
		out = append(out, "How many users arrived nowhere is not known: what usually arrives was not.")
	case *l.NotArrived <= *l.NotArrivedError:
		out = append(out, "As many new connections arrived as usual, or too few are missing to tell.")
	default:
		out = append(out, fmt.Sprintf("Of the usual new connections about %s did not arrive (± %s).", roughly(*l.NotArrived), roughly(*l.NotArrivedError)))
	}
	return out
}

// roughly is a count of which three digits say something.
func roughly(n float64) string {
	if n < 1000 {
		return strconv.FormatFloat(math.Round(n), 'f', 0, 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(n))-2)
	return strconv.FormatFloat(math.Round(n/unit)*unit, 'f', 0, 64)
}

// Facts is the switch in a few lines.
func (d *Drain) Facts() []Fact {
	s := &d.Status
	var out []Fact
	add := func(name, says string) {
		if says != "" {
			out = append(out, Fact{name, says})
		}
	}
	add("Verdict", s.Sentence)
	add("Power off", s.PowerOff)
	if r := d.first; r != nil {
		add("Switch", fmt.Sprintf("%s from %s to %s, %s", s.Name, told(r.Old), told(r.New), r.Source))
		if len(r.Kept) > 0 {
			add("Kept", told(r.Kept)+", before and after; not counted")
		}
		add("Ports", strings.Trim(fmt.Sprint(r.Ports), "[]"))
		if !r.SwitchedAt.IsZero() {
			add("When", fmt.Sprintf("%s by the clock of %s, %s before the last look", moment(r.SwitchedAt), r.Agent, seconds(s.SinceSeconds)))
		}
		if r.TTLSeconds != nil {
			add("TTL before", seconds(*r.TTLSeconds))
		}
		if r.DeadlineSeconds > 0 {
			add("Deadline", seconds(r.DeadlineSeconds)+" after the switch")
		}
	}
	add("Seen by", strings.Join(s.Agents, ", ")+"; shares are of connections that "+map[bool]string{true: "came to their hosts", false: "their hosts began"}[s.Basis == "served"])
	add("Half had left", when(s.HalfLifeSeconds))
	add("95 % had left", when(s.Left95Seconds))
	add("99 % had left", when(s.Left99Seconds))
	if s.EndsInSeconds != nil && *s.EndsInSeconds > 0 {
		add("Below 1 %", fmt.Sprintf("in about %s, ± %s, as it goes now", seconds(*s.EndsInSeconds), seconds(*s.EndsErrorSeconds)))
	}
	add("Arrivals", s.MissingSentence)
	if s.Agreement != nil {
		add("Resolvers", quantity(math.Round(100**s.Agreement)/100, "share")+" of those asked answer with new addresses alone")
	}
	return out
}

func told(all []netip.Addr) string {
	if len(all) == 0 {
		return "nothing"
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.String()
	}
	return strings.Join(names, ", ")
}

func seconds(s float64) string {
	return lasting(time.Duration(min(max(s, 0), 1e9) * float64(time.Second)))
}

func when(s *float64) string {
	if s == nil {
		return ""
	}
	return seconds(*s) + " after the switch"
}

// Rows are the minutes as text, of many the first and the last.
func (d *Drain) Rows() [][]string {
	var out [][]string
	for _, m := range d.Minutes {
		out = append(out, []string{
			sinceLabel(m.SinceSeconds), optional(m.OldShare), optional(m.OldNewShare), number(math.Round(m.Old)), number(math.Round(m.New)), strconv.Itoa(m.Failing), optional(m.MissingShare),
		})
	}
	if len(out) <= 2*mostShown {
		return out
	}
	between := []string{fmt.Sprintf("(%d more; the JSON has all)", len(out)-2*mostShown), "", "", "", "", "", ""}
	return append(append(append([][]string{}, out[:mostShown]...), between), out[len(out)-mostShown:]...)
}

func optional(share *float64) string {
	if share == nil {
		return "–"
	}
	return quantity(math.Round(1000**share)/1000, "share")
}

// sinceLabel is a time since the switch: "+5 min", "−30 s".
func sinceLabel(s float64) string {
	sign := "+"
	if s < 0 {
		sign, s = "−", -s
	}
	switch n := int(math.Round(s)); {
	case n == 0:
		return "0"
	case n%3600 == 0:
		return fmt.Sprintf("%s%d h", sign, n/3600)
	case n%60 == 0:
		return fmt.Sprintf("%s%d min", sign, n/60)
	default:
		return fmt.Sprintf("%s%d s", sign, n)
	}
}

// drainNotSeen is what the report cannot say.
func drainNotSeen(s *drain.Status) []string {
	out := []string{}
	for _, l := range s.Limits {
		if l == "" {
			continue
		}
		if !strings.HasSuffix(l, "?") {
			l += "."
		}
		first, size := utf8.DecodeRuneInString(l)
		out = append(out, string(unicode.ToUpper(first))+l[size:])
	}
	if len(s.Curve) == 0 {
		out = append(out, "There are no graphs: no agent has a curve yet.")
	} else if first := s.Curve[0].SinceSeconds; first > 0 {
		out = append(out, fmt.Sprintf("Nothing is known of the first %s after the switch.", seconds(first)))
	}
	return append(out, "Points are 10 s apart, and a minute later on: what came and went between them is not in the numbers.", "Clients behind one address, QUIC and UDP are not told apart or not seen: these are TCP connections.")
}
