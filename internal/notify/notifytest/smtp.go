package notifytest

import (
	"bytes"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/foreshock/foreshock/internal/lab"
)

// SMTP is a real mail server on loopback: Exim, which delivers everything for
// lab.example into one mailbox, and refuses mail to refused@lab.example.
type SMTP struct {
	*server
	box string
}

// eximConfig takes the directory and the port.
const eximConfig = `primary_hostname = lab.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
pid_file_path = %[1]s/exim.pid
domainlist local_domains = lab.example
deliver_drop_privilege = true
keep_environment =
tls_advertise_hosts =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny local_parts = refused
  accept domains = +local_domains
  deny
begin routers
local:
  driver = accept
  domains = +local_domains
  transport = file
begin transports
file:
  driver = appendfile
  file = %[1]s/inbox
`

// StartSMTP starts it in dir, which must be empty. port 0 takes a free one. The
// error is a *lab.ErrMissing where Exim is not installed. It must be root: Exim
// becomes its own user.
func StartSMTP(dir string, port int) (*SMTP, error) {
	program, err := exec.LookPath("exim4")
	if err != nil {
		return nil, &lab.ErrMissing{Program: "exim4", Package: "exim4-daemon-light"}
	}
	owner, err := user.Lookup("Debian-exim")
	if err != nil {
		return nil, fmt.Errorf("find Exim's user: %w", err)
	}
	if port == 0 {
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	// Above it may be a directory of root's alone: Exim must get through.
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "spool"), 0o750), os.Chown(dir, uid, gid), os.Chown(filepath.Join(dir, "spool"), uid, gid)); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	config := filepath.Join(dir, "exim.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, eximConfig, dir, port), 0o644); err != nil { //nolint:gosec // Exim's own user reads it
		return nil, fmt.Errorf("write Exim's configuration: %w", err)
	}
	s, err := start("Exim", port, program, "-C", config, "-bdf", "-q10m")
	if err != nil {
		return nil, err
	}
	return &SMTP{s, filepath.Join(dir, "inbox")}, nil
}

// Port is where it listens.
func (s *SMTP) Port() int { return s.port }

// URL is the address of a channel that mails to somebody there.
func (s *SMTP) URL(to string) string {
	return fmt.Sprintf("smtp://127.0.0.1:%d/?from=foreshock@lab.example&to=%s@lab.example&auth=none&starttls=no", s.port, to)
}

// mailStart is how a mail begins in the mailbox.
var mailStart = regexp.MustCompile(`(?m)^From [^\n]*\n`)

// Mails are those that were delivered, in order.
func (s *SMTP) Mails() ([]*mail.Message, error) {
	raw, err := os.ReadFile(s.box)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the mailbox: %w", err)
	}
	var out []*mail.Message
	for _, part := range mailStart.Split(string(raw), -1)[1:] {
		m, err := mail.ReadMessage(bytes.NewReader([]byte(part)))
		if err != nil {
			return nil, fmt.Errorf("read a mail: %w", err)
		}
		out = append(out, m)
	}
	return out, nil
}
