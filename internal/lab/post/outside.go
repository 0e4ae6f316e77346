package post

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/foreshock/foreshock/internal/lab"
	"github.com/foreshock/foreshock/internal/notify/notifytest"
)

// outside are the receivers that the notification library sends to: a real mail
// server, and strict stand-ins for Slack and PagerDuty behind a proxy.
type outside struct {
	dir      string           // the mail server's
	mail     *notifytest.SMTP // nil where Exim cannot run
	services *notifytest.Services
}

// startOutside starts them. Where Exim cannot run, absent says why.
func startOutside(dir string) (o *outside, absent, err error) {
	o = &outside{}
	if o.services, err = notifytest.StartServices(dir); err != nil {
		return nil, nil, err
	}
	if os.Getuid() != 0 {
		return o, errors.New("no mail: Exim becomes its own user, which takes root"), nil
	}
	// Not within dir, which is ours alone: Exim's user must get there.
	if o.dir, err = os.MkdirTemp("", "foreshock-post-mail-"); err != nil {
		o.stop()
		return nil, nil, err
	}
	o.mail, err = notifytest.StartSMTP(o.dir, 0)
	if _, missing := errors.AsType[*lab.ErrMissing](err); missing {
		return o, err, nil
	}
	if err != nil {
		o.stop()
		return nil, nil, err
	}
	return o, nil, nil
}

func (o *outside) stop() {
	if o.services != nil {
		o.services.Stop()
	}
	if o.mail != nil {
		o.mail.Stop()
	}
	if o.dir != "" {
		_ = os.RemoveAll(o.dir)
	}
}

// addresses are the channels' by name, for the agent's environment.
func (o *outside) addresses() map[string]string {
	all := map[string]string{slack: notifytest.SlackURL, pagerDuty: notifytest.PagerDutyURL}
	if o.mail != nil {
		all[mailbox] = o.mail.URL("ops")
	}
	return all
}

// variable is where the agent finds a channel's address.
func variable(channel string) string { return "LAB_" + strings.ToUpper(channel) }

// environment is what the agent needs to reach them.
func (o *outside) environment() []string {
	env := append(os.Environ(), o.services.Env()...)
	for name, address := range o.addresses() {
		env = append(env, variable(name)+"="+address)
	}
	return env
}

// outage has them out of order for so long, each in more than one way. A third of
// it each: the mail server is not there, takes connections and says nothing, says
// not now; the services answer 503, and then for two thirds their proxy is not
// there. After it none is there: see back.
func (o *outside) outage(ctx context.Context, long time.Duration) error {
	o.services.Fail(func(w http.ResponseWriter) { http.Error(w, "upstream is down", http.StatusServiceUnavailable) })
	if o.mail != nil {
		o.mail.Stop()
	}
	sleep(ctx, long/3)
	o.services.Stop()
	o.services.Fail(nil)
	if err := o.badMail(ctx, long/3, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }); err != nil {
		return err
	}
	return o.badMail(ctx, long/3, func(conn net.Conn) { _, _ = fmt.Fprint(conn, "421 4.3.2 lab.example takes no mail now\r\n") })
}

// back starts them again.
func (o *outside) back() error {
	if err := o.services.Start(); err != nil {
		return err
	}
	if o.mail == nil {
		return nil
	}
	again, err := notifytest.StartSMTP(o.dir, o.mail.Port())
	if err != nil {
		return fmt.Errorf("start Exim again: %w", err)
	}
	o.mail = again
	return nil
}

// badMail takes the mail server's connections for so long, and does to each what
// do does. Then they end.
func (o *outside) badMail(ctx context.Context, long time.Duration, do func(net.Conn)) error {
	if o.mail == nil {
		sleep(ctx, long)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.mail.Port())))
	if err != nil {
		return fmt.Errorf("listen in the mail server's place: %w", err)
	}
	var conns sync.WaitGroup
	defer conns.Wait()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("take the mail server's connections: %w", err)
		}
		conns.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			do(conn)
		})
	}
}

// took is how many messages each has taken, in a fixed order.
func (o *outside) took() ([]int, error) {
	counts := []int{len(o.services.Slack()), len(o.services.PagerDuty())}
	if o.mail == nil {
		return counts, nil
	}
	mails, err := o.mail.Mails()
	return append(counts, len(mails)), err
}

// rising waits until each has taken something that it had not, for a while at
// most: then what waited is on its way.
func (o *outside) rising(ctx context.Context, before []int) error {
	return until(ctx, 3*time.Minute, "mail, Slack and PagerDuty take something again", func() bool {
		now, err := o.took()
		for i := range now {
			if err != nil || now[i] == before[i] {
				return false
			}
		}
		return true
	})
}

// settled waits until the mail server has delivered what it took.
func (o *outside) settled(ctx context.Context) error {
	if o.mail == nil {
		return nil
	}
	return until(ctx, time.Minute, "Exim's spool is empty", func() bool {
		left, err := filepath.Glob(filepath.Join(o.dir, "spool", "input", "*"))
		return err == nil && len(left) == 0
	})
}
