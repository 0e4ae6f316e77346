package limits

import (
	"fmt"

	"github.com/foreshock/foreshock/internal/scope"
)

// mpmSettings are the directives that limit Apache's workers.
type mpmSettings struct {
	requestWorkers, serverLimit, threadsPerChild, threadLimit setting
}

// apacheNames spells directives as the manual does.
var apacheNames = map[string]string{
	"maxrequestworkers": "MaxRequestWorkers",
	"maxclients":        "MaxClients", // its name before 2.4
	"serverlimit":       "ServerLimit",
	"threadsperchild":   "ThreadsPerChild",
	"threadlimit":       "ThreadLimit",
}

func (s *mpmSettings) named(directive string) *setting {
	switch directive {
	case "maxrequestworkers", "maxclients":
		return &s.requestWorkers
	case "serverlimit":
		return &s.serverLimit
	case "threadsperchild":
		return &s.threadsPerChild
	case "threadlimit":
		return &s.threadLimit
	}
	return nil
}

// Apache's built-in numbers: server/mpm/{prefork,worker,event}/*.c,
// DEFAULT_SERVER_LIMIT, DEFAULT_THREADS_PER_CHILD, DEFAULT_THREAD_LIMIT and
// MAX_SERVER_LIMIT, MAX_THREAD_LIMIT.
const (
	preforkServers    = 256
	preforkMostServer = 200_000
	threadedServers   = 16
	threadedMost      = 20_000
	perChild          = 25
	perChildLimit     = 64
	perChildMost      = 20_000
)

// workers works out what Apache makes of the settings.
func (s *mpmSettings) workers(mpm string, r *reading) scope.Workers {
	w := scope.Workers{Software: "apache " + mpm, Held: scope.HeldByConnection}
	if mpm == "event" {
		// Its threads wait for requests; connections that are kept alive
		// wait for none of them.
		w.Held = scope.HeldByRequest
	}
	if mpm == "prefork" {
		w.Limit, w.Origin = s.prefork(r)
	} else {
		w.Limit, w.Origin = s.threaded(mpm, r)
	}
	return w
}

// prefork: one process for each connection.
// Apache: server/mpm/prefork/prefork.c, prefork_check_config.
func (s *mpmSettings) prefork(r *reading) (limit int, origin string) {
	servers := s.serverLimit.or(preforkServers, preforkMostServer)
	limit, origin = s.asked("prefork", preforkServers)
	if limit > servers {
		if s.requestWorkers.count > 0 {
			r.note("%s %d is above %s: Apache serves %d; raise ServerLimit", s.requestWorkers.directive, limit, s.serverLimit.words("ServerLimit", servers), servers)
		}
		return servers, origin + fmt.Sprintf(", lowered to %s", s.serverLimit.words("ServerLimit", servers))
	}
	return limit, origin
}

// threaded: worker and event, processes of as many threads each.
// Apache: server/mpm/event/event.c, event_check_config.
func (s *mpmSettings) threaded(mpm string, r *reading) (limit int, origin string) {
	servers := s.serverLimit.or(threadedServers, threadedMost)
	most := s.threadLimit.or(perChildLimit, perChildMost)
	threads := s.threadsPerChild.or(perChild, most)
	if s.threadsPerChild.count > threads {
		r.note("ThreadsPerChild %d is above %s: Apache uses %d; raise ThreadLimit", s.threadsPerChild.count, s.threadLimit.words("ThreadLimit", most), threads)
	}
	limit, origin = s.asked(mpm, threadedServers*perChild)
	perChildWords := s.threadsPerChild.words("ThreadsPerChild", threads)
	if limit < threads {
		r.note("%s %d is below %s: Apache serves %d", s.requestWorkers.name(), limit, perChildWords, threads)
		return threads, origin + ", raised to " + perChildWords
	}
	if whole := limit / threads * threads; whole < limit {
		origin += fmt.Sprintf(", lowered to %d, a multiple of %s", whole, perChildWords)
		limit = whole
	}
	if limit/threads > servers {
		if s.requestWorkers.count > 0 {
			r.note("%s %d needs %d processes and %s is lower: Apache serves %d; raise ServerLimit",
				s.requestWorkers.directive, s.requestWorkers.count, limit/threads, s.serverLimit.words("ServerLimit", servers), servers*threads)
		}
		limit = servers * threads
		origin += fmt.Sprintf(", lowered to %d by %s × %s", limit, s.serverLimit.words("ServerLimit", servers), perChildWords)
	}
	return limit, origin
}

// asked is MaxRequestWorkers, as set or as built in.
func (s *mpmSettings) asked(mpm string, otherwise int) (limit int, origin string) {
	if s.requestWorkers.count == 0 {
		return otherwise, fmt.Sprintf("Apache's built-in default for %s, %d: MaxRequestWorkers is not set", mpm, otherwise)
	}
	origin = fmt.Sprintf("%s %d", s.requestWorkers.directive, s.requestWorkers.count)
	if s.requestWorkers.at.file == "" {
		return s.requestWorkers.count, origin + ", command line"
	}
	return s.requestWorkers.count, origin + ", " + s.requestWorkers.at.String()
}

func (s setting) name() string {
	if s.count == 0 {
		return "the default MaxRequestWorkers"
	}
	return s.directive
}

// or returns the number as Apache takes it: what it is by default when it is
// not set, and no more than most.
func (s setting) or(otherwise, most int) int {
	if s.count == 0 {
		return min(otherwise, most)
	}
	return min(s.count, most)
}

func (s setting) words(directive string, n int) string {
	if s.count == 0 {
		return fmt.Sprintf("%s %d (Apache's default)", directive, n)
	}
	return fmt.Sprintf("%s %d", directive, n)
}
