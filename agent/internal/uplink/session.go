package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wacht-io/wacht/agent/internal/statefile"
)

// visits is what has to outlive the process: the number of the newest visit, by
// which a copied state folder is noticed, and the newest known time of the collector.
type visits struct {
	HostID      string    `json:"host_id"`
	Visit       uint64    `json:"visit"`
	CollectorAt time.Time `json:"collector_time"`
}

const visitsName = "session.json"

// loadVisits reads the file. One of another host counts as absent: the identity
// was replaced, and the process ended before this file was.
func loadVisits(dir, hostID string) (visits, error) {
	fresh := visits{HostID: hostID}
	if dir == "" {
		return fresh, nil
	}
	path := filepath.Join(dir, visitsName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("reading the last visit: %w", err)
	}
	var v visits
	if err := json.Unmarshal(data, &v); err != nil {
		return fresh, fmt.Errorf("%s: %w", path, err)
	}
	if v.HostID != hostID {
		return fresh, nil
	}
	return v, nil
}

// save stores the visit. Where the disk has no room for a new file the old one is
// overwritten: a machine whose disk is full is the one that must be heard of.
func (v *visits) save(dir string) error {
	if dir == "" {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the visit: %w", err)
	}
	path := filepath.Join(dir, visitsName)
	if err = statefile.Write(path, data); err == nil {
		return nil
	}
	if again := statefile.Overwrite(path, data); again != nil {
		return errors.Join(err, again)
	}
	return nil
}

// clock gives the earliest time it can be: the last known time of the collector
// plus what has passed since by the monotonic clock. It never goes back.
type clock struct {
	mu    sync.Mutex
	known time.Time // the collector's
	at    time.Time // monotonic
	heard bool      // in this process
}

func newClock(known time.Time) *clock { return &clock{known: known, at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.Add(time.Since(c.at))
}

// hear takes in the collector's time.
func (c *clock) hear(t time.Time) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = true
	if t.After(now) {
		c.known, c.at = t, time.Now()
	}
}

// guess is the likely time: the collector's once it was heard, and before that the
// machine's own where it is later, since the machine may have been off for long.
func (c *clock) guess() time.Time {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if wall := time.Now(); !c.heard && wall.After(now) {
		return wall
	}
	return now
}
