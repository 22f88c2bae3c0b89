package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/admin"
	"github.com/wacht-io/wacht/collector/internal/config"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// Admin gives orders to the collector that runs on the data folder. When none does,
// it opens the folder for the time of do, and serves nobody else.
func Admin(ctx context.Context, opt Options, do func(*admin.Client) error) error {
	cfg, err := config.Read(opt.ConfigFile)
	if err != nil {
		return err
	}
	override(&cfg.DataDir, opt.DataDir)
	if client, running := admin.Dial(ctx, cfg.DataDir); running {
		return do(client)
	}
	if _, err := os.Stat(dbFile(cfg.DataDir)); errors.Is(err, os.ErrNotExist) && opt.MustExist {
		return admin.Wrong(fmt.Errorf("%s holds no collector's data; name its folder with --data-dir", cfg.DataDir))
	}
	return offline(ctx, cfg, opt, do)
}

func offline(ctx context.Context, cfg config.Config, opt Options, do func(*admin.Client) error) (err error) {
	opt.Logger = slog.New(slog.DiscardHandler)
	c := &Collector{opt: opt, config: cfg, log: opt.Logger, failed: make(chan error, 1)}
	if c.core, err = openCore(ctx, cfg, prometheus.NewRegistry(), opt, true); err != nil {
		return err
	}
	c.onStop(func(context.Context) error { return c.core.close() })
	c.core.startEngine()
	if err := c.serveAdmin(ctx); err != nil {
		return errors.Join(err, c.Stop(ctx))
	}
	client, running := admin.Dial(ctx, cfg.DataDir)
	if !running {
		return errors.Join(errors.New("the local socket does not answer"), c.Stop(ctx))
	}
	return errors.Join(do(client), c.Stop(ctx))
}

// Restore makes a data folder's store from a backup. It refuses a folder that a
// collector runs on and, unless replace says so, one that holds data; what was there
// is kept beside it.
func Restore(opt Options, r io.Reader, replace bool) (kept string, err error) {
	cfg, err := config.Read(opt.ConfigFile)
	if err != nil {
		return "", err
	}
	override(&cfg.DataDir, opt.DataDir)
	if err := dataFolder(cfg.DataDir); err != nil {
		return "", err
	}
	return boltstore.Restore(r, dbFile(cfg.DataDir), boltstore.RestoreOptions{Replace: replace})
}

// CheckPolicy verifies a folder of policy, and says in words what it holds. What it says
// of checks that agents declare can't be verified here, and is named.
func CheckPolicy(dir string) (string, error) {
	specs, err := checks.Declarations()
	if err != nil {
		return "", err
	}
	p, err := loadPolicy(dir, specs)
	if err != nil {
		return "", err
	}
	return describePolicy(p, len(specs), p.Unknown(), nil), nil
}
