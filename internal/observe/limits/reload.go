package limits

import "time"

// slack covers that the time of boot is known in whole seconds and that a
// server is often started right after its file was written.
const slack = 2 * time.Second

// reloaded returns when the server last read its configuration, as far as can
// be seen; zero when not even the start can be. Apache and PHP-FPM write their
// pid file anew each time (server/log.c, ap_log_pid;
// sapi/fpm/fpm/fpm_conf.c, fpm_conf_write_pid). Every server starts new
// children when it reloads. As children are started for other reasons too, the
// youngest one only says that the last reload was not later.
func (r *reading) reloaded() time.Time {
	start := r.process.startTime()
	if start.IsZero() {
		return start
	}
	if r.pidFile != "" && r.files.exists(r.pidFile) {
		for _, m := range r.files.marks {
			if m.name == r.pidFile && m.mtime.After(start) {
				return m.mtime
			}
		}
		return start
	}
	if child := r.process.youngestChild(); child.After(start) {
		return child
	}
	return start
}

// checkInUse notes a file that is newer than the last reload: what it says may
// not be what the server does.
func (r *reading) checkInUse() (pending bool) {
	at := r.reloaded()
	newest := r.files.newest
	if at.IsZero() || newest.name == "" || !newest.mtime.After(at.Add(slack)) {
		return false
	}
	r.note("%s is newer than the running server: it may not be in use yet; reload the server", newest.name)
	return true
}
