// Package smtp mails deliveries.
//
// A mail's Message-ID follows from the delivery's key, so that a mail which is sent
// twice is recognised as one, and the header X-Wacht-Idempotency-Key says the key.
// All mails about one incident or problem refer to the same message, which makes them one thread.
package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"slices"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

const timeout = 30 * time.Second

// The ways to encrypt. Starttls, the default, refuses a server that does not offer it.
const (
	StartTLS = "starttls"
	Implicit = "implicit"
	None     = "none"
)

// Options configure a mail server.
type Options struct {
	Host string `yaml:"host"`
	// Port is 587, or 465 for implicit TLS and 25 for none, unless given.
	Port int `yaml:"port"`
	// TLS is starttls, implicit or none.
	TLS string `yaml:"tls"`
	// CAFile holds the certificates that sign the server's, when it is not a public one.
	CAFile string `yaml:"ca_file"`
	// Username and PasswordFile sign in; without them the server must take mail as is.
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
	// From and To are mail addresses, each with or without a name.
	From string   `yaml:"from"`
	To   []string `yaml:"to"`
}

// Validate says all that is wrong.
func (o *Options) Validate() []error {
	var errs []error
	check := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	if o.Host == "" {
		check("host", errors.New("missing"))
	}
	if o.Port < 0 || o.Port > 65535 {
		check("port", fmt.Errorf("%d is no port", o.Port))
	}
	if !slices.Contains([]string{"", StartTLS, Implicit, None}, o.TLS) {
		check("tls", fmt.Errorf("%q is none of starttls, implicit, none", o.TLS))
	}
	_, err := o.roots()
	check("ca_file", err)
	check("password_file", o.checkLogin())
	_, err = mail.ParseAddress(o.From)
	check("from", err)
	if len(o.To) == 0 {
		check("to", errors.New("nobody is named"))
	}
	for _, to := range o.To {
		_, err := mail.ParseAddress(to)
		check("to", err)
	}
	return errs
}

func (o *Options) checkLogin() error {
	if (o.Username == "") != (o.PasswordFile == "") {
		return errors.New("username and password_file belong together")
	}
	if o.Username == "" {
		return nil
	}
	if o.TLS == None {
		return errors.New("a password is not sent without TLS")
	}
	_, err := notice.ReadSecret(o.PasswordFile)
	return err
}

// New makes the channel.
func (o *Options) New(env notice.Env) (notice.Channel, error) {
	from, err := mail.ParseAddress(o.From)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	c := &channel{options: *o, from: from, log: env.Logger}
	for _, to := range o.To {
		address, err := mail.ParseAddress(to)
		if err != nil {
			return nil, fmt.Errorf("to: %w", err)
		}
		c.to = append(c.to, address)
	}
	if c.client, err = o.client(); err != nil {
		return nil, err
	}
	return c, nil
}

type channel struct {
	options Options
	from    *mail.Address
	to      []*mail.Address
	client  []gomail.Option
	log     *slog.Logger
}

// Send mails a delivery over a connection of its own.
func (c *channel) Send(ctx context.Context, d notice.Delivery) error {
	// go-mail heeds the context while it connects only; a server that hangs after that
	// keeps its goroutine until the timeout, but not the one who stops the collector.
	done := make(chan error, 1)
	go func() { done <- c.mail(ctx, d) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mail mails to all at once. When the server refuses one of them for good, such as
// somebody who left, it mails to each alone: the others still hear of it.
func (c *channel) mail(ctx context.Context, d notice.Delivery) error {
	err := c.mailTo(ctx, d, c.to...)
	refused, ok := errors.AsType[*gomail.SendError](err)
	if !ok || refused.Reason != gomail.ErrSMTPRcptTo || len(c.to) == 1 {
		return err
	}
	var missed, later error
	reached := 0
	for _, to := range c.to {
		switch err := c.mailTo(ctx, d, to); {
		case err == nil:
			reached++
		case permanent(err):
			missed = errors.Join(missed, err)
		default:
			later = errors.Join(later, err)
		}
	}
	switch {
	case later != nil:
		return later
	case reached == 0:
		return missed
	}
	c.log.Error("a mail reached some of its recipients; correct the list", "channel", d.Channel, "error", missed)
	return nil
}

func permanent(err error) bool {
	failure, ok := errors.AsType[*notice.SendError](err)
	return ok && failure.Permanent
}

func (c *channel) mailTo(ctx context.Context, d notice.Delivery, to ...*mail.Address) error {
	message, err := c.message(d, to)
	if err != nil {
		return &notice.SendError{Err: fmt.Errorf("writing the mail: %w", err), Permanent: true}
	}
	client, err := gomail.NewClient(c.options.Host, c.client...)
	if err != nil {
		return &notice.SendError{Err: err, Permanent: true}
	}
	if err := client.DialWithContext(ctx); err != nil {
		return fmt.Errorf("connecting to %s: %w", c.options.Host, err)
	}
	err = client.Send(message)
	// The server has the mail or it has not; how the conversation ends is no matter.
	_ = client.Close()
	if message.IsDelivered() {
		return nil
	}
	return judge(err)
}

// judge makes a permanent failure of what a server answers with 5xx about this mail.
func judge(err error) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*gomail.SendError](err); ok && refused.ErrorCode() >= 500 {
		return &notice.SendError{Err: err, Permanent: true}
	}
	return err
}

func (c *channel) message(d notice.Delivery, to []*mail.Address) (*gomail.Msg, error) {
	m := gomail.NewMsg()
	m.FromMailAddress(c.from)
	m.ToMailAddress(to...)
	m.Subject(subject(d.Notice))
	m.SetDateWithValue(d.CreatedAt)
	c.thread(m, d)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies, please
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetGenHeader("X-Wacht-Idempotency-Key", d.Key)
	m.SetGenHeader("X-Wacht-Event", d.Notice.Event)
	m.SetGenHeader(kind[gomail.Header]("X-Wacht-Incident", "X-Wacht-Problem", &d.Notice), clean(d.Notice.About().Number))
	m.SetGenHeader("X-Wacht-Customer", clean(d.Notice.About().Customer))
	view := newView(d.Notice)
	m.SetBodyString(gomail.TypeTextPlain, view.text())
	var html bytes.Buffer
	if err := view.html(&html); err != nil {
		return nil, err
	}
	m.AddAlternativeString(gomail.TypeTextHTML, html.String())
	return m, nil
}

// Close does nothing: no connection stays open.
func (c *channel) Close() error { return nil }
