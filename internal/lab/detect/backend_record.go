package detect

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/lab/trace"
)

// traceEvery is the time between two looks of a recording.
const traceEvery = 250 * time.Millisecond

// RecordBackend plays a cell without the agent and writes, each 250 ms, what
// the sockets to its backends look like in the balancer's namespace: a
// [trace.Line] as a line of JSON. The cell's events are told to progress.
func RecordBackend(ctx context.Context, cell BackendCell, out io.Writer, progress func(string)) error {
	p, err := newPool(ctx, &cell)
	if err != nil {
		return err
	}
	defer p.world.Close()
	remotes := p.addrs()
	for _, m := range p.members[len(remotes):] {
		remotes = append(remotes, m.addr())
	}
	remotes = append(remotes, p.database.Addr())
	return p.record(ctx, remotes, out, progress)
}

func (p *pool) record(ctx context.Context, remotes []netip.AddrPort, out io.Writer, progress func(string)) error {
	progress(p.introduction("recorded"))
	run, began, err := p.startLoad(ctx)
	if err != nil {
		return err
	}
	fault := began.Add(p.cell.At)
	err = traceUntil(ctx, p.host, remotes, fault, began.Add(p.cell.Load.Duration), out, func(ctx context.Context) error {
		return happen(ctx, p, p.cell.Name, fault, p.cell.Events, progress)
	})
	return errors.Join(err, run.Stop())
}

// traceUntil writes a line each 250 ms of what the sockets to remotes look like
// on a host, counted from fault, until end; meanwhile runs beside it.
func traceUntil(ctx context.Context, host *lab.Host, remotes []netip.AddrPort, fault, end time.Time, out io.Writer, meanwhile func(context.Context) error) (err error) {
	var reader *trace.Reader
	err = host.Do(func() (err error) {
		reader, err = trace.Open(remotes)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	ctx, stop := context.WithCancel(ctx)
	happened := make(chan error, 1)
	go func() { happened <- meanwhile(ctx) }()
	lines := json.NewEncoder(out)
	ticker := time.NewTicker(traceEvery)
	defer ticker.Stop()
	for err == nil && time.Now().Before(end) {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-ticker.C:
			var line trace.Line
			if line, err = reader.Look(fault); err == nil {
				err = lines.Encode(line)
			}
		}
	}
	stop()
	return errors.Join(err, <-happened)
}
