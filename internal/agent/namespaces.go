package agent

import (
	"fmt"
	"os"
	"time"

	"github.com/foreshock/foreshock/internal/api"
	"github.com/foreshock/foreshock/internal/config"
	"github.com/foreshock/foreshock/internal/observe/discover"
	"github.com/foreshock/foreshock/internal/observe/spaces"
	"github.com/foreshock/foreshock/internal/tcp"
)

// maxRefused is how many namespaces that cannot be read are listed one by one.
const maxRefused = 50

// limits is what cannot be seen on this host, and why.
func (h *Host) limits() []api.Limit {
	// A configured service that a container serves does not listen on the host.
	elsewhere := map[string]bool{}
	for _, r := range h.others {
		for i := range r.services {
			if r.services[i].Configured {
				elsewhere[r.services[i].Name] = true
			}
		}
	}
	out := h.own.limits(func(p discover.Problem) bool { return p.Kind == discover.NothingListens && elsewhere[p.Service] })
	out = append(out, poolLimits(h.pipelines())...)
	if h.cfg.Observe.Namespaces == config.HostNamespace {
		return append(out, api.Limit{Subject: "other network namespaces", Reason: "not read: the configuration says observe.namespaces: host"})
	}
	if h.scanErr != nil {
		out = append(out, api.Limit{Subject: "other network namespaces", Reason: "not found: " + h.scanErr.Error()})
	}
	for _, reason := range h.unseen.Reasons {
		if os.Geteuid() != 0 { // root has what there is to be had
			reason += " (it takes CAP_SYS_PTRACE and CAP_SYS_ADMIN)"
		}
		out = append(out, api.Limit{Subject: "other network namespaces", Reason: reason})
	}
	status := h.roster.Status()
	for i, x := range status.Refused {
		if i == maxRefused {
			out = append(out, api.Limit{Subject: "other network namespaces", Reason: fmt.Sprintf("%d more cannot be read", len(status.Refused)-maxRefused)})
			break
		}
		out = append(out, api.Limit{Subject: "namespace " + x.Label, Reason: x.Reason})
	}
	if status.Over > 0 {
		out = append(out, api.Limit{Subject: "other network namespaces", Reason: fmt.Sprintf("%d are not read: %d are read at most", status.Over, spaces.Most)})
	}
	fallen, why := 0, error(nil)
	for _, r := range h.others {
		if r.fallback != nil {
			fallen, why = fallen+1, r.fallback
		}
		out = append(out, r.servicesLimits(nil)...)
	}
	if fallen > 0 {
		out = append(out, api.Limit{Subject: "sock_diag", Reason: fmt.Sprintf("refused in %s, /proc/PID/net is read instead: %v", plural(fallen, "other network namespace", "other network namespaces"), why)})
	}
	return out
}

// namespaces is how the reading of the other namespaces does.
func (h *Host) namespaces() api.NamespacesStatus {
	status := h.roster.Status()
	out := api.NamespacesStatus{Read: status.Read, Waiting: status.Waiting, Refused: len(status.Refused), Over: status.Over}
	seen := func(r *resident, t tcp.Tier) time.Time { return r.schedule.Seen(t) }
	for _, r := range h.others {
		idle := r.schedule.Idle()
		if idle {
			out.Idle++
		}
		out.Each = append(out.Each, api.NamespaceStatus{
			Name: r.place.name, ID: r.space.ID, Process: r.space.Name, PID: r.space.PID, Services: len(r.services), Idle: idle,
			Reader: r.status[tcp.Pulse].last.Reader, PulseInterval: r.schedule.Interval(tcp.Pulse), WholeInterval: r.schedule.Interval(tcp.Full),
			PulseSeen: seen(r, tcp.Pulse), WholeSeen: seen(r, tcp.Full),
		})
	}
	return out
}
