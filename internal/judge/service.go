package judge

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/foreshock/foreshock/internal/scope"
)

// behindService says of a backend that is a service address what can be told:
// its connections go on to several servers, and each is judged by all of them.
func (f *Finding) behindService(s subject) {
	if s.scope.Scope.Kind != scope.KindBackend || len(s.scope.Behind) == 0 {
		return
	}
	servers := inList(s.scope.Behind)
	if len(s.scope.Behind) == 1 {
		f.Sentence += fmt.Sprintf(" It is a service address; %s was seen behind it.", servers)
		return
	}
	f.Sentence += fmt.Sprintf(" It is a service address for %s: one of them may be all that fails.", servers)
	f.Certainty = min(f.Certainty, Likely)
	f.Considered = append(f.Considered, Considered{"one_of_several", "cannot tell: a socket does not show which server behind the address it reaches"})
	f.Advice = append([]string{fmt.Sprintf("Find out which server it is before you take anything out: connection tracking shows where each connection to %s went.", f.Scope.Name)}, f.Advice...)
}

// inList words a few addresses.
func inList(addrs []netip.AddrPort) string {
	var parts []string
	for _, a := range addrs {
		parts = append(parts, a.String())
	}
	parts = firstFive(parts)
	if len(parts) == 1 {
		return parts[0]
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
