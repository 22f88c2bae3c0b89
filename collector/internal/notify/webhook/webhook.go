// Package webhook posts deliveries to a URL.
//
// The body is JSON (type Body), and the request carries
//
//	Content-Type: application/json
//	Idempotency-Key: 4f0c…            the same for every attempt at one delivery
//	Wacht-Signature: t=1767225600,v1=5257a869…
//
// where v1 is the hex HMAC-SHA256, under the channel's secret, of t, a full stop and
// the body as sent. A receiver computes it over the bytes it got, compares in constant
// time, refuses a t more than five minutes away from its own clock, and answers 2xx
// once the notice is safe with it. Deliveries come at least once: one whose key was
// seen before is answered 2xx and dropped. The notices of one incident or problem come
// in order.
//
// Any 2xx is success. 408, 425, 429, 5xx and no answer in time are tried again, after
// Retry-After where it is given; every other answer, a redirect among them, is final.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

const (
	defaultTimeout = 10 * time.Second
	// minSecretBytes keeps guessable words out.
	minSecretBytes = 16
	// maxAnswerBytes is how much of an answer is read, to use its connection again;
	// maxQuoteBytes how much of a bad one is kept as the reason.
	maxAnswerBytes = 64 << 10
	maxQuoteBytes  = 200
	// maxAfter bounds what a receiver may ask for in Retry-After.
	maxAfter = time.Hour
)

// Options configure a webhook.
type Options struct {
	// URL is https, or also http when AllowPrivate is set.
	URL string `yaml:"url"`
	// SecretFile holds the key of the signature, at least 16 bytes.
	SecretFile string `yaml:"secret_file"`
	// AllowPrivate allows addresses of this machine and of private networks.
	AllowPrivate bool `yaml:"allow_private"`
}

// Validate says all that is wrong.
func (o *Options) Validate() []error {
	var errs []error
	if _, err := o.target(); err != nil {
		errs = append(errs, err)
	}
	if _, err := o.secret(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func (o *Options) target() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("url: %w", err)
	case u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("url: want one like https://desk.example.net/wacht")
	case u.Scheme == "http" && !o.AllowPrivate:
		return nil, errors.New("url: http is for private networks; use https, or set allow_private")
	case u.User != nil:
		return nil, errors.New("url: holds a password; the receiver checks the signature instead")
	}
	return u, nil
}

func (o *Options) secret() (notice.Secret, error) {
	if o.SecretFile == "" {
		return "", errors.New("secret_file: missing; make one with: openssl rand -hex 32")
	}
	secret, err := notice.ReadSecret(o.SecretFile)
	if err != nil {
		return "", fmt.Errorf("secret_file: %w", err)
	}
	if len(secret) < minSecretBytes {
		return "", fmt.Errorf("secret_file: %s holds %d bytes, fewer than %d", o.SecretFile, len(secret), minSecretBytes)
	}
	return secret, nil
}

// New makes the channel.
func (o *Options) New(env notice.Env) (notice.Channel, error) {
	target, err := o.target()
	if err != nil {
		return nil, err
	}
	secret, err := o.secret()
	if err != nil {
		return nil, err
	}
	transport := newTransport(o.AllowPrivate)
	return &channel{
		url: target.String(), secret: secret, agent: env.UserAgent, transport: transport, now: time.Now,
		client: &http.Client{
			Transport: transport, Timeout: defaultTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

type channel struct {
	url       string
	secret    notice.Secret
	agent     string
	client    *http.Client
	transport *http.Transport
	now       func() time.Time
}

// Body is what is posted.
type Body struct {
	// Version is 1. Fields may be added to it.
	Version int       `json:"version"`
	Key     string    `json:"key"`
	Channel string    `json:"channel"`
	Event   string    `json:"event"`
	At      time.Time `json:"at"`
	// Incident is there unless Problem is: its events begin with problem-.
	Incident incident.Incident `json:"incident,omitzero"`
	Problem  *problem.Problem  `json:"problem,omitempty"`
	Lines    []string          `json:"lines"`
}

// Send posts a delivery.
func (c *channel) Send(ctx context.Context, d notice.Delivery) error {
	n := d.Notice
	body, err := json.Marshal(Body{
		Version: 1, Key: d.Key, Channel: d.Channel, Event: n.Event, At: n.At, Incident: n.Incident, Problem: n.Problem, Lines: n.Lines,
	})
	if err != nil {
		return &notice.SendError{Err: fmt.Errorf("encoding the body: %w", err), Permanent: true}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return &notice.SendError{Err: err, Permanent: true}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", d.Key)
	request.Header.Set("User-Agent", c.agent)
	request.Header.Set("Wacht-Signature", Sign([]byte(c.secret), c.now(), body))
	response, err := c.client.Do(request)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = response.Body.Close() }()
	return c.judge(response)
}

// plain leaves the URL out of an error: its path may be a secret.
func plain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("posting: %w", wrapped.Err)
	}
	return err
}

// Sign returns the value of the header Wacht-Signature.
func Sign(secret []byte, now time.Time, body []byte) string {
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

func (c *channel) judge(response *http.Response) error {
	// An answer read to its end leaves the connection to the next delivery.
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	code := response.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	quote := answer[:min(len(answer), maxQuoteBytes)]
	failure := &notice.SendError{Err: fmt.Errorf("the receiver answered %s: %.200q", response.Status, quote)}
	switch {
	case code >= 300 && code < 400:
		failure.Permanent = true
		failure.Err = fmt.Errorf("the receiver answered %s; redirects are not followed", response.Status)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		failure.After = c.after(response.Header.Get("Retry-After"))
	default:
		failure.Permanent = true
	}
	return failure
}

// after reads Retry-After, seconds or a date (RFC 9110 section 10.2.3).
func (c *channel) after(header string) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxAfter)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(c.now()), 0), maxAfter)
}

// Close ends idle connections.
func (c *channel) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}
