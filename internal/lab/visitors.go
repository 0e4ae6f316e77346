package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Habit is how a client comes to the address that it connects to.
type Habit string

// The habits.
const (
	// Honest resolves the name before each connection, and ends each after Hold.
	Honest Habit = "honest"
	// Cached resolves once, when it starts, and then does as Honest, as a library
	// that keeps answers for ever.
	Cached Habit = "cached"
	// Fixed does not resolve: its configuration has an address.
	Fixed Habit = "fixed"
	// Pooled keeps each connection for as long as it is answered; only for a new
	// one does it resolve.
	Pooled Habit = "pooled"
)

// Visitors are clients of one program that visit a name: a population with one
// habit. Their process is called lab-NAME.
type Visitors struct {
	// Name is one to eleven letters and digits, so that the process' has at most
	// fifteen bytes. Kernel: TASK_COMM_LEN.
	Name  string
	Habit Habit
	// Site and Port are what they visit.
	Site string
	Port uint16
	// Resolver is the one they ask; Address where Fixed ones connect to.
	Resolver, Address netip.Addr
	// IPv6 has them ask for IPv6 addresses, else for IPv4 ones.
	IPv6 bool
	// Clients is how many there are, each with one connection at a time.
	Clients int
	// Hold is for how long a connection that is not Pooled is kept; zero is 2 s.
	Hold time.Duration
	// Every is the time between two requests on a connection; zero is 500 ms.
	Every time.Duration
	// Patience is for how long they wait for a connection, and for an answer; zero
	// is 5 s. After a failure a client waits for about a second.
	Patience time.Duration
}

func (v Visitors) withDefaults() (Visitors, error) {
	v.Hold, v.Every, v.Patience = or(v.Hold, 2*time.Second), or(v.Every, 500*time.Millisecond), or(v.Patience, 5*time.Second)
	switch {
	case len(v.Name) > 11 || !hostName.MatchString(v.Name):
		return v, fmt.Errorf("visitors' name %q: use 1 to 11 of a-z and 0-9, a letter first", v.Name)
	case v.Habit != Honest && v.Habit != Cached && v.Habit != Fixed && v.Habit != Pooled:
		return v, fmt.Errorf("visitors %s: unknown habit %q", v.Name, v.Habit)
	case v.Habit == Fixed != v.Address.IsValid() || v.Habit == Fixed == v.Resolver.IsValid():
		return v, fmt.Errorf("visitors %s: fixed ones have an address, all others a resolver", v.Name)
	case v.Clients < 1 || v.Clients > 5000:
		return v, fmt.Errorf("visitors %s: %d clients are not within 1 to 5000", v.Name, v.Clients)
	case v.Hold < 0 || v.Every < 0 || v.Patience < 0:
		return v, fmt.Errorf("visitors %s: a time is negative", v.Name)
	case v.Site == "" || v.Port == 0:
		return v, fmt.Errorf("visitors %s: want a site and a port", v.Name)
	}
	return v, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Visit is one attempt of a client: a connection that it held, or what became of
// it. All times are of the wall clock, told from one reading of it.
type Visit struct {
	Client int `json:"client"`
	// Local and Remote are the ends; Remote is not valid where the name did not
	// resolve, Local where no connection stood.
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
	// Began is when the client began to resolve, Dialed to connect, Opened when the
	// connection stood, Closed when it closed it or gave up; zero for what did not
	// happen. One that was held at the end has no Closed.
	Began  time.Time `json:"began"`
	Dialed time.Time `json:"dialed"`
	Opened time.Time `json:"opened"`
	Closed time.Time `json:"closed"`
	// Requests is how many were answered, Site who last said that it did.
	Requests int    `json:"requests"`
	Site     string `json:"site"`
	// Error is what ended it; empty where the client did.
	Error string `json:"error"`
}

// Visiting is a population at work.
type Visiting struct {
	*Running
	Visitors Visitors
	log      string
}

// visitsConfig is what the child gets.
type visitsConfig struct {
	Visitors
	Log string
}

// StartVisitors starts a population. ctx bounds the start only.
func (h *Host) StartVisitors(ctx context.Context, v Visitors) (*Visiting, error) {
	v, err := v.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := h.world.subdir(h.name + "-visitors")
	if err != nil {
		return nil, err
	}
	out := &Visiting{Visitors: v, log: filepath.Join(dir, "visits.jsonl")}
	if out.Running, err = h.run(ctx, "visitors", visitsConfig{v, out.log}); err != nil {
		return nil, fmt.Errorf("start visitors %s on %s: %w", v.Name, h.name, err)
	}
	return out, nil
}

// Finish stops the population and returns all its visits, in the order they
// ended; those that were held to the end come last.
func (v *Visiting) Finish() ([]Visit, error) {
	if err := v.Stop(); err != nil {
		return nil, err
	}
	file, err := os.Open(v.log)
	if err != nil {
		return nil, fmt.Errorf("open log of visitors: %w", err)
	}
	defer file.Close()
	visits, err := ReadVisits(file)
	if err == nil && len(visits) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("log of visitors %s: %w", v.Visitors.Name, err)
	}
	return visits, nil
}

// ReadVisits reads a log of visits. A last line without an end is left out.
func ReadVisits(in io.Reader) ([]Visit, error) {
	var visits []Visit
	lines := bufio.NewReader(in)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return visits, nil
		}
		if err != nil {
			return nil, err
		}
		var v Visit
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("line %d %.80q: %w", n, line, err)
		}
		visits = append(visits, v)
	}
}
