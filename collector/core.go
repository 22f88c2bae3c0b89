package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/admin"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/config"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/joining"
	"github.com/wacht-io/wacht/collector/internal/notify"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/pki"
	"github.com/wacht-io/wacht/collector/internal/policy"
	"github.com/wacht-io/wacht/collector/internal/sla"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// core is everything but the listeners: what the commands open for themselves when
// no collector runs.
type core struct {
	store     store.Store
	history   *history.Store
	authority *pki.Authority
	engine    *engine.Engine
	auth      *auth.Auth
	sender    *notify.Sender
	backend   backend
	registry  *prometheus.Registry
	specs     []*checks.Spec
	level     *sla.Level
	policyMu  sync.Mutex
	policy    *policy.Policy // guarded by policyMu
	opt       Options
	config    config.Config
	offline   bool // for a command alone: nothing happens by itself
	log       *slog.Logger
	closers   []func() error
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

func openCore(ctx context.Context, cfg config.Config, registry *prometheus.Registry, opt Options, offline bool) (c *core, err error) {
	c = &core{registry: registry, opt: opt, config: cfg, log: opt.Logger, offline: offline}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
			c = nil
		}
	}()
	if err := c.readFiles(); err != nil {
		return c, err
	}
	if err := dataFolder(cfg.DataDir); err != nil {
		return c, err
	}
	if err := c.openStores(); err != nil {
		return c, err
	}
	if c.authority, err = pki.Load(ctx, c.store, time.Now()); err != nil {
		return c, err
	}
	if c.auth, err = auth.New(c.store, auth.Unclaimed{Store: c.store}, auth.Options{
		Logger: c.log, TrustedOrigins: origins(cfg.PublicURL),
	}); err != nil {
		return c, fmt.Errorf("reading accounts: %w", err)
	}
	err = c.openEngine(ctx)
	return c, err
}

// readFiles reads and verifies what the configuration names, before anything is
// opened; the error tells all that is wrong.
func (c *core) readFiles() (err error) {
	if c.specs, err = checks.Declarations(); err != nil {
		return err
	}
	c.level, err = serviceLevel(c.config.ServiceLevel)
	var policyErr error
	c.policy, policyErr = loadPolicy(c.config.PolicyDir, c.specs)
	return errors.Join(err, policyErr)
}

func (c *core) openStores() error {
	db, report, err := boltstore.Open(dbFile(c.config.DataDir), boltstore.Options{SetAside: true})
	if err != nil {
		return fmt.Errorf("opening %s: %w", dbFile(c.config.DataDir), err)
	}
	c.store = db
	c.closers = append(c.closers, db.Close)
	if report.Damages > 0 {
		c.log.Error("the store was damaged; what could be read was carried over, and the damaged file is kept",
			"kept", report.SetAside, "rows", report.Rows, "damages", report.Damages, "findings", report.Findings)
	}
	c.history, err = history.Open(filepath.Join(c.config.DataDir, "history"), history.Options{
		Retention: c.config.History.Retention.D(), OutOfOrder: c.config.History.OutOfOrder.D(),
		Registerer: c.registry, Logger: c.log.With("part", "history"),
	})
	if err != nil {
		return err
	}
	c.closers = append(c.closers, c.history.Close)
	return nil
}

func (c *core) openEngine(ctx context.Context) error {
	// What a command has to tell waits in the outbox for the collector itself.
	wake := func([]notify.Delivery) {}
	if !c.offline {
		if err := c.openSender(); err != nil {
			return err
		}
		wake = c.sender.Wake
	}
	var err error
	c.engine, err = engine.New(ctx, engine.Options{
		Store: c.store, History: c.history, Policy: c.policy, Declarations: c.specs, Level: c.level,
		PublicURL: c.config.PublicURL, Router: notify.NewRouter(c.config.Notify), Wake: wake, Logger: c.log, Registerer: c.registry,
		ServerSilence: c.config.Silence.Server.D(), AnnouncedSilence: c.config.Silence.Announced.D(), NoSweep: c.offline,
	})
	if err != nil {
		return err
	}
	c.backend = backend{c.engine}
	for _, u := range c.undeclared(c.policy) {
		c.log.Warn("the policy speaks of a check that neither is built in nor any agent has", "place", u.At.String(), "check", u.Check, "meant", u.Near)
	}
	return nil
}

func (c *core) openSender() error {
	log := c.log.With("part", "notify")
	channels, err := c.config.Notify.Open(notice.Env{Logger: log, UserAgent: "wacht-collector/" + c.opt.Version})
	if err != nil {
		return fmt.Errorf("opening the channels of notify: %w", err)
	}
	for _, ch := range channels {
		c.closers = append(c.closers, ch.Close)
	}
	c.sender, err = notify.NewSender(notify.SenderOptions{
		Config: c.config.Notify, Channels: channels, Reader: c.store, Commit: auth.Unclaimed{Store: c.store},
		Registerer: c.registry, Logger: log,
	})
	return err
}

func serviceLevel(file string) (*sla.Level, error) {
	if file == "" {
		return sla.Default(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the service level: %w", err)
	}
	return sla.Parse(file, data)
}

// startServices lets deliveries go out, and puts layers of policy in and out of force.
// They begin before the engine and end after it, so that its last deliveries go out.
func (c *core) startServices() {
	ctx, cancel := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		c.followPolicy(ctx)
	}()
	sent := make(chan error, 1)
	go func() { sent <- c.sender.Run(ctx) }()
	c.closers = append(c.closers, func() error {
		cancel()
		<-followed
		return <-sent
	})
}

// startEngine lets the engine work.
func (c *core) startEngine() {
	c.engine.Start()
	c.closers = append(c.closers, func() error {
		c.engine.Stop()
		return nil
	})
}

func (c *core) close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i]())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// principal is who gives orders through the local socket.
var principal = auth.Principal{Name: "local", Role: auth.Admin, Via: auth.ViaCommand}

// CreateToken makes a joining token.
func (c *core) CreateToken(r *http.Request, o admin.TokenOrder) (string, error) {
	text, w, err := joining.New(joining.Order{
		Customer: o.Customer, Site: o.Site, Labels: o.Labels, TTL: o.TTL, Uses: o.Uses, NoApproval: o.NoApproval,
	}, c.authority.Pin(), time.Now())
	if errors.Is(err, joining.ErrOrder) {
		return "", admin.Wrong(err)
	}
	if err != nil {
		return "", err
	}
	gone, err := joining.Expired(r.Context(), c.store, time.Now())
	if err != nil {
		return "", err
	}
	if err := c.store.Commit(r.Context(), nil, append(gone, w)); err != nil {
		return "", fmt.Errorf("keeping the token: %w", err)
	}
	return text, c.auth.Record(r.Context(), principal, "token.create", o.Site, o.Customer, "")
}

// AddUser adds a local account.
func (c *core) AddUser(r *http.Request, o admin.UserOrder) error {
	role, err := auth.ParseRole(o.Role)
	if err != nil {
		return admin.Wrong(err)
	}
	_, err = c.auth.AddUser(r.Context(), principal, auth.NewUser{Name: o.Name, Role: role, Customer: o.Customer, Password: o.Password})
	return wrongOrder(err)
}

// CreateAPIToken makes a token for programs.
func (c *core) CreateAPIToken(r *http.Request, o admin.APITokenOrder) (string, error) {
	role, err := auth.ParseRole(o.Role)
	if err != nil {
		return "", admin.Wrong(err)
	}
	text, _, err := c.auth.AddToken(r.Context(), principal, auth.NewToken{Name: o.Name, Role: role, Customer: o.Customer, TTL: o.TTL})
	return text, wrongOrder(err)
}

// Backup writes the store's rows as of one moment.
func (c *core) Backup(r *http.Request, w io.Writer) error {
	if err := c.store.Backup(r.Context(), w); err != nil {
		c.log.Error("writing a backup", "error", err)
		return err
	}
	return nil
}

// wrongOrder tells what the order itself got wrong from what failed.
func wrongOrder(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return admin.Wrong(err)
}

// origins are the addresses whose pages are the collector's own: behind a proxy that
// changes the Host header, the public one.
func origins(publicURL string) []string {
	u, err := url.Parse(publicURL)
	if err != nil || publicURL == "" {
		return nil
	}
	return []string{u.Scheme + "://" + u.Host}
}
