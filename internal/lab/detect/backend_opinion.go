package detect

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
)

// opinion is what a balancer says of its backends, read as its operator would.
type opinion struct {
	every time.Duration
	// down returns the addresses that it holds to be down.
	down func(ctx context.Context, p *pool) ([]netip.AddrPort, error)
}

var (
	haproxyStat = opinion{200 * time.Millisecond, func(ctx context.Context, p *pool) ([]netip.AddrPort, error) {
		text, err := p.running().Admin(ctx, "show stat")
		if err != nil {
			return nil, err
		}
		numbers, err := parseStat(text)
		if err != nil {
			return nil, err
		}
		var down []netip.AddrPort
		for _, n := range numbers {
			if n >= 1 && n <= len(p.members) {
				down = append(down, p.members[n-1].addr())
			}
		}
		return down, nil
	}}
	traefikAPI = opinion{500 * time.Millisecond, func(ctx context.Context, p *pool) ([]netip.AddrPort, error) {
		raw, err := p.host.Get(ctx, fmt.Sprintf("http://127.0.0.1:%d/api/http/services/app@file", lab.TraefikAPI))
		if err != nil {
			return nil, err
		}
		return parseServerStatus(raw)
	}}
	nginxLog  = logged("temporarily disabled")
	apacheLog = logged("disabling worker")
)

// logged is the opinion of a balancer that only writes it down: a line of its
// error log with these words names the backend.
func logged(words string) opinion {
	return opinion{200 * time.Millisecond, func(_ context.Context, p *pool) ([]netip.AddrPort, error) {
		raw, err := os.ReadFile(filepath.Join(p.running().Dir(), "error.log"))
		if err != nil {
			return nil, err
		}
		return parseLog(raw, words, p), nil
	}}
}

func parseLog(raw []byte, words string, p *pool) []netip.AddrPort {
	var down []netip.AddrPort
	for line := range bytes.Lines(raw) {
		if !bytes.Contains(line, []byte(words)) {
			continue
		}
		for _, m := range p.members {
			if bytes.Contains(line, []byte(m.addr().String())) {
				down = append(down, m.addr())
			}
		}
	}
	return down
}

// parseStat reads HAProxy's "show stat" and returns the numbers of the servers
// s1, s2, … that it holds to be down.
func parseStat(text string) ([]int, error) {
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# ")))
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read show stat: %w", err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("read show stat: no rows in %.80q", text)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	name, named := column["svname"]
	status, known := column["status"]
	if !named || !known {
		return nil, fmt.Errorf("read show stat: no svname or status among %.80q", rows[0])
	}
	var down []int
	for _, row := range rows[1:] {
		if len(row) <= max(name, status) {
			return nil, fmt.Errorf("read show stat: row %.80q is short", row)
		}
		digits, ours := strings.CutPrefix(row[name], "s")
		n, err := strconv.Atoi(digits)
		if ours && err == nil && strings.HasPrefix(row[status], "DOWN") {
			down = append(down, n)
		}
	}
	return down, nil
}

// parseServerStatus reads Traefik's answer about a service: addresses by their
// URL, each with "UP" or "DOWN".
func parseServerStatus(raw []byte) ([]netip.AddrPort, error) {
	var answer struct {
		ServerStatus map[string]string `json:"serverStatus"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("read server status: %w in %.80q", err, raw)
	}
	var down []netip.AddrPort
	for url, status := range answer.ServerStatus {
		addr, err := netip.ParseAddrPort(strings.TrimPrefix(url, "http://"))
		if err != nil {
			return nil, fmt.Errorf("read server status: %w", err)
		}
		if status == "DOWN" {
			down = append(down, addr)
		}
	}
	return down, nil
}

// running is the balancer of now.
func (p *pool) running() *lab.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.balancer
}
