package history

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// start opens the TSDB, sets aside what it can't read, and syncs its logs.
func (s *Store) start() (*generation, error) {
	for _, l := range s.journal.logs {
		if err := removeCopies(l.dir); err != nil {
			return nil, fmt.Errorf("clearing %s: %w", l.dir, err)
		}
	}
	g, err := s.openRepairing()
	if g == nil {
		return nil, err
	}
	if err := errors.Join(err, s.journal.syncAll()); err != nil {
		return nil, errors.Join(err, closeQuietly(g.db))
	}
	s.metrics.tsdb.registry.Store(g.registry)
	return g, nil
}

// openTSDB opens the TSDB as it is. The TSDB can panic over damaged files.
func (s *Store) openTSDB() (g *generation, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	registry := prometheus.NewRegistry()
	tap := &failureTap{Registerer: registry, name: "prometheus_tsdb_out_of_order_wbl_writes_failed_total"}
	db, err := tsdb.Open(s.data(), s.logger, tap, s.tsdbOptions(), nil)
	if err != nil {
		return nil, err
	}
	s.number++
	return &generation{number: s.number, db: db, registry: registry, wblFailed: tap}, nil
}

var errPanicked = errors.New("the TSDB panicked")

func (s *Store) tsdbOptions() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = s.options.Retention.Milliseconds()
	// As Prometheus does it: a block spans at most a tenth of the retention, so that
	// not much more than the retention is kept.
	o.MaxBlockDuration = max(o.MinBlockDuration, min(o.RetentionDuration/10, (31*24*time.Hour).Milliseconds()))
	o.OutOfOrderTimeWindow = s.options.OutOfOrder.Milliseconds()
	o.WALCompression = compression.Snappy
	o.WALSegmentSize = s.system.segment
	// A TSDB that fails to open does not give its lock back; the store holds it.
	o.NoLockfile = true
	return o
}

// closeQuietly closes a TSDB that failed, and whose closing can therefore panic.
func closeQuietly(db *tsdb.DB) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return db.Close()
}

// damagedDir is where damaged files are kept.
func (s *Store) damagedDir() string { return filepath.Join(s.dir, "damaged") }
