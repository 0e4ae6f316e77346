package detect

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"time"

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

func (p *pool) record(ctx context.Context, remotes []netip.AddrPort, out io.Writer, progress func(string)) (err error) {
	var reader *trace.Reader
	err = p.host.Do(func() (err error) {
		reader, err = trace.Open(remotes)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	progress(p.introduction("recorded"))
	run, began, err := p.startLoad(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	happened := make(chan error, 1)
	fault := began.Add(p.cell.At)
	go func() { happened <- happen(ctx, p, p.cell.Name, fault, p.cell.Events, progress) }()
	lines := json.NewEncoder(out)
	ticker := time.NewTicker(traceEvery)
	defer ticker.Stop()
	for end := began.Add(p.cell.Load.Duration); err == nil && time.Now().Before(end); {
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
	return errors.Join(err, <-happened, run.Stop())
}
